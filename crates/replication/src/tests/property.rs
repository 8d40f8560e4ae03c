//! A plan that was obeyed leaves nothing to do.

use std::num::NonZeroU64;
use std::sync::Arc;

use proptest::prelude::*;

use super::{pull, push, sync_with};
use crate::executor::prepare;
use crate::memory::MemoryStore;
use crate::{Direction, JobOptions, Source, Target};

const NAMESPACES: [&str; 3] = ["", "a", "a/b"];
const GROUPS: [&str; 3] = ["vm/1", "ct/2", "host/x"];

/// One snapshot: namespace, group, time, contents, and a mark.
type Entry = (usize, usize, u8, u8, u8);

fn history() -> impl Strategy<Value = Vec<Entry>> {
    let entry = ((0..3usize, 0..3usize, 1..8u8), (0..4u8, 0..8u8));
    prop::collection::btree_map(entry.0, entry.1, 0..14).prop_map(|entries| {
        entries
            .into_iter()
            .map(|((space, group, time), (contents, mark))| (space, group, time, contents, mark))
            .collect()
    })
}

fn store(entries: &[Entry], target: bool) -> MemoryStore {
    let store = MemoryStore::new();
    for (namespace, group, time, contents, mark) in entries {
        let (namespace, group, time) = (NAMESPACES[*namespace], GROUPS[*group], &i64::from(*time));
        // Equal times have equal contents at both ends, as those of one history have.
        let byte = u8::try_from(*time).unwrap();
        let parts: Vec<Vec<u8>> = (0..3u8).map(|part| vec![byte.wrapping_mul(3) ^ part; 40]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        store.backup(namespace, group, *time, &[("disk.img.didx", &parts), ("a.blob", &[&[byte]])]);
        match mark {
            0 => drop(store.protect(namespace, group, *time)),
            1 => drop(store.manifest(namespace, group, *time, |manifest| manifest.set_notes(&contents.to_string()))),
            2 if !target => drop(store.log(namespace, group, *time, &[*contents])),
            3 if target => drop(store.own(namespace, group, "bob@pbs")),
            _ => {}
        }
    }
    store
}

fn options() -> impl Strategy<Value = JobOptions> {
    (any::<bool>(), any::<bool>(), 0..4u64, 0..4usize, any::<bool>()).prop_map(
        |(mirror, pulls, last, filter, anchored)| {
            let filters: [&[&str]; 4] = [&[], &["type:vm"], &["exclude:group:ct/2"], &["regex:h"]];
            let base = if pulls { pull() } else { push() };
            JobOptions {
                remove_vanished: mirror,
                transfer_last: NonZeroU64::new(last),
                group_filter: filters[filter].iter().map(|text| text.parse().unwrap()).collect(),
                target_ns: if anchored { "t".parse().unwrap() } else { Default::default() },
                ..base
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_plan_that_was_obeyed_leaves_nothing_to_do(from in history(), to in history(), options in options()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (source, target) = (store(&from, false), store(&to, true));
        let target = if options.direction == Direction::Push { target.as_remote() } else { target };
        let before = target.contents();
        runtime.block_on(async {
            sync_with(&options, &source, &target).await;
            prop_assert_eq!(target.check(), Ok(()));
            if options.direction == Direction::Push && options.remove_vanished {
                // What was held up by snapshots that had to go first.
                sync_with(&options, &source, &target).await;
            }

            let (from, to): (Arc<dyn Source>, Arc<dyn Target>) = (Arc::new(source.clone()), Arc::new(target.clone()));
            let left = prepare(&options, &from, &to).await.unwrap();
            prop_assert!(left.is_idle(), "{}", left);

            let second = sync_with(&options, &source, &target).await;
            prop_assert!(second.moved_nothing(), "{:?}", second);
            Ok(())
        })?;

        for (namespace, group, time, _, mark) in &to {
            let (namespace, group) = (NAMESPACES[*namespace], GROUPS[*group]);
            let line = format!("{namespace}{}{group} {time}", if namespace.is_empty() { "" } else { " " });
            let foreign = target.owner(namespace, group).is_some_and(|owner| owner.to_string() == "bob@pbs");
            let outside = !options.wants(&group.parse().unwrap());
            if *mark == 0 || foreign || outside || !options.remove_vanished {
                prop_assert!(target.contents().contains_key(&line), "{} is gone", line);
                if foreign || outside {
                    prop_assert_eq!(&target.contents()[&line], &before[&line]);
                }
            }
        }
    }
}
