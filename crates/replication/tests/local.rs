//! Local sync between real datastores, the golden one included.

#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]

mod common;
#[path = "moves/local.rs"]
mod moves;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::filled;
use datastore::fixtures::{FIXTURE_OWNER, TestStore, noise};
use datastore::{Datastore, StoreConfig, SyncLevel};
use formats::{ChunkDigest, CryptKey, DataBlob, Namespace, VerifyResult};
use replication::{Direction, JobOptions, LocalSource, LocalTarget, Report, RunControl, RunResult, Silent, run};

fn options(owner: &str) -> JobOptions {
    JobOptions::new(Direction::Pull, owner.parse().unwrap())
}

async fn sync_with(options: &JobOptions, from: &Datastore, to: &Datastore) -> Report {
    let source = Arc::new(LocalSource::new(from.clone()));
    let target = Arc::new(LocalTarget::new(to.clone()).unwrap());
    run(options, source, target, &RunControl::new(), Arc::new(Silent)).await
}

async fn sync(from: &Datastore, to: &Datastore) -> Report {
    sync_with(&options(FIXTURE_OWNER), from, to).await
}

/// All files below a directory with their bytes, without locks.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name() != ".lock" {
                let path = entry.path().strip_prefix(root).unwrap().to_owned();
                files.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

/// Snapshot files alone: neither chunks nor owners nor marks of protection.
fn snapshot_files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(root);
    files.retain(|path, _| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !path.starts_with(".chunks") && [".fidx", ".didx", ".blob"].iter().any(|end| name.ends_with(end))
    });
    files
}

fn chunks(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(root);
    files.retain(|path, _| path.starts_with(".chunks"));
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_sync_reproduces_every_file_and_every_chunk() {
    let (source, target) = (filled(), TestStore::new("target"));

    let first = sync(source.store(), target.store()).await;
    let second = sync(source.store(), target.store()).await;

    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    assert_eq!(first.snapshots_copied, 5);
    assert_eq!(tree(target.path()), tree(source.path()));
    assert!(second.moved_nothing(), "{second:?}");
    assert_eq!((second.result, second.snapshots_unchanged), (RunResult::Ok, 4));
}

#[tokio::test(start_paused = true)]
async fn a_group_and_a_snapshot_that_somebody_works_on_are_waited_for_a_little() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    source.backup("", "vm/100", 1_700_000_000, &[("vm.conf", b"cores: 4")]);
    let (root, id): (_, formats::SnapshotId) = (Namespace::root(), "vm/100/2023-11-14T22:13:20Z".parse().unwrap());
    let at_source = source.store().lock_snapshot_exclusive(&root, &id).unwrap();
    let owner = FIXTURE_OWNER.parse().unwrap();
    let at_target = target.store().lock_or_create_group(&root, &id.group, &owner).unwrap();
    // The clock stands still while anybody works, so the first try at each comes before its release.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(at_source);
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(at_target);
    });

    let report = sync(source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 1), "{:?}", report.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_datastore_is_reproduced_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden");
    golden::unpack(&path, golden::Dirs::Lazy).unwrap();
    let config = StoreConfig {
        name: "golden".parse().unwrap(),
        path: path.clone(),
        locks: dir.path().join("locks"),
        sync_level: SyncLevel::None,
    };
    let source = Datastore::open(config).unwrap();
    let target = TestStore::new("target");

    let first = sync(&source, target.store()).await;
    let second = sync(&source, target.store()).await;

    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    assert_eq!(first.snapshots_copied as usize, golden::SNAPSHOTS);
    assert_eq!(first.chunks_transferred as usize, golden::CHUNKS - 1);
    assert_eq!(snapshot_files(target.path()), snapshot_files(&path));
    let mut referenced = chunks(&path);
    referenced.retain(|name, _| !name.ends_with(golden::UNREFERENCED_CHUNK));
    assert_eq!(chunks(target.path()), referenced);
    let namespaces = target.store().namespaces(&Namespace::root(), None).unwrap();
    assert_eq!(namespaces.iter().map(ToString::to_string).collect::<Vec<_>>(), golden::NAMESPACES);
    assert!(second.moved_nothing(), "{second:?}");
    assert_eq!(second.result, RunResult::Ok, "{:?}", second.warnings);
}

#[tokio::test]
async fn between_namespaces_of_one_datastore_no_chunk_is_copied() {
    let store = filled();
    let before = chunks(store.path());
    let options = JobOptions {
        source_ns: "site".parse().unwrap(),
        target_ns: "copy/of".parse().unwrap(),
        ..options(FIXTURE_OWNER)
    };

    let first = sync_with(&options, store.store(), store.store()).await;
    let second = sync_with(&options, store.store(), store.store()).await;

    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    assert_eq!((first.snapshots_copied, first.chunks_transferred), (3, 0));
    assert!(second.moved_nothing(), "{second:?}");
    assert_eq!(chunks(store.path()), before);
    let below = |namespace: &str| {
        let prefix = store.path().join(namespace);
        let files = tree(&prefix).into_iter().filter(|(path, _)| !path.ends_with("owner"));
        files
            .map(|(path, bytes)| (path.strip_prefix(&prefix).unwrap_or(&path).to_owned(), bytes))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(below("ns/copy/ns/of"), below("ns/site"));
}

#[tokio::test]
async fn a_damaged_chunk_in_the_target_is_set_aside_and_fetched_again() {
    let (source, target) = (filled(), TestStore::new("target"));
    let image = noise(1, 9 << 20);
    // Another group of the target has the same data, one chunk of it damaged and one emptied by a loss of power.
    target.backup("", "host/other", 1_700_000_000, &[("disk.img", &image)]);
    let parts: Vec<ChunkDigest> = image.chunks(4 << 20).map(ChunkDigest::of).collect();
    let damaged = target.chunk_path(&parts[0]);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    std::fs::write(target.chunk_path(&parts[1]), b"").unwrap();

    let report = sync(source.store(), target.store()).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!(std::fs::read(&damaged).unwrap(), std::fs::read(source.chunk_path(&parts[0])).unwrap());
    assert_eq!(std::fs::read(damaged.with_file_name(format!("{}.0.bad", parts[0]))).unwrap(), bytes);
    let id = "vm/100/2023-11-14T22:13:20Z".parse().unwrap();
    assert_eq!(target.content("", &id, "disk.img", None), image);
    // Only the third part was good.
    let differing = 1;
    let of_pxar = report.chunks_transferred - 2 - differing;
    assert_eq!(of_pxar, 5 + 4 + 4);
}

#[tokio::test]
async fn a_source_that_calls_encrypted_chunks_plain_is_refused_though_the_target_has_them() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let (key, data) = (CryptKey::from_bytes([9; 32]), noise(3, 200_000));
    source.encrypted_backup("", "ct/7", 1_700_000_000, &[("root.pxar", &data)], &key);
    sync(source.store(), target.store()).await;
    source.encrypted_backup("", "ct/7", 1_700_000_100, &[("root.pxar", &data)], &key);
    let id: formats::SnapshotId = "ct/7/2023-11-14T22:15:00Z".parse().unwrap();
    source
        .store()
        .update_manifest(&Namespace::root(), &id, |manifest| {
            manifest.files.iter_mut().for_each(|file| file.crypt_mode = formats::CryptMode::None);
            Ok(())
        })
        .unwrap();

    let report = sync(source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Error, 0));
    assert!(report.errors[0].message.contains("it is encrypted"), "{}", report.errors[0].message);
}

#[tokio::test]
async fn a_damaged_chunk_at_the_source_ends_its_group_alone() {
    let (source, target) = (filled(), TestStore::new("target"));
    let part = ChunkDigest::of(&noise(1, 9 << 20)[..4 << 20]);
    let path = source.chunk_path(&part);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();

    let report = sync(source.store(), target.store()).await;

    assert_eq!(report.result, RunResult::Error);
    assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
    assert!(report.errors[0].message.contains(&part.to_string()), "{}", report.errors[0].message);
    assert_eq!(report.snapshots_copied, 3);
    assert!(target.store().groups(&Namespace::root()).unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_index_at_the_target_is_mended_by_the_next_run() {
    let (source, target) = (filled(), TestStore::new("target"));
    sync(source.store(), target.store()).await;
    let id: formats::SnapshotId = "vm/100/2023-11-14T22:15:00Z".parse().unwrap();
    let index = target.path().join(id.dir_path()).join("disk.img.fidx");
    std::fs::remove_file(&index).unwrap();
    // Equal manifests are believed; a late note makes the run look closer.
    source
        .store()
        .update_manifest(&Namespace::root(), &id, |manifest| {
            manifest.set_notes("late");
            Ok(())
        })
        .unwrap();

    let report = sync(source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_refreshed, report.chunks_transferred), (RunResult::Ok, 1, 0));
    assert_eq!(tree(target.path()), tree(source.path()));
}

/// Notes in a snapshot's manifest that its verification failed.
fn fail_verification(store: &TestStore, id: &formats::SnapshotId) {
    store
        .store()
        .update_manifest(&Namespace::root(), id, |manifest| {
            let upid = "UPID:here:00000001:00000002:00000003:61000000:verify:store:root@pam:".parse().unwrap();
            manifest.set_verify_state(&formats::VerifyState { upid, state: VerifyResult::Failed });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_chunk_that_one_group_trusts_unread_is_read_to_mend_another() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let (shared, more) = (noise(1, 4 << 20), noise(2, 1 << 20));
    let later = [shared.as_slice(), &more].concat();
    source.backup("", "ct/1", 1_700_000_000, &[("disk.img", &shared)]);
    source.backup("", "vm/1", 1_700_000_000, &[("disk.img", &shared)]);
    sync(source.store(), target.store()).await;
    // The newest snapshot of the first group vouches for the chunk that is damaged in the second one.
    source.backup("", "ct/1", 1_700_000_100, &[("disk.img", &later)]);
    let chunk = target.chunk_path(&ChunkDigest::of(&shared));
    let good = std::fs::read(&chunk).unwrap();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&chunk, &damaged).unwrap();
    fail_verification(&target, &"vm/1/2023-11-14T22:13:20Z".parse().unwrap());
    let options = JobOptions { resync_corrupt: true, worker_threads: 1, ..options(FIXTURE_OWNER) };

    let report = sync_with(&options, source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 2), "{:?}", report.errors);
    assert_eq!(std::fs::read(&chunk).unwrap(), good);
}

#[tokio::test]
async fn what_a_killed_run_left_is_used_where_it_is_right_and_replaced_where_it_is_not() {
    let (source, target) = (filled(), TestStore::new("target"));
    sync(source.store(), target.store()).await;
    // As a killed run leaves it: no manifest, some files right, one of an older state, one cut, one nobody names.
    let id: formats::SnapshotId = "vm/100/2023-11-14T22:15:00Z".parse().unwrap();
    let dir = target.path().join(id.dir_path());
    let older = target.path().join("vm/100/2023-11-14T22:13:20Z/disk.img.fidx");
    std::fs::remove_file(dir.join("index.json.blob")).unwrap();
    std::fs::copy(older, dir.join("disk.img.fidx")).unwrap();
    std::fs::write(dir.join("vm.conf.blob"), b"cut").unwrap();
    std::fs::write(dir.join("other.conf.blob"), b"nobody names it").unwrap();
    std::fs::write(dir.join("disk.img.tmp_4711"), b"half").unwrap();

    let report = sync(source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_copied, report.chunks_transferred), (RunResult::Ok, 1, 0));
    assert_eq!(tree(target.path()), tree(source.path()));
}

#[tokio::test]
async fn a_failed_verification_is_mended_by_resync_corrupt() {
    let (source, target) = (filled(), TestStore::new("target"));
    sync(source.store(), target.store()).await;
    let id: formats::SnapshotId = "vm/100/2023-11-14T22:13:20Z".parse().unwrap();
    let part = ChunkDigest::of(&noise(1, 9 << 20)[..4 << 20]);
    std::fs::write(target.chunk_path(&part), b"").unwrap();
    fail_verification(&target, &id);

    let report =
        sync_with(&JobOptions { resync_corrupt: true, ..options(FIXTURE_OWNER) }, source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_copied, report.chunks_transferred), (RunResult::Ok, 1, 1));
    assert_eq!(tree(target.path()), tree(source.path()));
}

#[tokio::test]
async fn a_group_of_another_owner_is_refused_before_anything_moves() {
    let (source, target) = (filled(), TestStore::new("target"));
    target.backup("", "vm/100", 1_600_000_000, &[("x.conf", b"x")]);

    let report = sync_with(&options("bob@pbs"), source.store(), target.store()).await;

    assert_eq!(report.errors.len(), 1);
    let message = &report.errors[0].message;
    assert!(message.contains("root@pam") && message.contains("bob@pbs"), "{message}");
    assert_eq!(report.snapshots_copied, 3);
}

#[tokio::test]
async fn a_mirror_removes_what_vanished() {
    let (source, target) = (filled(), TestStore::new("target"));
    let mirror = JobOptions { remove_vanished: true, ..options(FIXTURE_OWNER) };
    sync(source.store(), target.store()).await;
    target.backup("old/er", "ct/1", 1_700_000_000, &[("x.conf", b"x")]);
    target.backup("", "ct/2", 1_700_000_000, &[("x.conf", b"x")]);
    source.store().remove_snapshot(&Namespace::root(), &"vm/100/2023-11-14T22:13:20Z".parse().unwrap(), false).unwrap();

    let report = sync_with(&mirror, source.store(), target.store()).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!((report.snapshots_removed, report.groups_removed, report.namespaces_removed), (3, 2, 2));
    assert_eq!(snapshot_files(target.path()), snapshot_files(source.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_back_with_the_key_finds_a_chunk_that_is_well_formed_and_another_one() {
    let source = TestStore::new("source");
    let key = CryptKey::from_bytes([9; 32]);
    source.encrypted_backup("", "host/a", 1_700_000_000, &[("x.img", b"the truth")], &key);
    let other = DataBlob::encode(b"all a lie", false, Some(&key)).unwrap();
    std::fs::write(source.chunk_path(&key.digest(b"the truth")), other.as_bytes()).unwrap();
    for (keys, result) in [(vec![], RunResult::Ok), (vec![key], RunResult::Error)] {
        let target = TestStore::new("target");
        let upid = "UPID:here:0000AAAA:00000001:00000001:655E0BE1:verify:tank:root@pam:".parse().unwrap();
        let end = Arc::new(LocalTarget::new(target.store().clone()).unwrap().verifying(upid, keys));
        let from = Arc::new(LocalSource::new(source.store().clone()));

        let report = run(&options(FIXTURE_OWNER), from, end, &RunControl::new(), Arc::new(Silent)).await;

        assert_eq!(report.result, result, "{:?}", report.errors);
    }
}
