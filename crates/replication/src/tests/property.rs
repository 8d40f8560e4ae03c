//! A plan that was obeyed leaves nothing to do.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};

use formats::{CryptKey, Namespace, RemovalLimit, VerifyResult};
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::{pull, push, sync_with};
use crate::TransferOrder::{NewestFirst, OldestFirst};
use crate::executor::rehearse;
use crate::inventory::place;
use crate::memory::{MemoryStore, verify_state};
use crate::prepare::prepare;
use crate::{Action, AtSource, Direction, JobOptions, Plan, Report, RunControl, Scope, Silent, Source, Target};

const NAMESPACES: [&str; 3] = ["", "a", "a/b"];
const GROUPS: [&str; 3] = ["vm/1", "ct/2", "host/x"];

/// What is special about a snapshot, or its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Protected,
    Notes(u8),
    Log,
    Verified,
    Failed,
    Unfinished,
    Unreadable,
    /// Its group belongs to somebody else; at the source that is nobody's concern.
    Foreign,
    /// Its group has notes.
    GroupNotes(u8),
}

/// One snapshot: namespace, group, time and mark.
type Entry = (usize, usize, u8, Mark);

fn mark() -> impl Strategy<Value = Mark> {
    prop_oneof![
        3 => Just(Mark::None),
        2 => Just(Mark::Protected),
        1 => (0..2u8).prop_map(Mark::Notes),
        1 => Just(Mark::Log),
        3 => Just(Mark::Verified),
        1 => Just(Mark::Failed),
        1 => Just(Mark::Unfinished),
        1 => Just(Mark::Unreadable),
        1 => Just(Mark::Foreign),
        1 => (0..2u8).prop_map(Mark::GroupNotes),
    ]
}

fn history() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::btree_map((0..3usize, 0..3usize, 1..8u8), mark(), 0..14).prop_map(|entries| {
        entries.into_iter().map(|((space, group, time), mark)| (space, group, time, mark)).collect()
    })
}

/// Where the entries of the target are: at its root, or below the anchor of the job.
fn placed(below: &Namespace, space: usize) -> String {
    if below.is_root() {
        NAMESPACES[space].to_owned()
    } else {
        format!("{below}/{}", NAMESPACES[space]).trim_end_matches('/').to_owned()
    }
}

fn store(entries: &[Entry], below: &Namespace, target: bool) -> MemoryStore {
    let store = MemoryStore::new();
    store.namespace(&placed(below, 2));
    for (space, group, time, mark) in entries {
        let (namespace, group, at) = (&placed(below, *space), GROUPS[*group], i64::from(*time));
        // Equal times have equal contents at both ends, as those of one history have.
        let parts: Vec<Vec<u8>> = (0..3u8).map(|part| vec![time.wrapping_mul(3) ^ part; 40]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        match mark {
            Mark::Unfinished => drop(store.unfinished(namespace, group, at)),
            _ if time % 3 == 0 => {
                let key = CryptKey::from_bytes([9; 32]);
                store.encrypted_backup(namespace, group, at, &[("disk.img.didx", &parts)], &key);
            }
            _ => drop(store.backup(namespace, group, at, &[("disk.img.didx", &parts), ("a.blob", &[&[*time]])])),
        }
        let verified = |state| {
            store.manifest(namespace, group, at, |m| m.set_verify_state(&verify_state(state)));
        };
        match mark {
            Mark::Protected => drop(store.protect(namespace, group, at)),
            Mark::Notes(number) => drop(store.manifest(namespace, group, at, |m| m.set_notes(&format!("n{number}")))),
            Mark::Log if !target => drop(store.log(namespace, group, at, b"log")),
            Mark::Verified => verified(VerifyResult::Ok),
            Mark::Failed => verified(VerifyResult::Failed),
            Mark::Unreadable => drop(store.spoil_manifest(namespace, group, at)),
            Mark::Foreign if target => drop(store.own(namespace, group, "bob@pbs")),
            Mark::GroupNotes(number) => drop(store.annotate(namespace, group, &format!("g{number}"))),
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

/// What a job does beside copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Copy,
    Mirror,
    Move,
}

/// True in one case of so many.
fn rarely(cases: u8) -> impl Strategy<Value = bool> {
    (0..cases).prop_map(|number| number == 0)
}

fn options(pulls: bool, mode: impl Strategy<Value = Mode>) -> impl Strategy<Value = JobOptions> {
    let removals = (mode, limit(), any::<bool>());
    let order = (any::<bool>(), any::<bool>());
    let wanted = (rarely(4), rarely(4), any::<bool>(), any::<bool>());
    let place = (rarely(3), any::<bool>(), prop_oneof![2 => Just(None), 1 => (0..3usize).prop_map(Some)]);
    (0..4u64, 0..4usize, removals, order, wanted, place).prop_map(
        move |(last, filter, (mode, max_removals, allow_removals), (gaps, newest), wanted, place)| {
            let filters: [&[&str]; 4] = [&[], &["type:vm"], &["exclude:group:ct/2"], &["regex:h"]];
            let base = if pulls { pull() } else { push() };
            let (encrypted_only, verified_only, resync_corrupt, sync_metadata) = wanted;
            let (within, below, max_depth) = place;
            JobOptions {
                remove_vanished: mode == Mode::Mirror,
                moves: mode == Mode::Move,
                transfer_last: NonZeroU64::new(last),
                group_filter: filters[filter].iter().map(|text| text.parse().unwrap()).collect(),
                fill_gaps: gaps && pulls,
                transfer_order: if newest && gaps && pulls { NewestFirst } else { OldestFirst },
                max_removals,
                allow_removals,
                encrypted_only,
                verified_only,
                resync_corrupt: resync_corrupt && pulls,
                sync_metadata,
                max_depth,
                source_ns: if within { "a".parse().unwrap() } else { Namespace::root() },
                target_ns: if below { "t".parse().unwrap() } else { Namespace::root() },
                ..base
            }
        },
    )
}

fn copying() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Copy), Just(Mode::Move)]
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Copy), Just(Mode::Mirror), Just(Mode::Move)]
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
    fn a_pull_that_was_obeyed_leaves_nothing_to_do(from in history(), to in history(), job in options(true, copying())) {
        Case::new(&job, from, to).obey()?;
    }

    #[test]
    fn a_push_that_was_obeyed_leaves_nothing_to_do(from in history(), to in history(), job in options(false, copying())) {
        Case::new(&job, from, to).obey()?;
    }

    #[test]
    fn a_mirroring_pull_leaves_nothing_to_do(from in history(), to in history(), job in options(true, Just(Mode::Mirror))) {
        Case::new(&job, from, to).obey()?;
    }

    #[test]
    fn a_mirroring_push_leaves_nothing_to_do(from in history(), to in history(), job in options(false, Just(Mode::Mirror))) {
        Case::new(&job, from, to).obey()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_run_does_what_its_rehearsal_announced(
        from in history(),
        to in history(),
        job in any::<bool>().prop_flat_map(|pulls| options(pulls, any_mode())),
    ) {
        let Case { source, target, .. } = Case::new(&job, from, to);
        let before = (source.contents(), target.contents());
        block_on(async {
            let ends = (Arc::new(source.clone()), Arc::new(target.clone()));
            let announced = rehearse(&job, ends.0, ends.1, &RunControl::new(), Arc::new(Silent)).await.unwrap();
            prop_assert_eq!(&(source.contents(), target.contents()), &before);
            let done = sync_with(&job, &source, &target).await;
            prop_assert_eq!(announced.report, done, "{}", announced.plan);
            Ok(())
        })?;
    }
}

struct Case<'a> {
    options: &'a JobOptions,
    from: Vec<Entry>,
    to: Vec<Entry>,
    source: MemoryStore,
    target: MemoryStore,
}

impl<'a> Case<'a> {
    fn new(options: &'a JobOptions, from: Vec<Entry>, to: Vec<Entry>) -> Self {
        let source = store(&from, &Namespace::root(), false);
        // Where the job starts at `a`, what is in `a` and `a/b` of the source meets the rest.
        let target = store(&to, &options.target_ns, true);
        let target = if options.direction == Direction::Push { target.as_remote() } else { target };
        Self { options, from, to, source, target }
    }

    async fn plan(&self) -> Plan {
        let (near, far): (Arc<dyn Source>, Arc<dyn Target>) =
            (Arc::new(self.source.clone()), Arc::new(self.target.clone()));
        prepare(self.options, &near, &far).await.unwrap()
    }

    async fn run(&self) -> Report {
        sync_with(self.options, &self.source, &self.target).await
    }

    /// Plans, obeys and plans again: nothing is left to do, and nothing protected, of another owner or outside the
    /// filters is gone at either end.
    fn obey(&self) -> Result<(), TestCaseError> {
        let before = (self.source.contents(), self.target.contents());
        let protected_before: BTreeSet<String> = self.protected_at_source();
        block_on(async {
            let first = self.plan().await;
            let report = self.run().await;
            if first.brake.is_some() {
                let after = self.target.contents();
                prop_assert!(before.1.keys().all(|line| after.contains_key(line)), "removed all the same");
                // What was copied counts as well from now on, so that the brake may let go: of removals alone.
                let left = self.plan().await;
                prop_assert!(!left.steps().any(|step| matches!(step.action, Action::Copy(_))), "{}", left);
                return Ok(());
            }
            if self.options.direction == Direction::Push && self.options.remove_vanished {
                // What was held up by snapshots that had to go first.
                self.run().await;
            }

            let mut left = self.plan().await;
            forgive_unreadable(&mut left, &report);
            prop_assert!(left.is_idle(), "{}\nafter {}\n{:?}", left.brief(), first.brief(), report);

            let second = self.run().await;
            prop_assert!(second.moved_nothing(), "{:?}", second);
            Ok(())
        })?;
        self.check_target(&before.1)?;
        self.check_source(&before.0, &protected_before)
    }

    fn protected_at_source(&self) -> BTreeSet<String> {
        let marked = self.from.iter().filter(|(.., mark)| *mark == Mark::Protected);
        marked.map(|(space, group, time, _)| line(NAMESPACES[*space], GROUPS[*group], *time)).collect()
    }

    fn check_target(&self, before: &Contents) -> Result<(), TestCaseError> {
        let after = self.target.contents();
        for (space, group, time, mark) in &self.to {
            let (namespace, group) = (placed(&self.options.target_ns, *space), GROUPS[*group]);
            let line = line(&namespace, group, *time);
            let Some(was) = before.get(&line) else { continue };
            let foreign = self.target.owner(&namespace, group).is_some_and(|owner| owner.to_string() == "bob@pbs");
            let outside = !self.options.wants(&group.parse().unwrap());
            if *mark == Mark::Protected || foreign || outside || !self.options.remove_vanished {
                prop_assert!(after.contains_key(&line), "{} is gone", line);
                if foreign || outside {
                    prop_assert_eq!(&after[&line], was);
                }
            }
        }
        Ok(())
    }

    /// What is gone from the source was there to be moved, and is whole at the target.
    fn check_source(&self, before: &Contents, protected: &BTreeSet<String>) -> Result<(), TestCaseError> {
        let (left, there) = (self.source.contents(), self.target.contents());
        for (space, group, time, mark) in &self.from {
            let (namespace, group): (Namespace, _) = (NAMESPACES[*space].parse().unwrap(), GROUPS[*group]);
            let line = line(namespace.as_str(), group, *time);
            let Some(was) = before.get(&line) else { continue };
            if let Some(is) = left.get(&line) {
                prop_assert_eq!(is, was, "{} changed at the source", line);
                continue;
            }
            let options = self.options;
            prop_assert!(options.moves && !protected.contains(&line), "{} is gone", line);
            prop_assert!(options.wants(&group.parse().unwrap()) && options.scope(&namespace) == Scope::Inside);
            prop_assert!(!options.verified_only || *mark == Mark::Verified);
            prop_assert!(!options.encrypted_only || time % 3 == 0);
            let target_ns = namespace.map_prefix(&options.source_ns, &options.target_ns).unwrap();
            let copy = there.get(&place(&target_ns, format!("{group} {time}")));
            let copy = copy.ok_or_else(|| TestCaseError::fail(format!("{line} is lost")))?;
            let files = |contents: &Files| {
                contents
                    .iter()
                    .filter(|(name, _)| *name != "manifest")
                    .map(|(n, b)| (n.clone(), b.clone()))
                    .collect::<Files>()
            };
            prop_assert_eq!(files(copy), files(was), "{} is another one", line);
        }
        let readable = self.to.iter().chain(&self.from).all(|(.., mark)| *mark != Mark::Unreadable);
        prop_assert!(!readable || self.target.check() == Ok(()), "{:?}", self.target.check());
        Ok(())
    }
}

type Files = std::collections::BTreeMap<String, bytes::Bytes>;
type Contents = std::collections::BTreeMap<String, Files>;

fn line(namespace: &str, group: &str, time: u8) -> String {
    format!("{namespace}{}{group} {time}", if namespace.is_empty() { "" } else { " " })
}

/// A copy that cannot be read back is an error of each run, and its original stays: that is no work left.
fn forgive_unreadable(left: &mut Plan, report: &Report) {
    for entry in &mut left.namespaces {
        for step in entry.groups.iter_mut().flat_map(|group| &mut group.steps) {
            let at = place(&entry.target, &step.snapshot);
            if step.at_source == AtSource::Moves && report.errors.iter().any(|problem| problem.where_ == at) {
                step.at_source = AtSource::Untouched;
            }
        }
    }
}
