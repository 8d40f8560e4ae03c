//! A plan that was obeyed leaves nothing to do.

use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};

use formats::RemovalLimit;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::{pull, push, sync_with};
use crate::TransferOrder::{NewestFirst, OldestFirst};
use crate::executor::rehearse;
use crate::memory::MemoryStore;
use crate::prepare::prepare;
use crate::{Action, Direction, JobOptions, RunControl, Silent, Source, Target};

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

fn limit() -> impl Strategy<Value = Option<RemovalLimit>> {
    prop_oneof![
        Just(None),
        (0..4u64).prop_map(|count| Some(RemovalLimit::Count(count))),
        (0..101u8).prop_map(|percent| Some(RemovalLimit::Percent(percent))),
    ]
}

fn options(pulls: bool, mirror: bool) -> impl Strategy<Value = JobOptions> {
    let rules = (any::<bool>(), any::<bool>(), limit(), any::<bool>());
    (0..4u64, 0..4usize, any::<bool>(), rules).prop_map(
        move |(last, filter, anchored, (gaps, newest, max_removals, allow_removals))| {
            let filters: [&[&str]; 4] = [&[], &["type:vm"], &["exclude:group:ct/2"], &["regex:h"]];
            let base = if pulls { pull() } else { push() };
            JobOptions {
                remove_vanished: mirror,
                transfer_last: NonZeroU64::new(last),
                group_filter: filters[filter].iter().map(|text| text.parse().unwrap()).collect(),
                fill_gaps: gaps && pulls,
                transfer_order: if newest && gaps && pulls { NewestFirst } else { OldestFirst },
                max_removals,
                allow_removals,
                target_ns: if anchored { "t".parse().unwrap() } else { Default::default() },
                ..base
            }
        },
    )
}

/// Runs a case on the runtime of the test: a new one for each would cost more than the case.
fn block_on<T>(case: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    RUNTIME.block_on(case)
}

// 10,000 cases in all, in four parts that run side by side.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    #[test]
    fn a_pull_that_was_obeyed_leaves_nothing_to_do(from in history(), to in history(), job in options(true, false)) {
        obeyed(&job, &from, &to)?;
    }

    #[test]
    fn a_push_that_was_obeyed_leaves_nothing_to_do(from in history(), to in history(), job in options(false, false)) {
        obeyed(&job, &from, &to)?;
    }

    #[test]
    fn a_mirroring_pull_leaves_nothing_to_do(from in history(), to in history(), job in options(true, true)) {
        obeyed(&job, &from, &to)?;
    }

    #[test]
    fn a_mirroring_push_leaves_nothing_to_do(from in history(), to in history(), job in options(false, true)) {
        obeyed(&job, &from, &to)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_run_does_what_its_rehearsal_announced(
        from in history(),
        to in history(),
        (pulls, mirror, job) in any::<(bool, bool)>()
            .prop_flat_map(|(pulls, mirror)| (Just(pulls), Just(mirror), options(pulls, mirror))),
    ) {
        let (source, target) = (store(&from, false), store(&to, true));
        let target = if pulls { target } else { target.as_remote() };
        let before = target.contents();
        block_on(async {
            let ends = (Arc::new(source.clone()), Arc::new(target.clone()));
            let announced = rehearse(&job, ends.0, ends.1, &RunControl::new(), Arc::new(Silent)).await.unwrap();
            prop_assert_eq!(&target.contents(), &before);
            let done = sync_with(&job, &source, &target).await;
            prop_assert_eq!(announced.report, done, "mirror: {}\n{}", mirror, announced.plan);
            Ok(())
        })?;
    }
}

/// Plans, obeys and plans again: nothing is left to do, and nothing protected, of another owner or outside the filters
/// is gone.
fn obeyed(options: &JobOptions, from: &[Entry], to: &[Entry]) -> Result<(), TestCaseError> {
    let (source, target) = (store(from, false), store(to, true));
    let target = if options.direction == Direction::Push { target.as_remote() } else { target };
    let before = target.contents();
    let (near, far): (Arc<dyn Source>, Arc<dyn Target>) = (Arc::new(source.clone()), Arc::new(target.clone()));
    block_on(async {
        let first = prepare(options, &near, &far).await.unwrap();
        sync_with(options, &source, &target).await;
        prop_assert_eq!(target.check(), Ok(()));
        if first.brake.is_some() {
            let after = target.contents();
            prop_assert!(before.keys().all(|line| after.contains_key(line)), "removed all the same");
            // What was copied counts as well from now on, so that the brake may let go: of removals alone.
            let left = prepare(options, &near, &far).await.unwrap();
            prop_assert!(!left.steps().any(|step| matches!(step.action, Action::Copy(_))), "{}", left);
            return Ok(());
        }
        if options.direction == Direction::Push && options.remove_vanished {
            // What was held up by snapshots that had to go first.
            sync_with(options, &source, &target).await;
        }

        let left = prepare(options, &near, &far).await.unwrap();
        prop_assert!(left.is_idle(), "{}", left);

        let second = sync_with(options, &source, &target).await;
        prop_assert!(second.moved_nothing(), "{:?}", second);
        Ok(())
    })?;

    for (namespace, group, time, _, mark) in to {
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
    Ok(())
}
