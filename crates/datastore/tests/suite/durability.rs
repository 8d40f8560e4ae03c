//! The order of writes and syncs that makes a committed snapshot survive a loss of power.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use datastore::fixtures::TestStore;
use datastore::{FaultPoint, SyncLevel, install_fault_point};
use formats::SnapshotId;

use crate::helper::{name, pull_tiny, root};

/// Notes each step with the file name it concerns, temporary suffixes cut off.
struct Recorder(Rc<RefCell<Vec<String>>>);

impl FaultPoint for Recorder {
    fn reach(&mut self, step: &'static str, path: &Path) -> std::io::Result<()> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name.split(".tmp_").next().unwrap();
        self.0.borrow_mut().push(format!("{step} {name}"));
        Ok(())
    }
}

fn steps_of_commit(level: SyncLevel) -> Vec<String> {
    let store = TestStore::with_sync_level("tank", level);
    let snapshot: SnapshotId = name("host/a/2023-11-14T22:13:20Z");
    let steps = Rc::new(RefCell::new(Vec::new()));
    install_fault_point(Some(Box::new(Recorder(Rc::clone(&steps)))));
    pull_tiny(store.store(), &root(), &snapshot, b"x").unwrap();
    install_fault_point(None);
    let steps = steps.take();
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
