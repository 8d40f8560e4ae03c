//! Dies, as by SIGKILL, at each step in turn of writing, updating and removing a snapshot, looks, and runs again.

use std::path::Path;

use datastore::fixtures::TestStore;
use datastore::{Datastore, FaultPoint, Result, SyncLevel, VerifyCache, install_fault_point};
use formats::{Namespace, SnapshotId, Upid};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::helper::{self, dir_of, name, owner, pull_tiny, tiny};

const HELPER: &str = "crash::helper_process";

fn namespace() -> Namespace {
    name("site/lab")
}

fn snapshot() -> SnapshotId {
    name("host/a/2023-11-14T22:13:20Z")
}

struct DieAt(usize);

impl FaultPoint for DieAt {
    fn reach(&mut self, _step: &'static str, _path: &Path) -> std::io::Result<()> {
        if self.0 == 0 {
            kill(Pid::this(), Signal::SIGKILL).unwrap();
        }
        self.0 -= 1;
        Ok(())
    }
}

/// Not a test by itself: the process that dies.
#[test]
fn helper_process() {
    let Some(job) = helper::job() else { return };
    let [what, step, level, dir] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("bad job {job}") };
    let store = helper::open(dir, level.parse().unwrap());
    install_fault_point(Some(Box::new(DieAt(step.parse().unwrap()))));
    work(what, &store).unwrap();
}

fn work(what: &str, store: &Datastore) -> Result<()> {
    match what {
        "write" => {
            store.create_namespace_path(&namespace())?;
            let _guard = store.begin_writing()?;
            pull_tiny(store, &namespace(), &snapshot(), b"first")
        }
        "update" => {
            let (manifest, file, blob) = tiny(&snapshot(), b"a second and longer one");
            let group = store.lock_group(&namespace(), &snapshot().group)?;
            let staged = store.reopen(&namespace(), &snapshot(), &group)?;
            staged.write_file(&file, blob.as_bytes())?;
            staged.commit(&manifest)
        }
        "remove" => store.remove_snapshot(&namespace(), &snapshot(), false),
        other => panic!("unknown work {other}"),
    }
}

/// Whether the snapshot is there as a finished one. A finished one must be whole.
fn is_finished_and_whole(store: &Datastore) -> bool {
    if !store.namespace_exists(&namespace()).unwrap() {
        return false;
    }
    let entries = store.snapshots(&namespace(), &snapshot().group).unwrap();
    let finished = entries.iter().any(|entry| entry.finished);
    if finished {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let upid: Upid = name("UPID:here:00000001:00000001:00000001:5E0BE100:verify::root@pam:");
        let (ns, snapshot, cache) = (namespace(), snapshot(), VerifyCache::new());
        let report = runtime.block_on(store.verify_snapshot(&ns, &snapshot, &cache, upid)).unwrap();
        assert!(report.is_ok() && report.skipped.is_none(), "{report:?}");
    }
    finished
}

/// Dies at step 0, 1, 2, ... until the work lives through; returns how many steps it has.
fn die_at_every_step(what: &str, level: SyncLevel, check: impl Fn(usize, &Datastore)) -> usize {
    for step in 0.. {
        let store = TestStore::with_sync_level("tank", level);
        if what != "write" {
            work("write", store.store()).unwrap();
        }
        let ended = helper::run(HELPER, &format!("{what} {step} {level} {}", dir_of(&store)));
        check(step, store.store());
        if ended.success() {
            return step;
        }
    }
    unreachable!()
}

#[test]
fn a_snapshot_appears_whole_or_not_at_all_and_a_rerun_completes_it() {
    for level in [SyncLevel::None, SyncLevel::File, SyncLevel::Filesystem] {
        let steps = die_at_every_step("write", level, |step, store| {
            if !is_finished_and_whole(store) {
                work("write", store).unwrap_or_else(|e| panic!("rerun after step {step}: {}", e.chain()));
            }

            assert!(is_finished_and_whole(store), "step {step}");
            assert_eq!(store.owner(&namespace(), &snapshot().group).unwrap(), owner());
            let names = std::fs::read_dir(store.path().join("ns/site/ns/lab").join(snapshot().dir_path())).unwrap();
            assert_eq!(names.count(), 2, "step {step}: no temporary file is left after a rerun");
        });
        assert!(steps > 12, "{steps} steps were tried");
    }
}

#[test]
fn an_update_never_shows_old_and_new_files_together() {
    for level in [SyncLevel::None, SyncLevel::File, SyncLevel::Filesystem] {
        let steps = die_at_every_step("update", level, |step, store| {
            if is_finished_and_whole(store) {
                work("update", store).unwrap();
            } else {
                pull_tiny(store, &namespace(), &snapshot(), b"a second and longer one")
                    .unwrap_or_else(|e| panic!("rerun after step {step}: {}", e.chain()));
            }

            assert!(is_finished_and_whole(store), "step {step}");
        });
        assert!(steps > 6, "{steps} steps were tried");
    }
}

#[test]
fn a_removal_that_dies_leaves_no_broken_backup_and_can_be_repeated() {
    let steps = die_at_every_step("remove", SyncLevel::Filesystem, |step, store| {
        is_finished_and_whole(store);

        if store.snapshot_exists(&namespace(), &snapshot()).unwrap() {
            work("remove", store).unwrap_or_else(|e| panic!("rerun after step {step}: {}", e.chain()));
        }

        assert!(!store.snapshot_exists(&namespace(), &snapshot()).unwrap());
        // What is left of the group, if anything, can be used again.
        work("write", store).unwrap();
        assert!(is_finished_and_whole(store));
    });
    assert!(steps > 3, "{steps} steps were tried");
}
