//! Death at every call in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use formats::RemovalLimit;

use super::{Events, IsRemote as _, pull, push, sync, sync_with};
use crate::memory::MemoryStore;
use crate::{Event, JobOptions, Monitor, Patience, RunControl, RunResult, run};

fn source() -> MemoryStore {
    let store = MemoryStore::new();
    let parts: Vec<Vec<u8>> = (0..12u8).map(|n| vec![n; 50]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    store.backup("", "vm/100", 1, &[("disk.img.didx", &parts[..8]), ("vm.conf.blob", &[b"cores 4"])]);
    store.backup("", "vm/100", 2, &[("disk.img.didx", &parts[4..]), ("vm.conf.blob", &[b"cores 8"])]);
    store.backup("a", "vm/200", 1, &[("disk.img.didx", &parts), ("empty.didx", &[b"x"])]);
    store.log("", "vm/100", 2, b"log").annotate("", "vm/100", "notes");
    store
}

async fn dies_everywhere(options: &JobOptions, target: impl Fn() -> MemoryStore, at_target: bool) -> u64 {
    let source = source();
    for cut in 0.. {
        let (whole, target) = (source.clone(), target());
        target.backup("", "ct/9", 1, &[]);
        let report = if at_target {
            sync_with(options, &whole, &target.dying_after(cut)).await
        } else {
            sync_with(options, &whole.dying_after(cut), &target).await
        };
        assert_eq!(target.check(), Ok(()), "after dying at call {cut}");
        if report.result == RunResult::Ok {
            return cut; // Lived through: every cut was tried.
        }

        let put = target.chunks_put();
        let again = sync_with(options, &source, &target).await;

        assert_eq!(again.result, RunResult::Ok, "after dying at call {cut}: {:?}", again.errors);
        assert_eq!(target.check(), Ok(()));
        let mut expected = source.contents();
        if !options.remove_vanished {
            expected.insert("ct/9 1".to_owned(), target.contents()["ct/9 1"].clone());
        }
        assert_eq!(target.contents(), expected, "after dying at call {cut}");
        if !target.is_remote() {
            // Nothing that was stored before is transferred again.
            assert_eq!(put + again.chunks_transferred, 13, "after dying at call {cut}");
        }
    }
    0
}

#[tokio::test]
async fn a_pull_that_dies_anywhere_converges_and_transfers_only_the_rest() {
    let mirror = JobOptions { remove_vanished: true, ..pull() };
    assert!(dies_everywhere(&pull(), MemoryStore::new, true).await > 40);
    assert!(dies_everywhere(&mirror, MemoryStore::new, true).await > 40);
    assert!(dies_everywhere(&pull(), MemoryStore::new, false).await > 20);
}

#[tokio::test]
async fn a_push_that_dies_anywhere_converges() {
    assert!(dies_everywhere(&push(), || MemoryStore::new().as_remote(), true).await > 40);
    assert!(dies_everywhere(&push(), || MemoryStore::new().as_remote(), false).await > 20);
}

/// Breaks the connection once at every call in turn; returns how many calls a whole run makes.
async fn breaks_everywhere(options: &JobOptions, target: impl Fn() -> MemoryStore, at_target: bool) -> u64 {
    let second = Duration::from_secs(1);
    let patience = Patience { first: second, longest: 8 * second, give_up_after: 60 * second, seed: 1 };
    let options = JobOptions { patience, ..options.clone() };
    let source = source();
    // The first call of all is not repeated: an end that was never reached is no connection that broke.
    for cut in 1.. {
        let (from, to) = (source.clone(), target());
        let (from, to) = match at_target {
            true => (from, to.stumbling_after(cut)),
            false => (from.stumbling_after(cut), to),
        };
        let events = Events::default();
        let (start, end) = (Arc::new(from), Arc::new(to.clone()));

        let report = run(&options, start, end, &RunControl::new(), Arc::new(events.clone())).await;

        assert_eq!(report.errors, [], "broken at call {cut}");
        assert_eq!(to.contents(), source.contents(), "broken at call {cut}");
        if !to.is_remote() {
            assert_eq!(report.chunks_transferred, 13, "broken at call {cut}: nothing travels twice");
        }
        if !events.take().iter().any(|event| matches!(event, Event::Retrying { .. })) {
            return cut;
        }
    }
    0
}

/// Kills either end of a move at each of its calls: no snapshot is ever missing at both, and the next run ends it.
async fn a_move_dies_everywhere(options: &JobOptions, target: impl Fn() -> MemoryStore, at_target: bool) -> u64 {
    let expected = source().contents();
    for cut in 0.. {
        let (whole, target) = (source(), target());
        let report = if at_target {
            sync_with(options, &whole, &target.dying_after(cut)).await
        } else {
            sync_with(options, &whole.dying_after(cut), &target).await
        };
        let (left, there) = (whole.contents(), target.contents());
        for line in expected.keys().filter(|line| !left.contains_key(*line)) {
            assert_eq!(there.get(line), expected.get(line), "{line} after dying at call {cut}");
        }
        assert_eq!((whole.check(), target.check()), (Ok(()), Ok(())), "after dying at call {cut}");
        if report.result == RunResult::Ok {
            return cut;
        }

        let again = sync_with(options, &whole, &target).await;

        assert_eq!(again.result, RunResult::Ok, "after dying at call {cut}: {:?}", again.errors);
        assert_eq!((target.contents(), whole.finished().len()), (expected.clone(), 0), "after dying at call {cut}");
        assert_eq!(target.group_notes("", "vm/100").as_deref(), Some("notes"), "after dying at call {cut}");
    }
    0
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_connection_breaks_anywhere_goes_on_by_itself() {
    assert!(breaks_everywhere(&pull(), MemoryStore::new, true).await > 40);
    assert!(breaks_everywhere(&pull(), MemoryStore::new, false).await > 20);
    assert!(breaks_everywhere(&push(), || MemoryStore::new().as_remote(), true).await > 40);
    assert!(breaks_everywhere(&push(), || MemoryStore::new().as_remote(), false).await > 20);
}

#[tokio::test]
async fn a_move_that_dies_anywhere_loses_nothing_and_converges() {
    let (pull, push) = (JobOptions { moves: true, ..pull() }, JobOptions { moves: true, ..push() });
    assert!(a_move_dies_everywhere(&pull, MemoryStore::new, true).await > 40);
    assert!(a_move_dies_everywhere(&pull, MemoryStore::new, false).await > 30);
    assert!(a_move_dies_everywhere(&push, || MemoryStore::new().as_remote(), true).await > 60);
    assert!(a_move_dies_everywhere(&push, || MemoryStore::new().as_remote(), false).await > 30);
}

/// Stops the run at the event of a number.
struct StopAt {
    control: RunControl,
    left: AtomicU64,
}

impl Monitor for StopAt {
    fn event(&self, _event: Event) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.control.cancel();
        }
    }
}

#[tokio::test]
async fn a_run_stopped_at_any_event_leaves_nothing_half_visible_and_the_next_one_completes_it() {
    let source = source();
    for target in [MemoryStore::new, || MemoryStore::new().as_remote()] {
        let options = if target().is_remote() { push() } else { pull() };
        for cut in 0.. {
            let (target, control) = (target(), RunControl::new());
            let monitor = Arc::new(StopAt { control: control.clone(), left: AtomicU64::new(cut) });
            let (from, to) = (Arc::new(source.clone()), Arc::new(target.clone()));

            let report = run(&options, from, to, &control, monitor).await;

            assert_eq!(target.check(), Ok(()), "stopped at event {cut}");
            if !report.cancelled {
                assert!(cut > 20);
                break;
            }
            let again = sync_with(&options, &source, &target).await;
            assert_eq!(again.result, RunResult::Ok, "stopped at event {cut}: {:?}", again.errors);
            assert_eq!(target.contents(), source.contents(), "stopped at event {cut}");
        }
    }
}

#[tokio::test]
async fn a_listing_refused_at_any_point_removes_nothing() {
    let source = MemoryStore::new();
    for (namespace, group, time) in
        [("", "vm/1", 1), ("", "vm/1", 2), ("", "ct/2", 1), ("a", "vm/3", 1), ("a/b", "vm/4", 1)]
    {
        source.backup(namespace, group, time, &[("disk.img.didx", &[b"the same everywhere"])]);
    }
    let options = JobOptions { remove_vanished: true, max_removals: Some(RemovalLimit::Percent(100)), ..pull() };
    let mut told = 0;
    for cut in 0.. {
        let target = MemoryStore::new();
        sync(&source, &target).await;
        let before = target.finished();

        let report = sync_with(&options, &source.dying_after(cut), &target).await;

        assert_eq!(target.finished(), before, "cut after {cut} calls");
        if report.errors.is_empty() {
            break;
        }
        assert!(report.errors.iter().any(|problem| problem.message.contains("the store died")), "{report:?}");
        told += 1;
    }
    assert!(told > 5, "only {told} cuts were tried");
}
