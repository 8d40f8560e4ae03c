//! Modes and owners are those of the format, whoever made the datastore and under whatever umask.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use datastore::{CreateOptions, Datastore, StoreConfig, SyncLevel};
use formats::{ChunkDigest, DataBlob, Namespace, SnapshotId};
use nix::sys::stat::{Mode, umask};

use crate::helper::{self, Helper, name, pull_tiny, root};

const HELPER: &str = "modes::helper_process";
const NOBODY: u32 = 65534;

/// Not a test by itself: makes and fills a datastore under a umask of its own.
#[test]
fn helper_process() {
    let Some(job) = helper::job() else { return };
    let [what, argument, dir] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("bad job {job}") };
    match what {
        "fill" => {
            umask(Mode::from_bits_truncate(u32::from_str_radix(argument, 8).unwrap()));
            create(Path::new(dir), None);
            fill(&helper::open(dir, SyncLevel::File));
        }
        "lock-root" => {
            let dir = fs::File::open(Path::new(dir).join("store")).unwrap();
            let _lock = nix::fcntl::Flock::lock(dir, nix::fcntl::FlockArg::LockExclusive).unwrap();
            helper::ready_and_wait();
        }
        other => panic!("unknown job {other}"),
    }
}

fn create(dir: &Path, owner: Option<(nix::unistd::Uid, nix::unistd::Gid)>) {
    let options = CreateOptions { owner, lazy_chunk_dirs: true, ..CreateOptions::default() };
    Datastore::create(&dir.join("store"), &options).unwrap();
}

/// Makes one of everything that a datastore holds.
fn fill(store: &Datastore) {
    let ns: Namespace = name("site/lab");
    let snapshot: SnapshotId = name("vm/100/2023-11-14T22:13:20Z");
    let _guard = store.begin_writing().unwrap();
    store.create_namespace_path(&ns).unwrap();
    pull_tiny(store, &ns, &snapshot, b"x").unwrap();
    store.set_group_notes(&ns, &snapshot.group, "notes").unwrap();
    store.set_protected(&ns, &snapshot, true).unwrap();
    store.store_client_log(&ns, &snapshot, &DataBlob::encode(b"log", true, None).unwrap()).unwrap();
    let chunk = DataBlob::encode(b"hello", true, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.chunks().insert(&ChunkDigest::of(b"hello"), chunk)).unwrap();
}

/// Everything below `dir` with its mode and owner.
fn walk(dir: &Path, found: &mut Vec<(String, u32, u32)>, base: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let below = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
        found.push((below, meta.permissions().mode() & 0o7777, meta.uid()));
        if meta.is_dir() {
            walk(&path, found, base);
        }
    }
}

fn expected_mode(path: &str, is_dir: bool) -> u32 {
    match is_dir {
        true if path.starts_with("store/.chunks") => 0o750,
        true => 0o755,
        false if path.starts_with("locks/") => 0o660,
        false => 0o644,
    }
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for mask in ["000", "022", "077", "777"] {
        // Under a umask that leaves no right at all only root gets anywhere.
        if mask == "777" && !nix::unistd::geteuid().is_root() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("made/on/the/way");
        let mut all = Vec::new();

        let ended = helper::run(HELPER, &format!("fill {mask} {}", deep.display()));

        assert!(ended.success(), "umask {mask}");
        walk(&deep, &mut all, &deep);
        assert!(all.len() > 15, "{all:?}");
        for (path, mode, _) in &all {
            // The registry is for ourselves; its entries are gone with their writers.
            assert_eq!(*mode, expected_mode(path, deep.join(path).is_dir()), "umask {mask}: {path} has {mode:04o}");
        }
        for way in ["made", "made/on", "made/on/the", "made/on/the/way"] {
            let mode = fs::metadata(dir.path().join(way)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o755, "umask {mask}: {way}");
        }
    }
}

#[test]
fn what_root_makes_for_another_user_belongs_to_that_user() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can give anything away.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), Some((NOBODY.into(), NOBODY.into())));
    fill(&helper::open(dir.path().to_str().unwrap(), SyncLevel::File));

    let mut all = Vec::new();
    walk(dir.path(), &mut all, dir.path());
    for (path, _, uid) in all {
        assert_eq!(uid, NOBODY, "{path}");
    }
}

#[test]
fn a_datastore_behind_a_symbolic_link_can_be_made_attached_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    symlink(dir.path().join("disk"), dir.path().join("store")).unwrap();

    create(dir.path(), None);

    let attach = CreateOptions { reuse: true, ..CreateOptions::default() };
    let refused = Datastore::create(&dir.path().join("store"), &attach).unwrap_err().to_string();
    assert!(refused.contains(".chunks/0000: is missing"), "nothing but the lazy directories is wrong: {refused}");
    let config = StoreConfig::new(name("tank"), dir.path().join("store"), dir.path().join("locks"));
    assert!(Datastore::open(config).unwrap().groups(&root()).unwrap().is_empty());
}

#[test]
fn a_creation_that_was_killed_leaves_nothing_once_it_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    fs::create_dir_all(root.join(".chunks.tmp_killed/0000")).unwrap();
    fs::create_dir_all(root.join(".chunks.tmp_strange/0000")).unwrap();
    fs::write(root.join(".chunks.tmp_strange/0000/file"), "precious").unwrap();

    create(dir.path(), None);

    let mut names: Vec<_> =
        fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".chunks", ".chunks.tmp_strange", ".lock"]);
}

#[test]
fn two_processes_do_not_make_one_datastore() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("store")).unwrap();
    let other = Helper::start(HELPER, &format!("lock-root - {}", dir.path().display()));
    let options = CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() };

    let refused = Datastore::create(&dir.path().join("store"), &options).unwrap_err().to_string();

    assert!(refused.contains("another process"), "{refused}");
    other.finish();
    create(dir.path(), None);
}
