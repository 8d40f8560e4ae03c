//! What other writers leave or are still writing, and what somebody else put into a datastore.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use datastore::fixtures::TestStore;
use datastore::{FaultPoint, install_fault_point};
use formats::SnapshotId;

use crate::helper::{finished, name, owner, pull_tiny, root};

const FILES: &[(&str, &[u8])] = &[("a.conf", b"x")];

fn snapshot() -> SnapshotId {
    name("host/a/2023-11-14T22:13:20Z")
}

/// Fails every look at a manifest, as a bad disk does.
struct Blind;

impl FaultPoint for Blind {
    fn reach(&mut self, step: &'static str, path: &Path) -> std::io::Result<()> {
        let hit = step == "look for" && path.ends_with("index.json.blob");
        if hit { Err(std::io::Error::from_raw_os_error(nix::libc::EIO)) } else { Ok(()) }
    }
}

#[test]
fn a_finished_snapshot_survives_that_nobody_can_tell_whether_it_is_finished() {
    let store = TestStore::new("tank");
    pull_tiny(store.store(), &root(), &snapshot(), b"x").unwrap();
    let group = store.store().lock_group(&root(), &snapshot().group).unwrap();

    for stage in [datastore::Datastore::stage, datastore::Datastore::stage_or_resume] {
        install_fault_point(Some(Box::new(Blind)));
        let refused = stage(store.store(), &root(), &snapshot(), &group).map(drop).unwrap_err();
        install_fault_point(None);

        assert!(!refused.is_already_exists(), "{refused}");
        assert_eq!(finished(&store, &snapshot()), [(snapshot(), true)]);
        assert_eq!(store.content("", &snapshot(), "a.conf", None), b"x");
    }
}

#[test]
fn bringing_a_snapshot_up_to_date_spares_a_log_that_is_being_stored_and_clears_the_rest() {
    let store = TestStore::new("tank");
    pull_tiny(store.store(), &root(), &snapshot(), b"x").unwrap();
    let dir = store.path().join(snapshot().dir_path());
    let old = SystemTime::now() - Duration::from_secs(100_000);
    for temporary in ["client.log.tmp_young1", "client.log.tmp_older1", "index.json.tmp_dead01", "a.conf.tmp_dead01"] {
        let file = fs::File::create(dir.join(temporary)).unwrap();
        if temporary.contains("older") {
            file.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
        }
    }
    let group = store.store().lock_group(&root(), &snapshot().group).unwrap();

    drop(store.store().reopen(&root(), &snapshot(), &group).unwrap());

    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["a.conf.blob", "client.log.tmp_young1", "index.json.blob"]);
}

#[test]
fn bringing_a_snapshot_up_to_date_waits_for_an_edit_of_its_notes() {
    let store = TestStore::new("tank");
    pull_tiny(store.store(), &root(), &snapshot(), b"x").unwrap();
    let dir = store.path().join(snapshot().dir_path());

    store
        .store()
        .update_manifest(&root(), &snapshot(), |manifest| {
            manifest.set_notes("noted");
            let group = store.store().lock_group(&root(), &snapshot().group)?;
            fs::write(dir.join("index.json.tmp_editor"), "").unwrap();
            let refused = store.store().reopen(&root(), &snapshot(), &group).map(drop).unwrap_err();
            assert!(refused.is_busy(), "{refused}");
            assert!(dir.join("index.json.tmp_editor").exists(), "the editor's file is not a leftover");
            Ok(())
        })
        .unwrap();

    assert_eq!(store.store().manifest(&root(), &snapshot()).unwrap().0.notes(), Some("noted"));
}

#[test]
fn an_empty_group_that_holds_something_strange_stays_with_it() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    let group = store.path().join("host/a");
    fs::create_dir(group.join("copy of a backup")).unwrap();
    fs::write(group.join("copy of a backup/disk.img.fidx"), "precious").unwrap();

    let stats = store.store().remove_group(&root(), &one.group).unwrap();

    assert_eq!((stats.snapshots, stats.groups), (1, 0));
    assert_eq!(fs::read(group.join("copy of a backup/disk.img.fidx")).unwrap(), b"precious");
    assert_eq!(store.store().owner(&root(), &one.group).unwrap(), owner(), "a group without owner would be broken");
}

#[test]
fn an_empty_group_goes_with_its_notes_and_the_files_of_writers_that_died() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    store.store().set_group_notes(&root(), &one.group, "notes").unwrap();
    fs::write(store.path().join("host/a/owner.tmp_dead01"), "").unwrap();

    store.store().remove_snapshot(&root(), &one, false).unwrap();

    assert!(!store.path().join("host/a").exists());
}

#[test]
fn a_group_and_a_namespace_whose_locks_collide_are_told_apart_in_words() {
    let store = TestStore::new("tank");
    store.backup("vm-100", "host/a", 100, FILES);
    let refused = store.store().lock_or_create_group(&root(), &name("vm/100"), &owner()).unwrap_err().to_string();
    assert!(refused.contains("rename the namespace"), "{refused}");

    let store = TestStore::new("tank");
    store.backup("", "vm/100", 100, FILES);
    store.store().create_namespace_path(&name("vm-100")).unwrap();
    let refused = store.store().lock_or_create_group(&name("vm-100"), &name("host/a"), &owner()).unwrap_err();
    assert!(refused.to_string().contains("rename the namespace"), "{refused}");
}
