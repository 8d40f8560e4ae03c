//! The order of writes and syncs that makes a committed snapshot survive a loss of power.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use datastore::fixtures::TestStore;
use datastore::{FaultPoint, SyncLevel, install_fault_point};
use formats::SnapshotId;

use crate::helper::{name, pull_tiny, root, tiny};

/// Notes each step with the file name it concerns, temporary suffixes cut off.
struct Recorder(Rc<RefCell<Vec<String>>>);

impl FaultPoint for Recorder {
    fn reach(&mut self, step: &'static str, path: &Path) -> std::io::Result<()> {
        if step == "look for" {
            return Ok(());
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name.split(".tmp_").next().unwrap();
        self.0.borrow_mut().push(format!("{step} {name}"));
        Ok(())
    }
}

fn recorded(work: impl FnOnce()) -> Vec<String> {
    let steps = Rc::new(RefCell::new(Vec::new()));
    install_fault_point(Some(Box::new(Recorder(Rc::clone(&steps)))));
    work();
    install_fault_point(None);
    steps.take()
}

fn steps_of_commit(level: SyncLevel) -> Vec<String> {
    let store = TestStore::with_sync_level("tank", level);
    let snapshot: SnapshotId = name("host/a/2023-11-14T22:13:20Z");
    let steps = recorded(|| pull_tiny(store.store(), &root(), &snapshot, b"x").unwrap());
    let begin = steps.iter().position(|step| step.starts_with("create a.conf")).unwrap();
    steps[begin..].to_vec()
}

#[test]
fn level_file_syncs_files_names_and_parents_before_the_manifest_and_its_name_after() {
    assert_eq!(
        steps_of_commit(SyncLevel::File),
        [
            "create a.conf",
            "write a.conf",
            "sync file a.conf",
            "rename a.conf.blob",
            "sync dir 2023-11-14T22:13:20Z",
            "sync dir a",
            "sync dir host",
            "sync dir store",
            "create index.json",
            "write index.json",
            "sync file index.json",
            "rename index.json.blob",
            "sync dir 2023-11-14T22:13:20Z",
        ]
    );
}

#[test]
fn level_filesystem_syncs_everything_before_the_manifest_has_its_name_and_the_name_after() {
    assert_eq!(
        steps_of_commit(SyncLevel::Filesystem),
        [
            "create a.conf",
            "write a.conf",
            "rename a.conf.blob",
            "create index.json",
            "write index.json",
            "sync file system store",
            "rename index.json.blob",
            "sync dir 2023-11-14T22:13:20Z",
        ]
    );
}

#[test]
fn level_none_syncs_nothing() {
    assert!(steps_of_commit(SyncLevel::None).iter().all(|step| !step.starts_with("sync")));
}

/// Chunks that were mended belong to indexes that stay as they are; the manifest then says that all is well.
#[test]
fn a_snapshot_that_got_only_chunks_anew_has_them_on_disk_before_its_manifest_is_replaced() {
    for (level, expected) in [
        (SyncLevel::Filesystem, &["sync file system store", "create index.json", "write index.json"] as &[_]),
        // Level `file` synced each chunk as it was written.
        (SyncLevel::File, &["create index.json", "write index.json", "sync file index.json"]),
    ] {
        let store = TestStore::with_sync_level("tank", level);
        let snapshot: SnapshotId = name("host/a/2023-11-14T22:13:20Z");
        pull_tiny(store.store(), &root(), &snapshot, b"x").unwrap();
        let group = store.store().lock_group(&root(), &snapshot.group).unwrap();
        let staged = store.store().reopen(&root(), &snapshot, &group).unwrap();

        let steps = recorded(|| staged.commit(&tiny(&snapshot, b"x").0).unwrap());

        assert_eq!(steps[..3], *expected, "{level}");
    }
}
