//! Whole runs.

use std::sync::Arc;

use formats::VerifyResult;

use super::{Events, IsRemote as _, pull, push, sync, sync_with};
use crate::memory::{MemoryStore, verify_state};
use crate::{Event, JobOptions, RunControl, RunResult, SnapshotOutcome, TransferOrder, run};

const A: &[u8] = b"first chunk of all";
const B: &[u8] = b"second chunk";
const C: &[u8] = b"the third one is different";

fn source() -> MemoryStore {
    let store = MemoryStore::new();
    store.backup("", "vm/100", 1, &[("disk.img.didx", &[A, B]), ("vm.conf.blob", &[b"cores 4"])]);
    store.backup("", "vm/100", 2, &[("disk.img.didx", &[A, C]), ("vm.conf.blob", &[b"cores 4"])]);
    store.backup("site/lab", "host/elsa", 5, &[("root.pxar.didx", &[B, C, B])]);
    store.log("", "vm/100", 2, b"all went well");
    store
}

#[tokio::test]
async fn a_pull_copies_every_byte_and_a_second_one_moves_nothing() {
    let (source, target) = (source(), MemoryStore::new());

    let first = sync(&source, &target).await;
    let second = sync(&source, &target).await;

    assert_eq!(target.contents(), source.contents());
    assert_eq!(target.check(), Ok(()));
    assert_eq!((first.result, first.errors.len()), (RunResult::Ok, 0));
    assert_eq!((first.snapshots_copied, first.chunks_transferred), (3, 3));
    assert_eq!(second.result, RunResult::Ok);
    assert!(second.moved_nothing(), "{second:?}");
    assert_eq!((second.snapshots_unchanged, second.bytes_transferred), (2, 0));
}

#[tokio::test]
async fn a_push_copies_every_byte_and_knows_chunks_of_the_snapshot_before() {
    let (source, target) = (source(), MemoryStore::new().as_remote());
    let owner = "backup@pbs!push".parse().unwrap();
    let options = JobOptions { owner, ..push() };

    let first = sync_with(&options, &source, &target).await;
    let second = sync_with(&options, &source, &target).await;

    assert_eq!(target.contents(), source.contents());
    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    // A once for the first snapshot of vm/100; B and C again in another session.
    assert_eq!((first.snapshots_copied, first.chunks_transferred, first.chunks_reused), (3, 5, 1));
    assert!(second.moved_nothing(), "{second:?}");
    assert_eq!(target.owner("", "vm/100").unwrap().to_string(), "backup@pbs!push");
}

#[tokio::test]
async fn groups_that_share_their_data_transfer_it_once() {
    let (source, target) = (MemoryStore::new(), MemoryStore::new());
    let parts: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 100]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for group in ["vm/1", "vm/2", "vm/3", "vm/4", "vm/5"] {
        source.backup("", group, 1, &[("disk.img.didx", &parts)]);
    }

    let report = sync(&source, &target).await;

    assert_eq!(target.contents(), source.contents());
    assert_eq!((report.chunks_transferred, report.chunks_reused), (100, 400));
    assert_eq!(source.chunks_fetched(), 100);
    assert_eq!(report.bytes_reused, 40_000);
}

#[tokio::test]
async fn a_small_budget_only_makes_it_slower() {
    let (source, target) = (source(), MemoryStore::new());
    let options = JobOptions { in_flight_bytes: 1, in_flight_requests: 1, worker_threads: 8, ..pull() };

    let report = sync_with(&options, &source, &target).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!(target.contents(), source.contents());
}

#[tokio::test]
async fn a_damaged_chunk_at_the_target_is_replaced() {
    let (source, target) = (source(), MemoryStore::new());
    target.backup("", "ct/9", 1, &[("disk.img.didx", &[A])]);
    target.spoil_chunk(A);

    let report = sync(&source, &target).await;

    assert_eq!(report.chunks_transferred, 3);
    assert_eq!(target.check(), Ok(()));
}

#[tokio::test]
async fn chunks_of_other_groups_at_the_target_are_not_transferred() {
    let (source, target) = (source(), MemoryStore::new());
    target.backup("elsewhere", "ct/9", 1, &[("disk.img.didx", &[A, C])]);

    let report = sync(&source, &target).await;

    assert_eq!(report.chunks_transferred, 1);
    assert_eq!(target.check(), Ok(()));
}

#[tokio::test]
async fn late_log_and_notes_come_over_and_the_targets_verify_state_stays() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    source.log("site/lab", "host/elsa", 5, b"late");
    source.manifest("", "vm/100", 2, |manifest| manifest.set_notes("before the upgrade"));
    target.manifest("", "vm/100", 2, |manifest| manifest.set_verify_state(&verify_state(VerifyResult::Ok)));

    let report = sync(&source, &target).await;
    let again = sync(&source, &target).await;

    assert_eq!((report.result, report.snapshots_refreshed, report.chunks_transferred), (RunResult::Ok, 2, 0));
    target.look("", "vm/100", 2, |manifest| {
        assert_eq!(manifest.notes(), Some("before the upgrade"));
        assert_eq!(manifest.verify_state(), Some(verify_state(VerifyResult::Ok)));
    });
    assert!(target.contents()["site/lab host/elsa 5"].contains_key("log"));
    assert!(again.moved_nothing(), "{again:?}");
}

#[tokio::test]
async fn notes_made_at_the_target_survive_a_refresh() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    target.manifest("", "vm/100", 2, |manifest| manifest.set_notes("keep me"));

    let report = sync(&source, &target).await;

    assert!(report.moved_nothing());
    target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.notes(), Some("keep me")));
}

#[tokio::test]
async fn notes_written_at_the_target_win_over_those_of_the_source_unless_both_are_kept_in_step() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    source.manifest("", "vm/100", 2, |manifest| manifest.set_notes("theirs"));
    target.manifest("", "vm/100", 2, |manifest| manifest.set_notes("ours"));

    assert!(sync(&source, &target).await.moved_nothing());
    target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.notes(), Some("ours")));

    let options = JobOptions { sync_metadata: true, ..pull() };
    assert_eq!(sync_with(&options, &source, &target).await.snapshots_refreshed, 1);
    target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.notes(), Some("theirs")));
}

#[tokio::test]
async fn notes_and_protection_of_all_snapshots_follow_the_source_on_request_in_either_direction() {
    for target in [MemoryStore::new(), MemoryStore::new().as_remote()] {
        let (source, options) = (source(), if target.is_remote() { push() } else { pull() });
        let options = JobOptions { sync_metadata: true, ..options };
        source.protect("", "vm/100", 1);
        assert_eq!(sync_with(&options, &source, &target).await.snapshots_copied, 3);
        assert!(target.is_protected("", "vm/100", 1) && !target.is_protected("", "vm/100", 2));
        source.manifest("", "vm/100", 1, |manifest| manifest.set_notes("keep\nfor long"));
        source.annotate("", "vm/100", "of the group");
        target.manifest("", "vm/100", 2, |manifest| manifest.set_notes("not at the source"));
        target.manifest("", "vm/100", 1, |manifest| manifest.set_verify_state(&verify_state(VerifyResult::Ok)));

        let report = sync_with(&options, &source, &target).await;
        let again = sync_with(&options, &source, &target).await;

        assert_eq!((report.result, report.snapshots_refreshed), (RunResult::Ok, 2), "{:?}", report.errors);
        assert_eq!((report.groups_updated, report.chunks_transferred), (1, 0));
        target.look("", "vm/100", 1, |manifest| {
            assert_eq!(manifest.notes(), Some("keep\nfor long"));
            assert_eq!(manifest.verify_state(), Some(verify_state(VerifyResult::Ok)));
        });
        target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.notes().unwrap_or_default(), ""));
        assert_eq!(target.group_notes("", "vm/100").unwrap(), "of the group");
        assert!(again.moved_nothing(), "{again:?}");
    }
}

#[tokio::test]
async fn two_different_backups_of_one_time_are_refused_by_name() {
    let (source, target) = (source(), MemoryStore::new());
    target.backup("", "vm/100", 2, &[("disk.img.didx", &[B]), ("vm.conf.blob", &[b"cores 4"])]);
    let before = target.contents();

    let report = sync(&source, &target).await;

    assert_eq!(report.result, RunResult::Error);
    assert_eq!(report.errors[0].where_, "vm/100/1970-01-01T00:00:02Z");
    assert!(report.errors[0].message.contains("disk.img.didx"), "{}", report.errors[0].message);
    assert_eq!(target.contents()["vm/100 2"], before["vm/100 2"]);
    // The other group went on.
    assert!(target.finished().contains(&"site/lab host/elsa 5".to_owned()));
}

#[tokio::test]
async fn resync_corrupt_mends_a_failed_snapshot_with_its_chunks() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    target.spoil_chunk(A);
    target.manifest("", "vm/100", 1, |manifest| manifest.set_verify_state(&verify_state(VerifyResult::Failed)));
    let options = JobOptions { resync_corrupt: true, ..pull() };

    let report = sync_with(&options, &source, &target).await;

    assert_eq!((report.snapshots_copied, report.chunks_transferred), (1, 1));
    assert_eq!(target.check(), Ok(()));
    assert_eq!(target.contents(), source.contents());
}

#[tokio::test]
async fn a_snapshot_mended_from_a_source_that_failed_verification_is_mended_once() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    for store in [&source, &target] {
        store.manifest("", "vm/100", 1, |manifest| manifest.set_verify_state(&verify_state(VerifyResult::Failed)));
    }
    let options = JobOptions { resync_corrupt: true, ..pull() };

    let report = sync_with(&options, &source, &target).await;
    let again = sync_with(&options, &source, &target).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 1), "{:?}", report.errors);
    target.look("", "vm/100", 1, |manifest| assert_eq!(manifest.verify_state(), None));
    assert!(again.moved_nothing(), "{again:?}");
}

#[tokio::test]
async fn a_verification_at_the_source_says_nothing_about_the_target() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    for state in [VerifyResult::Ok, VerifyResult::Failed] {
        source.manifest("", "vm/100", 2, |manifest| manifest.set_verify_state(&verify_state(state)));

        let report = sync(&source, &target).await;

        assert!(report.moved_nothing(), "{report:?}");
        target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.verify_state(), None));
    }
}

#[tokio::test]
async fn a_mirror_ends_equal_and_keeps_what_is_protected() {
    let (source, target) = (source(), MemoryStore::new());
    let options = JobOptions { remove_vanished: true, ..pull() };
    sync(&source, &target).await;
    target.backup("", "ct/7", 1, &[]).backup("old/er", "ct/8", 1, &[]).backup("", "vm/100", 9, &[]);
    target.backup("", "ct/6", 1, &[]).backup("", "ct/6", 2, &[]).protect("", "ct/6", 1);
    source.forget("", "vm/100", 1);

    let report = sync_with(&options, &source, &target).await;

    assert_eq!(target.finished(), ["ct/6 1", "site/lab host/elsa 5", "vm/100 2"]);
    assert_eq!(target.all_namespaces(), ["", "site", "site/lab"]);
    assert_eq!((report.snapshots_removed, report.groups_removed, report.namespaces_removed), (5, 2, 2));
    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
}

#[tokio::test]
async fn a_group_of_another_owner_does_not_hold_up_the_removal_of_a_namespace() {
    let (source, target) = (source(), MemoryStore::new());
    target.backup("", "vm/100", 1, &[]).own("", "vm/100", "bob@pbs").namespace("old");
    let options = JobOptions { remove_vanished: true, ..pull() };

    let report = sync_with(&options, &source, &target).await;

    assert_eq!((report.errors.len(), report.namespaces_removed), (1, 1), "{:?}", report.errors);
    assert_eq!(target.all_namespaces(), ["", "site", "site/lab"]);
}

#[tokio::test]
async fn a_failed_group_keeps_what_it_would_have_removed() {
    let (source, target) = (source(), MemoryStore::new());
    target.backup("", "vm/100", 2, &[("other.blob", &[b"x"])]).backup("", "vm/100", 7, &[]);
    let options = JobOptions { remove_vanished: true, ..pull() };

    sync_with(&options, &source, &target).await;

    assert!(target.finished().contains(&"vm/100 7".to_owned()));
}

#[tokio::test]
async fn a_cancelled_run_says_so_and_leaves_nothing_half_visible() {
    let (source, target) = (source(), MemoryStore::new());
    let control = RunControl::new();
    control.cancel();

    let report =
        run(&pull(), Arc::new(source.clone()), Arc::new(target.clone()), &control, Arc::new(Events::default())).await;

    assert!(report.cancelled);
    assert_eq!(report.result, RunResult::Error);
    assert_eq!(target.finished(), Vec::<String>::new());
    assert_eq!(sync(&source, &target).await.result, RunResult::Ok);
    assert_eq!(target.contents(), source.contents());
}

#[tokio::test]
async fn a_missing_source_namespace_is_a_clear_error() {
    let options = JobOptions { source_ns: "nowhere".parse().unwrap(), ..pull() };

    let report = sync_with(&options, &source(), &MemoryStore::new()).await;

    assert_eq!(report.result, RunResult::Error);
    assert!(report.errors[0].message.contains("nowhere"), "{}", report.errors[0].message);
}

#[tokio::test]
async fn events_tell_the_whole_story() {
    let (source, target, events) = (source(), MemoryStore::new(), Events::default());
    let options = JobOptions { worker_threads: 1, ..pull() };

    let report =
        run(&options, Arc::new(source.clone()), Arc::new(target.clone()), &RunControl::new(), Arc::new(events.clone()))
            .await;

    let events = events.take();
    assert!(matches!(events[0], Event::Planned { groups: 2, snapshots: 3, .. }), "{:?}", events[0]);
    let copied = |event: &&Event| matches!(event, Event::SnapshotFinished { outcome: SnapshotOutcome::Copied, .. });
    assert_eq!(events.iter().filter(copied).count(), 3);
    let (mut transferred, mut logical) = (0, 0);
    for event in &events {
        if let Event::Progress { chunks_transferred, logical_bytes, .. } = event {
            transferred += chunks_transferred;
            logical += logical_bytes;
        }
    }
    assert_eq!(transferred, report.chunks_transferred);
    // Every byte of every archive, repetitions included.
    let expected = 2 * A.len() + 3 * B.len() + 2 * C.len();
    assert_eq!(logical, expected as u64);
}

#[tokio::test]
async fn newest_first_brings_the_newest_of_every_group_before_anything_else() {
    let source = MemoryStore::new();
    for (group, time) in [("vm/1", 1), ("vm/1", 5), ("vm/1", 9), ("vm/2", 2), ("vm/2", 10), ("ct/3", 3)] {
        source.backup("", group, time, &[("disk.img.didx", &[group.as_bytes(), &time.to_le_bytes()])]);
    }
    let target = MemoryStore::new();
    let options =
        JobOptions { fill_gaps: true, transfer_order: TransferOrder::NewestFirst, worker_threads: 1, ..pull() };
    let events = Events::default();

    let (from, to) = (Arc::new(source.clone()), Arc::new(target.clone()));
    let report = run(&options, from, to, &RunControl::new(), Arc::new(events.clone())).await;

    assert_eq!(report.errors, []);
    let order: Vec<String> = events
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::SnapshotFinished { snapshot, .. } => Some(format!("{} {}", snapshot.group, snapshot.time.unix())),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["vm/2 10", "vm/1 9", "ct/3 3", "vm/2 2", "vm/1 1", "vm/1 5"]);
    assert_eq!(target.contents(), source.contents());
}
