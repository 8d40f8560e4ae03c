//! Verification of good and damaged snapshots, and of everything in the golden datastore.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use datastore::fixtures::{TestStore, noise};
use datastore::{Datastore, StoreConfig, SyncLevel, VerifyCache, VerifyReport};
use formats::{ChunkDigest, CryptKey, DataBlob, KeyFile, Namespace, SnapshotId, Upid, VerifyResult};

use crate::helper::{self, dir_of, name, root};

fn upid() -> Upid {
    name("UPID:here:0000AAAA:00000001:00000001:655E0BE1:verify:tank:root@pam:")
}

async fn verify(store: &TestStore, snapshot: &SnapshotId) -> VerifyReport {
    store.store().verify_snapshot(&root(), snapshot, &VerifyCache::new(), upid()).await.unwrap()
}

fn stored(store: &TestStore, snapshot: &SnapshotId) -> VerifyResult {
    store.store().manifest(&root(), snapshot).unwrap().0.verify_state().unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_snapshot_of_every_kind_verifies_and_says_so_in_its_manifest() {
    let store = TestStore::new("tank");
    let key = CryptKey::from_bytes([9; 32]);
    let image = noise(1, 5 << 20);
    let files: &[(&str, &[u8])] = &[("x.img", &image), ("x.pxar", b"tree"), ("x.conf", b"conf")];
    for snapshot in [
        store.backup("", "host/plain", 100, files),
        store.signed_backup("", "host/signed", 100, files, &key),
        store.encrypted_backup("", "host/secret", 100, files, &key),
    ] {
        let report = verify(&store, &snapshot).await;

        assert!(report.is_ok(), "{snapshot}: {report:?}");
        assert_eq!(report.chunks, 3);
        let state = store.store().manifest(&root(), &snapshot).unwrap().0.verify_state().unwrap();
        assert_eq!((state.state, state.upid), (VerifyResult::Ok, upid()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_read_once_per_run() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, &[("x.img", b"same")]);
    let two = store.backup("", "host/a", 200, &[("x.img", b"same")]);
    let cache = VerifyCache::new();

    let first = store.store().verify_snapshot(&root(), &one, &cache, upid()).await.unwrap();
    let second = store.store().verify_snapshot(&root(), &two, &cache, upid()).await.unwrap();

    assert_eq!((first.chunks, second.chunks), (1, 0));
    assert!(second.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_chunk_fails_every_snapshot_that_uses_it_and_is_set_aside() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, &[("x.img", b"same")]);
    let two = store.backup("", "host/a", 200, &[("x.img", b"same")]);
    let chunk = store.chunk_path(&ChunkDigest::of(b"same"));
    fs::write(&chunk, DataBlob::encode(b"SAME", false, None).unwrap().as_bytes()).unwrap();
    let cache = VerifyCache::new();

    let first = store.store().verify_snapshot(&root(), &one, &cache, upid()).await.unwrap();
    let second = store.store().verify_snapshot(&root(), &two, &cache, upid()).await.unwrap();

    assert_eq!((first.set_aside, second.set_aside), (1, 0));
    assert_eq!(first.problems[0].file, "x.img.fidx");
    assert!(!second.is_ok());
    assert_eq!((stored(&store, &one), stored(&store, &two)), (VerifyResult::Failed, VerifyResult::Failed));
    assert!(!chunk.exists());
    assert!(chunk.with_file_name(format!("{}.0.bad", ChunkDigest::of(b"same"))).exists());
}

/// A snapshot under key 9, one of whose chunks is well formed but another one's.
fn forged(store: &TestStore) -> (SnapshotId, ChunkDigest) {
    let key = CryptKey::from_bytes([9; 32]);
    let snapshot = store.encrypted_backup("", "host/secret", 100, &[("x.img", b"the truth")], &key);
    let digest = key.digest(b"the truth");
    let other = DataBlob::encode(b"all a lie", false, Some(&key)).unwrap();
    fs::write(store.chunk_path(&digest), other.as_bytes()).unwrap();
    (snapshot, digest)
}

async fn verify_with(store: &TestStore, snapshot: &SnapshotId, keys: &[u8]) -> VerifyReport {
    let keys = keys.iter().map(|number| CryptKey::from_bytes([*number; 32])).collect();
    let cache = VerifyCache::new().with_keys(keys);
    store.store().verify_snapshot(&root(), snapshot, &cache, upid()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_encrypted_chunk_is_found_with_the_key_alone() {
    let store = TestStore::new("tank");
    let (snapshot, digest) = forged(&store);

    let without = verify(&store, &snapshot).await;
    assert!(without.is_ok() && without.notes.is_empty(), "{without:?}");
    let another = verify_with(&store, &snapshot, &[8]).await;
    assert!(another.is_ok() && another.notes[0].contains("CRC alone"), "{another:?}");
    assert!(store.chunk_path(&digest).exists());

    let with = verify_with(&store, &snapshot, &[8, 9]).await;

    assert!(with.problems[0].message.contains(&digest.to_string()), "{with:?}");
    assert_eq!((with.set_aside, stored(&store, &snapshot)), (1, VerifyResult::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_key_signed_is_checked_with_it() {
    let store = TestStore::new("tank");
    let (snapshot, digest) = forged(&store);
    let change = |change: fn(&mut formats::Manifest)| {
        store.store().update_manifest(&root(), &snapshot, |manifest| {
            change(manifest);
            Ok(())
        })
    };

    change(|manifest| manifest.signature = Some("0".repeat(64))).unwrap();
    let broken = verify_with(&store, &snapshot, &[9]).await;
    change(|manifest| manifest.signature = None).unwrap();
    let unsigned = verify_with(&store, &snapshot, &[9]).await;

    assert_eq!((broken.problems.len(), broken.problems[0].file.as_str()), (1, formats::MANIFEST_NAME), "{broken:?}");
    assert!(unsigned.is_ok() && unsigned.notes[0].contains("not signed"), "{unsigned:?}");
    assert!(store.chunk_path(&digest).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_read_without_a_key_is_read_again_with_it() {
    let store = TestStore::new("tank");
    let key = CryptKey::from_bytes([9; 32]);
    let files: &[(&str, &[u8])] = &[("x.img", b"the truth")];
    let unsigned = store.encrypted_backup("", "host/a", 100, files, &key);
    let signed = store.encrypted_backup("", "host/a", 200, files, &key);
    let taken = store.store().update_manifest(&root(), &unsigned, |manifest| {
        manifest.signature = None;
        Ok(())
    });
    taken.unwrap();
    let cache = VerifyCache::new().with_keys(vec![key]);

    let mut read = Vec::new();
    for snapshot in [&unsigned, &signed, &signed, &unsigned] {
        let report = store.store().verify_snapshot(&root(), snapshot, &cache, upid()).await.unwrap();
        assert!(report.is_ok(), "{report:?}");
        read.push(report.chunks);
    }

    assert_eq!(read, [1, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_cannot_be_read_fails_the_snapshot_and_is_not_moved() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 100, &[("x.img", b"same")]);
    let chunk = store.chunk_path(&ChunkDigest::of(b"same"));
    // Opening a symbolic link is refused by the system: an I/O error, whoever runs the test.
    fs::remove_file(&chunk).unwrap();
    std::os::unix::fs::symlink("/nowhere", &chunk).unwrap();

    let report = verify(&store, &snapshot).await;

    assert!(!report.is_ok());
    assert_eq!(report.set_aside, 0);
    assert!(fs::symlink_metadata(&chunk).is_ok());
}

const HELPER: &str = "verify::helper_process";

/// Not a test by itself: verifies as a user who may not read one chunk.
#[test]
fn helper_process() {
    let Some(dir) = helper::job() else { return };
    if nix::unistd::geteuid().is_root() {
        nix::unistd::setuid(NOBODY.into()).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = helper::open(&dir, SyncLevel::None);
    let (group, root, cache) = (name("host/a"), root(), VerifyCache::new());
    let reports: Vec<_> = store
        .snapshots(&root, &group)
        .unwrap()
        .iter()
        .map(|entry| runtime.block_on(store.verify_snapshot(&root, &entry.id, &cache, upid())).unwrap())
        .collect();

    assert!(reports.iter().all(|report| !report.is_ok()), "{reports:?}");
    assert_eq!(reports.iter().map(|report| report.damaged).collect::<Vec<_>>(), [false, true]);
    assert!(reports[0].problems[0].message.contains("ermission denied"), "{reports:?}");
    assert_eq!(reports[1].problems.len(), 2);
}

const NOBODY: u32 = 65534;

#[test]
fn a_chunk_that_nobody_let_us_read_fails_the_run_and_only_damage_fails_the_snapshot() {
    let store = TestStore::new("tank");
    let files: &[(&str, &[u8])] = &[("x.img", b"locked away")];
    let unknown = store.backup("", "host/a", 100, files);
    let damaged = store.backup("", "host/a", 200, &[files[0], ("y.img", b"gone")]);
    fs::remove_file(store.chunk_path(&ChunkDigest::of(b"gone"))).unwrap();
    fs::set_permissions(store.chunk_path(&ChunkDigest::of(b"locked away")), fs::Permissions::from_mode(0o000)).unwrap();
    if nix::unistd::geteuid().is_root() {
        give_away(store.path().parent().unwrap());
    }

    assert!(helper::run(HELPER, &dir_of(&store)).success());

    let (manifest, _) = store.store().manifest(&root(), &unknown).unwrap();
    assert_eq!(manifest.verify_state(), None, "nothing is known about it");
    assert_eq!(stored(&store, &damaged), VerifyResult::Failed);
}

fn give_away(path: &std::path::Path) {
    nix::unistd::chown(path, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_chunk_that_cannot_be_set_aside_fails_the_snapshot_all_the_same() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 100, &[("x.img", b"same")]);
    let chunk = store.chunk_path(&ChunkDigest::of(b"same"));
    fs::write(&chunk, DataBlob::encode(b"SAME", false, None).unwrap().as_bytes()).unwrap();
    // All names are taken, the last one by something that no file replaces.
    (0..9).for_each(|n| fs::write(chunk.with_extension(format!("{n}.bad")), "").unwrap());
    fs::create_dir_all(chunk.with_extension("9.bad").join("x")).unwrap();

    let report = verify(&store, &snapshot).await;

    assert_eq!(report.set_aside, 0);
    assert!(report.problems[0].message.contains("it stays"), "{report:?}");
    assert_eq!(stored(&store, &snapshot), VerifyResult::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_chunk_is_named() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 100, &[("x.img", b"same")]);
    fs::remove_file(store.chunk_path(&ChunkDigest::of(b"same"))).unwrap();

    let report = verify(&store, &snapshot).await;

    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].message.contains("is missing"), "{report:?}");
    assert_eq!(stored(&store, &snapshot), VerifyResult::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_found_whichever_byte_is_wrong() {
    for file in ["x.img.fidx", "x.pxar.didx", "x.conf.blob"] {
        let store = TestStore::new("tank");
        let files: &[(&str, &[u8])] = &[("x.img", b"image"), ("x.pxar", b"tree"), ("x.conf", b"conf")];
        let snapshot = store.backup("", "host/a", 100, files);
        let path = store.path().join(snapshot.dir_path()).join(file);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();

        let report = verify(&store, &snapshot).await;

        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.problems[0].file, file);
        assert_eq!(report.set_aside, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_do_not_fit_the_crypt_mode_fail_without_moving_anything() {
    let store = TestStore::new("tank");
    let key = CryptKey::from_bytes([9; 32]);
    let snapshot = store.encrypted_backup("", "host/a", 100, &[("x.img", b"same"), ("x.conf", b"c")], &key);
    store
        .store()
        .update_manifest(&root(), &snapshot, |manifest| {
            manifest.files.iter_mut().for_each(|file| file.crypt_mode = formats::CryptMode::None);
            Ok(())
        })
        .unwrap();

    let report = verify(&store, &snapshot).await;

    assert_eq!(report.problems.len(), 2, "{report:?}");
    assert_eq!(report.set_aside, 0);
    assert!(report.problems.iter().all(|problem| problem.message.contains("encrypted")), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_does_not_load_is_reported_and_nothing_is_stored() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 100, &[("x.conf", b"c")]);
    let path = store.path().join(snapshot.dir_path()).join("index.json.blob");
    fs::write(&path, b"rubbish").unwrap();

    let report = verify(&store, &snapshot).await;

    assert!(!report.is_ok());
    assert_eq!(fs::read(&path).unwrap(), b"rubbish");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_or_vanished_snapshot_is_skipped() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 100, &[("x.conf", b"c")]);
    let busy = store.store().lock_snapshot_exclusive(&root(), &snapshot).unwrap();
    assert!(verify(&store, &snapshot).await.skipped.is_some());
    drop(busy);
    store.store().remove_snapshot(&root(), &snapshot, false).unwrap();

    let report = verify(&store, &snapshot).await;

    assert!(report.is_ok() && report.skipped.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_datastore_lists_and_verifies_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    golden::unpack(&path, golden::Dirs::Lazy).unwrap();
    let store = Datastore::open(StoreConfig::new(name("golden"), &path, dir.path().join("locks"))).unwrap();
    // Those that are encrypted are checked by what they hold.
    let cache = VerifyCache::new().with_keys(vec![KeyFile::parse(golden::key_file()).unwrap().unlock(None).unwrap()]);
    let (mut groups, mut chunks) = (Vec::new(), 0);

    let namespaces = store.namespaces(&root(), None).unwrap();
    for ns in &namespaces {
        groups.extend(store.groups(ns).unwrap().into_iter().map(|group| (ns.to_string(), group.to_string())));
    }
    for expected in golden::expected().unwrap() {
        let (ns, snapshot): (Namespace, SnapshotId) = (name(&expected.ns), name(&expected.snapshot));
        let mut files: Vec<_> = expected.files.iter().map(|file| file.name.clone()).collect();
        files.sort();
        let mut listed = store.snapshot_files(&ns, &snapshot).unwrap();
        listed.retain(|name| name != formats::CLIENT_LOG_NAME || files.contains(name));
        assert_eq!(listed, files, "{snapshot}");

        let report = store.verify_snapshot(&ns, &snapshot, &cache, upid()).await.unwrap();

        assert!(report.is_ok() && report.skipped.is_none() && report.notes.is_empty(), "{snapshot}: {report:?}");
        chunks += report.chunks;
    }

    assert_eq!(namespaces.iter().map(ToString::to_string).collect::<Vec<_>>(), golden::NAMESPACES);
    let expected: Vec<_> = golden::GROUPS.iter().map(|(ns, group)| ((*ns).to_owned(), (*group).to_owned())).collect();
    assert_eq!(groups, expected);
    assert_eq!(usize::try_from(chunks).unwrap(), golden::CHUNKS - 1, "all but the unreferenced one, each once");
}
