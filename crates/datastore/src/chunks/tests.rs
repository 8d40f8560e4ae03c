//! The chunk store on real files.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use formats::{BlobKind, ChunkDigest, CryptKey, DataBlob};

use super::{FsChunkStore, Inserted};
use crate::fault::{self, FaultPoint};
use crate::files::Ownership;
use crate::fixtures::{TestStore, noise};
use crate::store::SyncLevel;

fn chunk_store(store: &TestStore) -> FsChunkStore {
    FsChunkStore::new(store.path(), store.store().sync_level(), Ownership::default())
}

fn key() -> CryptKey {
    CryptKey::from_bytes([3; 32])
}

fn blob(plain: &[u8], compress: bool, encrypt: bool) -> DataBlob {
    let key = key();
    DataBlob::encode(plain, compress, encrypt.then_some(&key)).unwrap()
}

/// Sets a file's access time far back, and returns its path.
fn age(path: &Path) -> SystemTime {
    let past = SystemTime::now() - Duration::from_secs(100_000);
    let times = fs::FileTimes::new().set_accessed(past).set_modified(past);
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    past
}

fn was_touched(path: &Path, past: SystemTime) -> bool {
    let meta = fs::metadata(path).unwrap();
    assert_eq!(meta.modified().unwrap(), past, "touching leaves the modification time alone");
    meta.accessed().unwrap() > past
}

fn names_beside(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_chunk_is_written_whole_with_mode_0644_in_a_directory_of_mode_0750() {
    let store = TestStore::new("tank");
    let plain = b"hello";
    let digest = ChunkDigest::of(plain);
    let blob = blob(plain, false, false);

    let inserted = chunk_store(&store).insert_now(&digest, &blob).unwrap();

    let path = store.chunk_path(&digest);
    assert_eq!(inserted, Inserted::New(17));
    assert_eq!(fs::read(&path).unwrap(), blob.as_bytes());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(names_beside(&path).len(), 1, "no temporary file is left");
}

#[tokio::test]
async fn the_stored_length_is_told_without_marking_the_chunk_as_used() {
    let store = TestStore::new("tank");
    let (digest, gone) = (ChunkDigest::of(b"hello"), ChunkDigest::of(b"gone"));
    chunk_store(&store).insert_now(&digest, &blob(b"hello", false, false)).unwrap();
    let past = age(&store.chunk_path(&digest));

    assert_eq!(store.store().chunks().stored_len(&digest).await.unwrap(), Some(17));
    assert_eq!(store.store().chunks().stored_len(&gone).await.unwrap(), None);
    assert!(!was_touched(&store.chunk_path(&digest), past));
}

/// One row of the table: an existing file, a new blob, what comes of it.
fn row(existing: &[u8], new: &DataBlob) -> (Result<Inserted, String>, Outcome) {
    let store = TestStore::new("tank");
    let digest = ChunkDigest::from_bytes([0xab; 32]);
    let path = store.chunk_path(&digest);
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, existing).unwrap();
    let past = age(&path);

    let result = chunk_store(&store).insert_now(&digest, new).map_err(|e| e.to_string());

    assert_eq!(names_beside(&path).len(), 1);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    // Before the content is read, since reading sets the access time as well.
    let touched = modified == past && was_touched(&path, past);
    let now = fs::read(&path).unwrap();
    let outcome = if now != existing {
        assert_eq!(now, new.as_bytes());
        Outcome::Replaced
    } else if touched {
        Outcome::Touched
    } else {
        Outcome::Untouched
    };
    (result, outcome)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Replaced,
    Touched,
    Untouched,
}

#[test]
fn a_chunk_of_the_same_length_is_touched() {
    let new = blob(&noise(1, 100), false, false);
    let other = blob(&noise(2, 100), false, false);

    assert_eq!(row(other.as_bytes(), &new), (Ok(Inserted::Duplicate(112)), Outcome::Touched));
}

#[test]
fn an_empty_file_is_overwritten() {
    let new = blob(b"hello", false, false);

    assert_eq!(row(b"", &new), (Ok(Inserted::New(17)), Outcome::Replaced));
}

#[test]
fn of_two_plain_chunks_the_smaller_is_kept() {
    let plain = vec![7; 10_000];
    let (small, big) = (blob(&plain, true, false), blob(&plain, false, false));
    assert_eq!(small.kind(), BlobKind::Compressed);

    assert_eq!(row(small.as_bytes(), &big), (Ok(Inserted::Duplicate(small.encoded_len())), Outcome::Touched));
    assert_eq!(row(big.as_bytes(), &small), (Ok(Inserted::New(small.encoded_len())), Outcome::Replaced));
}

#[test]
fn of_two_encrypted_chunks_the_old_is_kept_when_one_is_compressed() {
    let plain = vec![7; 10_000];
    let (small, big) = (blob(&plain, true, true), blob(&plain, false, true));
    assert_eq!(small.kind(), BlobKind::EncryptedCompressed);

    assert_eq!(row(small.as_bytes(), &big), (Ok(Inserted::Duplicate(small.encoded_len())), Outcome::Touched));
    assert_eq!(row(big.as_bytes(), &small), (Ok(Inserted::Duplicate(big.encoded_len())), Outcome::Touched));
}

#[test]
fn an_encrypted_chunk_keeps_an_old_one_of_unknown_magic() {
    let new = blob(b"hello", false, true);

    assert_eq!(row(b"no magic at all", &new), (Ok(Inserted::Duplicate(15)), Outcome::Touched));
}

#[test]
fn conflicts_are_errors_that_leave_the_old_chunk_alone() {
    let plain = noise(1, 100);
    for (name, existing, new) in [
        ("plain under encrypted", blob(&plain, false, false).into_bytes().to_vec(), blob(&plain, false, true)),
        ("compressed under encrypted", blob(&[0; 999], true, false).into_bytes().to_vec(), blob(&plain, false, true)),
        ("two encrypted lengths", blob(&noise(1, 99), false, true).into_bytes().to_vec(), blob(&plain, false, true)),
        ("three bytes under encrypted", b"abc".to_vec(), blob(&plain, false, true)),
    ] {
        let (result, outcome) = row(&existing, &new);

        assert!(result.unwrap_err().contains("conflicts"), "{name}");
        assert_ne!(outcome, Outcome::Replaced, "{name}");
    }
}

#[test]
fn something_that_is_no_regular_file_is_an_error() {
    let store = TestStore::new("tank");
    let digest = ChunkDigest::from_bytes([0xab; 32]);
    let path = store.chunk_path(&digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink("/etc/hostname", &path).unwrap();

    let refused = chunk_store(&store).insert_now(&digest, &blob(b"hello", false, false)).unwrap_err();

    assert!(refused.to_string().contains("not a regular file"), "{refused}");
}

#[test]
fn a_missing_chunk_directory_tree_is_an_error_and_not_made() {
    let store = TestStore::new("tank");
    fs::remove_dir(store.path().join(".chunks")).unwrap();

    let refused = chunk_store(&store).insert_now(&ChunkDigest::of(b"x"), &blob(b"x", false, false)).unwrap_err();

    assert!(refused.is_not_found(), "{refused}");
    assert!(!store.path().join(".chunks").exists());
}

#[tokio::test]
async fn the_existence_test_touches() {
    let store = TestStore::new("tank");
    let digest = ChunkDigest::of(b"hello");
    let chunks = store.store().chunks();
    assert_eq!(chunks.touch_or_missing(&digest).await.unwrap(), None);
    chunks.insert(&digest, blob(b"hello", false, false)).await.unwrap();
    let past = age(&store.chunk_path(&digest));

    let found = chunks.touch_or_missing(&digest).await.unwrap();

    assert_eq!(found, Some(17));
    assert!(was_touched(&store.chunk_path(&digest), past));
}

#[tokio::test]
async fn an_empty_chunk_file_is_missing() {
    let store = TestStore::new("tank");
    let digest = ChunkDigest::of(b"hello");
    let path = store.chunk_path(&digest);
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    let chunks = store.store().chunks();

    assert_eq!(chunks.touch_or_missing(&digest).await.unwrap(), None);
    assert!(chunks.read(&digest).await.unwrap_err().is_not_found());
    assert_eq!(chunks.set_aside(&digest, None).await.unwrap(), None);
}

#[tokio::test]
async fn many_are_answered_in_the_order_asked() {
    let store = TestStore::new("tank");
    let chunks = store.store().chunks();
    let digests: Vec<_> = (0..5000_u32).map(|n| ChunkDigest::of(&n.to_le_bytes())).collect();
    for n in [0_u32, 17, 4999] {
        chunks.insert(&digests[n as usize], blob(&n.to_le_bytes(), false, false)).await.unwrap();
    }

    let present = chunks.touch_many(digests).await.unwrap();

    let there: Vec<_> = present.iter().enumerate().filter(|(_, there)| **there).map(|(n, _)| n).collect();
    assert_eq!(present.len(), 5000);
    assert_eq!(there, [0, 17, 4999]);
}

#[tokio::test]
async fn reading_gives_the_bytes_that_were_inserted_and_names_what_is_missing() {
    let store = TestStore::new("tank");
    let chunks = store.store().chunks();
    let (digest, blob) = (ChunkDigest::of(b"hello"), blob(b"hello", false, false));
    chunks.insert(&digest, blob.clone()).await.unwrap();

    assert_eq!(chunks.read(&digest).await.unwrap(), blob);
    let missing = chunks.read(&ChunkDigest::of(b"x")).await.unwrap_err();
    assert!(missing.is_not_found());
    assert!(missing.to_string().contains(&ChunkDigest::of(b"x").to_string()));
}

#[tokio::test]
async fn a_corrupt_chunk_is_set_aside_under_the_first_free_number_and_a_good_one_stays() {
    let store = TestStore::new("tank");
    let chunks = store.store().chunks();
    let digest = ChunkDigest::of(b"hello");
    let path = store.chunk_path(&digest);
    chunks.insert(&digest, blob(b"hello", false, false)).await.unwrap();
    assert_eq!(chunks.set_aside(&digest, None).await.unwrap(), None);

    for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9] {
        // The right form with the wrong content.
        fs::write(&path, blob(b"HELLO", false, false).as_bytes()).unwrap();

        let aside = chunks.set_aside(&digest, None).await.unwrap().unwrap();

        assert_eq!(aside, path.with_file_name(format!("{digest}.{n}.bad")));
        assert!(!path.exists());
    }
    chunks.insert(&digest, blob(b"hello", false, false)).await.unwrap();
    assert!(path.exists(), "the next backup stores it anew");
}

/// Notes every step; fails the steps of one kind.
struct Script {
    steps: Rc<RefCell<Vec<&'static str>>>,
    failing: &'static str,
}

impl FaultPoint for Script {
    fn reach(&mut self, step: &'static str, _path: &Path) -> io::Result<()> {
        self.steps.borrow_mut().push(step);
        if step == self.failing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn steps_of(level: SyncLevel) -> Vec<&'static str> {
    let store = TestStore::with_sync_level("tank", level);
    let (chunks, digest, blob) = (chunk_store(&store), ChunkDigest::of(b"hello"), blob(b"hello", false, false));
    fs::create_dir(store.chunk_path(&digest).parent().unwrap()).unwrap();
    let steps = Rc::new(RefCell::new(Vec::new()));
    fault::install(Some(Box::new(Script { steps: Rc::clone(&steps), failing: "" })));
    chunks.insert_now(&digest, &blob).unwrap();
    fault::install(None);
    Rc::unwrap_or_clone(steps).into_inner()
}

#[test]
fn level_file_syncs_each_chunk_before_its_name_and_its_directory_after() {
    assert_eq!(steps_of(SyncLevel::File), ["create", "write", "sync file", "rename", "sync dir"]);
    assert_eq!(steps_of(SyncLevel::Filesystem), ["create", "write", "rename"]);
    assert_eq!(steps_of(SyncLevel::None), ["create", "write", "rename"]);
}

#[test]
fn a_full_disk_fails_the_insert_and_leaves_the_old_chunk_and_no_rubbish() {
    let plain = vec![7; 10_000];
    let (small, big) = (blob(&plain, true, false), blob(&plain, false, false));
    for failing in ["create", "write", "sync file", "rename"] {
        let store = TestStore::with_sync_level("tank", SyncLevel::File);
        let (chunks, digest) = (chunk_store(&store), ChunkDigest::of(&plain));
        chunks.insert_now(&digest, &big).unwrap();
        let path = store.chunk_path(&digest);
        let inode = fs::metadata(&path).unwrap().ino();

        fault::install(Some(Box::new(Script { steps: Rc::default(), failing })));
        let refused = chunks.insert_now(&digest, &small).unwrap_err();
        fault::install(None);

        assert!(refused.is_out_of_space(), "{failing}: {refused}");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "{failing}");
        assert_eq!(names_beside(&path).len(), 1, "{failing}");
    }
}
