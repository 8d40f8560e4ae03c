//! Moving: nothing leaves the source before its copy was read back, whatever happens in between.

use std::sync::Arc;

use formats::CryptKey;

use super::{IsRemote as _, pull, push, sync, sync_with};
use crate::crypt::{DecryptingTarget, EncryptingSource};
use crate::memory::MemoryStore;
use crate::{JobOptions, Report, RunControl, RunResult, Silent, Source, Target, run};

const A: &[u8] = b"first chunk of all";
const B: &[u8] = b"second chunk";
const C: &[u8] = b"the third one is different";

fn source() -> MemoryStore {
    let store = MemoryStore::new();
    store.backup("", "vm/100", 1, &[("disk.img.didx", &[A, B]), ("vm.conf.blob", &[b"cores 4"])]);
    store.backup("", "vm/100", 2, &[("disk.img.didx", &[A, C]), ("vm.conf.blob", &[b"cores 4"])]);
    store.backup("a", "host/elsa", 5, &[("root.pxar.didx", &[B, C, B])]);
    store.log("", "vm/100", 2, b"all went well").annotate("", "vm/100", "the old one");
    store
}

fn moving(options: JobOptions) -> JobOptions {
    JobOptions { moves: true, ..options }
}

#[tokio::test]
async fn what_is_copied_and_read_back_is_gone_from_the_source_with_its_group() {
    for (options, target) in [(pull(), MemoryStore::new()), (push(), MemoryStore::new().as_remote())] {
        let (source, options) = (source(), moving(options));
        let before = source.contents();

        let first = sync_with(&options, &source, &target).await;
        let second = sync_with(&options, &source, &target).await;

        assert_eq!((first.result, first.snapshots_moved), (RunResult::Ok, 3), "{:?}", first.errors);
        assert_eq!((target.contents(), source.finished().len()), (before, 0));
        assert_eq!(source.group_notes("", "vm/100"), None);
        assert_eq!(target.group_notes("", "vm/100").unwrap(), "the old one");
        assert_eq!(second.result, RunResult::Ok, "{:?}", second.warnings);
        assert!(second.moved_nothing(), "{second:?}");
    }
}

#[tokio::test]
async fn a_group_that_got_a_new_snapshot_meanwhile_stays() {
    let (source, target) = (source(), MemoryStore::new());
    source.unfinished("", "vm/100", 3);

    sync_with(&moving(pull()), &source, &target).await;

    assert_eq!(source.owner("", "vm/100").unwrap().to_string(), "root@pam");
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_back_keeps_its_original_and_the_others_go() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    // The chunk of the first one alone; the newest is only looked at again.
    target.spoil_chunk(B);
    source.backup("", "vm/100", 3, &[("disk.img.didx", &[C])]);

    let report = sync_with(&moving(pull()), &source, &target).await;

    assert_eq!(source.finished(), ["a host/elsa 5", "vm/100 1"]);
    assert_eq!((report.result, report.snapshots_moved, report.errors.len()), (RunResult::Error, 2, 2));
    let problem = report.errors.iter().find(|problem| problem.where_ == "vm/100/1970-01-01T00:00:01Z").unwrap();
    assert!(problem.message.contains("not moved: reading back `disk.img.didx`"), "{}", problem.message);
    assert!(problem.hint.as_ref().unwrap().contains("resync-corrupt"), "{problem}");
}

#[tokio::test]
async fn a_missing_or_changed_file_of_the_copy_keeps_the_original() {
    let (source, target) = (source(), MemoryStore::new());
    sync(&source, &target).await;
    target.move_file("", "vm/100", (1, 2), "vm.conf.blob");
    let another = MemoryStore::new();
    another.backup("", "vm/100", 1, &[("disk.img.didx", &[C])]);
    let options = JobOptions { target_ns: "".parse().unwrap(), ..moving(push()) };

    let first = sync_with(&moving(pull()), &source, &target).await;
    assert_eq!(first.result, RunResult::Error);
    assert!(source.finished().contains(&"vm/100 1".to_owned()));

    // Two different backups of one time.
    let second = sync_with(&options, &source, &another.as_remote()).await;
    assert_eq!(second.result, RunResult::Error);
    assert!(source.finished().contains(&"vm/100 1".to_owned()));
    assert!(second.errors[0].message.contains("differs at source and target"), "{}", second.errors[0].message);
}

#[tokio::test]
async fn what_is_protected_stays_and_a_failed_transfer_keeps_the_rest() {
    let (source, target) = (source(), MemoryStore::new());
    source.protect("", "vm/100", 1).spoil_chunk(C);

    let report = sync_with(&moving(pull()), &source, &target).await;

    // The first of vm/100 was copied, the second cannot be.
    assert_eq!(source.finished(), ["a host/elsa 5", "vm/100 1", "vm/100 2"]);
    assert_eq!((report.result, report.snapshots_copied, report.snapshots_moved), (RunResult::Error, 1, 0));
}

#[tokio::test]
async fn a_log_and_notes_that_came_late_go_along() {
    for target in [MemoryStore::new(), MemoryStore::new().as_remote()] {
        let source = source();
        let options = if target.is_remote() { push() } else { pull() };
        sync_with(&options, &source, &target).await;
        source.log("", "vm/100", 1, b"late").manifest("", "vm/100", 1, |manifest| manifest.set_notes("late"));
        source.manifest("", "vm/100", 2, |manifest| manifest.set_notes("theirs"));
        target.manifest("", "vm/100", 2, |manifest| manifest.set_notes("ours"));

        let report = sync_with(&moving(options), &source, &target).await;

        assert_eq!((report.result, source.finished().len()), (RunResult::Ok, 0), "{:?}", report.errors);
        assert!(target.contents()["vm/100 1"].contains_key("log"));
        target.look("", "vm/100", 1, |manifest| assert_eq!(manifest.notes(), Some("late")));
        target.look("", "vm/100", 2, |manifest| assert_eq!(manifest.notes(), Some("ours")));
    }
}

fn key(number: u8) -> CryptKey {
    CryptKey::from_bytes([number; 32])
}

async fn between(options: &JobOptions, source: Arc<dyn Source>, target: Arc<dyn Target>) -> Report {
    run(options, source, target, &RunControl::new(), Arc::new(Silent)).await
}

#[tokio::test]
async fn a_move_encrypts_and_decrypts_and_reads_back_by_content_where_the_key_is() {
    let (source, vault, back) = (source(), MemoryStore::new(), MemoryStore::new());
    let options = JobOptions { keys: vec![key(1)], ..moving(push()) };
    let encrypting = || Arc::new(EncryptingSource::new(Arc::new(source.clone()), key(1)));

    // Copied by one run, moved by another: what is encrypted anew has other bytes.
    let copied =
        between(&JobOptions { moves: false, ..options.clone() }, encrypting(), Arc::new(vault.as_remote())).await;
    assert_eq!(copied.result, RunResult::Ok, "{:?}", copied.errors);
    let good = vault.encrypted_chunk(&key(1).digest(A)).unwrap();
    let other = formats::DataBlob::encode(&vec![7; A.len()], false, Some(&key(1))).unwrap();
    vault.replace_chunk(key(1).digest(A), other);
    let damaged = between(&options, encrypting(), Arc::new(vault.as_remote())).await;
    assert_eq!((damaged.result, damaged.snapshots_moved), (RunResult::Error, 1), "{:?}", damaged.errors);
    vault.replace_chunk(key(1).digest(A), good);
    let moved = between(&options, encrypting(), Arc::new(vault.as_remote())).await;
    assert_eq!((moved.result, source.finished().len()), (RunResult::Ok, 0), "{:?}", moved.errors);

    let decrypting = || Arc::new(DecryptingTarget::new(Arc::new(back.clone()), vec![key(1)]));
    let options = JobOptions { keys: vec![key(1)], ..pull() };
    let copied = between(&options, Arc::new(vault.clone()), decrypting()).await;
    assert_eq!(copied.result, RunResult::Ok, "{:?}", copied.errors);
    let moved = between(&moving(options), Arc::new(vault.clone()), decrypting()).await;
    assert_eq!((moved.result, moved.snapshots_moved), (RunResult::Ok, 3), "{:?}", moved.errors);
    assert_eq!((vault.finished().len(), back.finished().len(), back.check()), (0, 3, Ok(())));
}
