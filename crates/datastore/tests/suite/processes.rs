//! Several processes on one datastore, ours and a foreign one that locks as Proxmox Backup Server does.

use std::fs::{self, File};

use datastore::SyncLevel;
use datastore::fixtures::TestStore;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::helper::{self, Helper, dir_of, name, root};

const HELPER: &str = "processes::helper_process";

/// Not a test by itself: what the other processes of this file do.
#[test]
fn helper_process() {
    let Some(job) = helper::job() else { return };
    let (what, dir) = job.split_once(' ').unwrap();
    let open = || helper::open(dir, SyncLevel::None);
    match what {
        "hold-group" => {
            let store = open();
            let _lock = store.lock_group(&root(), &name("host/a")).unwrap();
            helper::ready_and_wait();
        }
        "read-snapshot" => {
            let store = open();
            let _lock = store.lock_snapshot_shared(&root(), &name("host/a/2023-11-14T22:13:20Z")).unwrap();
            helper::ready_and_wait();
        }
        "write" => {
            let _guard = open().begin_writing().unwrap();
            helper::ready_and_wait();
        }
        "posix-shared" | "posix-exclusive" => {
            let file = File::options().read(true).write(true).open(format!("{dir}/store/.lock")).unwrap();
            let kind = if what == "posix-shared" { libc::F_RDLCK } else { libc::F_WRLCK };
            posix_lock(&file, kind).unwrap();
            helper::ready_and_wait();
        }
        "try-posix-exclusive" => {
            let file = File::options().read(true).write(true).open(format!("{dir}/store/.lock")).unwrap();
            posix_lock(&file, libc::F_WRLCK).unwrap();
        }
        "touch-as-nobody" => touch_as_nobody(dir),
        other => panic!("unknown job {other}"),
    }
}

fn posix_lock(file: &File, kind: libc::c_int) -> nix::Result<i32> {
    let lock =
        libc::flock { l_type: libc::c_short::try_from(kind).unwrap(), l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_SETLK(&lock))
}

#[test]
fn a_group_locked_by_another_process_is_busy_until_that_process_dies() {
    let store = TestStore::new("tank");
    store.backup("", "host/a", 1_700_000_000, &[("a.conf", b"x")]);
    let holder = Helper::start(HELPER, &format!("hold-group {}", dir_of(&store)));

    let refused = store.store().lock_group(&root(), &name("host/a")).unwrap_err();
    assert!(refused.is_busy(), "{refused}");
    assert!(refused.to_string().contains("tank:host/a"), "{refused}");

    holder.kill();
    store.store().lock_group(&root(), &name("host/a")).unwrap();
}

#[test]
fn a_snapshot_that_another_process_reads_can_be_read_but_not_removed() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 1_700_000_000, &[("a.conf", b"x")]);
    let reader = Helper::start(HELPER, &format!("read-snapshot {}", dir_of(&store)));

    store.store().lock_snapshot_shared(&root(), &snapshot).unwrap();
    assert!(store.store().remove_snapshot(&root(), &snapshot, false).unwrap_err().is_busy());

    reader.finish();
    store.store().remove_snapshot(&root(), &snapshot, false).unwrap();
}

#[test]
fn writers_of_several_processes_share_and_are_all_registered() {
    let store = TestStore::new("tank");
    let other = Helper::start(HELPER, &format!("write {}", dir_of(&store)));
    let _ours = store.store().begin_writing().unwrap();

    let mut pids: Vec<_> = store.store().writers().unwrap().iter().map(|writer| writer.pid).collect();
    pids.sort_unstable();

    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&std::process::id()));
    other.kill();
    assert_eq!(store.store().writers().unwrap().len(), 1, "a dead writer counts for nothing");
}

#[test]
fn a_foreign_garbage_collection_and_our_writers_exclude_each_other() {
    let store = TestStore::new("tank");
    let collector = Helper::start(HELPER, &format!("posix-exclusive {}", dir_of(&store)));

    let refused = store.store().begin_writing().unwrap_err();
    assert!(refused.is_busy(), "{refused}");
    assert!(store.store().writers().unwrap().is_empty(), "a refused writer leaves no entry");

    collector.finish();
    let _guard = store.store().begin_writing().unwrap();
    assert!(!helper::run(HELPER, &format!("try-posix-exclusive {}", dir_of(&store))).success());
}

#[test]
fn foreign_writers_and_ours_share() {
    let store = TestStore::new("tank");
    let writer = Helper::start(HELPER, &format!("posix-shared {}", dir_of(&store)));

    let _guard = store.store().begin_writing().unwrap();

    writer.finish();
}

#[test]
fn the_process_lock_lasts_until_the_last_guard_goes_whatever_other_descriptors_are_closed() {
    let store = TestStore::new("tank");
    let first = store.store().begin_writing().unwrap();
    let second = store.store().begin_writing().unwrap();
    let try_exclusive = || helper::run(HELPER, &format!("try-posix-exclusive {}", dir_of(&store))).success();

    drop(first);
    drop(File::open(store.path().join(".lock")).unwrap());
    assert!(!try_exclusive());

    drop(second);
    assert!(try_exclusive());
}

#[test]
fn an_end_of_locks_that_came_with_the_removal_of_their_objects_is_not_taken_for_a_lock() {
    let store = TestStore::new("tank");
    let snapshot = store.backup("", "host/a", 1_700_000_000, &[("a.conf", b"x")]);

    store.store().remove_snapshot(&root(), &snapshot, false).unwrap();

    let left: Vec<_> = fs::read_dir(store.locks().join("tank"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, [".writers"], "lock files go with their objects");
}

#[test]
fn touching_a_chunk_of_another_user_says_which_command_helps() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a file of another user.
        return;
    }
    let store = TestStore::new("tank");
    store.backup("", "host/a", 1_700_000_000, &[("x.img", b"hello")]);
    // Everything belongs to somebody but the chunk.
    for dir in [store.path().parent().unwrap(), store.path(), &store.path().join(".chunks")] {
        nix::unistd::chown(dir, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    }
    let chunk = store.chunk_path(&formats::ChunkDigest::of(b"hello"));
    nix::unistd::chown(chunk.parent().unwrap(), Some(NOBODY.into()), None).unwrap();

    assert!(helper::run(HELPER, &format!("touch-as-nobody {}", dir_of(&store))).success());
}

const NOBODY: u32 = 65534;

fn touch_as_nobody(dir: &str) {
    nix::unistd::setuid(NOBODY.into()).unwrap();
    let store = helper::open(dir, SyncLevel::None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let refused =
        runtime.block_on(store.chunks().touch_or_missing(&formats::ChunkDigest::of(b"hello"))).unwrap_err().to_string();

    assert!(refused.contains(&format!("chown -R {NOBODY}:{NOBODY} {dir}/store")), "{refused}");
}
