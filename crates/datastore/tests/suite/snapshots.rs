//! Namespaces, groups and snapshots: listing, writing, going on, bringing up to date.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use datastore::fixtures::{TestStore, noise};
use formats::{ArchiveName, BackupId, DataBlob, GroupId, Namespace, SnapshotId};

use crate::helper::{finished, name, owner, pull_tiny, root, tiny};

const FILES: &[(&str, &[u8])] = &[("a.conf", b"x")];

fn snapshot() -> SnapshotId {
    name("host/a/2023-11-14T22:13:20Z")
}

#[test]
fn what_is_written_is_read_back_with_the_modes_of_the_format() {
    let store = TestStore::new("tank");
    let image = noise(1, 9 << 20);
    let id = store.backup("site/lab", "vm/100", 1_700_000_000, &[("disk.img", &image), ("x.pxar", b"tree"), FILES[0]]);
    let ns: Namespace = name("site/lab");

    assert_eq!(id, name("vm/100/2023-11-14T22:13:20Z"));
    assert_eq!(store.content("site/lab", &id, "disk.img", None), image);
    assert_eq!(store.content("site/lab", &id, "x.pxar", None), b"tree");
    assert_eq!(store.content("site/lab", &id, "a.conf", None), b"x");
    assert_eq!(store.store().owner(&ns, &id.group).unwrap(), owner());
    let dir = store.path().join("ns/site/ns/lab/vm/100");
    assert_eq!(fs::read_to_string(dir.join("owner")).unwrap(), "root@pam\n");
    for (path, mode) in [("", 0o755), ("owner", 0o644), ("2023-11-14T22:13:20Z", 0o755)] {
        assert_eq!(fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    let files = store.store().snapshot_files(&ns, &id).unwrap();
    assert_eq!(files, ["a.conf.blob", "disk.img.fidx", "index.json.blob", "x.pxar.didx"]);
    for file in files {
        let mode = fs::metadata(dir.join("2023-11-14T22:13:20Z").join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{file}");
    }
}

#[test]
fn listings_show_what_has_a_proper_name_and_nothing_else() {
    let store = TestStore::new("tank");
    let id = store.backup("site", "host/a", 1_700_000_000, FILES);
    let dir = store.path().join("ns/site");
    for stray in ["ns/lost found", "host/-x", "lxc/a", "host/a/2023-11-14", "host/a/2023-02-30T00:00:00Z"] {
        fs::create_dir_all(dir.join(stray)).unwrap();
    }
    let snapshot_dir = dir.join(id.dir_path());
    for stray in [".protected", "x.tmp_fidx", "a.conf.tmp_123456", "readme"] {
        fs::write(snapshot_dir.join(stray), "").unwrap();
    }
    fs::create_dir(snapshot_dir.join("dir.blob")).unwrap();
    fs::write(dir.join("host/file"), "").unwrap();
    let ns: Namespace = name("site");

    assert_eq!(store.store().namespaces(&root(), None).unwrap(), [root(), ns.clone()]);
    assert_eq!(store.store().groups(&ns).unwrap(), std::slice::from_ref(&id.group));
    assert_eq!(store.store().snapshots(&ns, &id.group).unwrap().len(), 1);
    assert_eq!(store.store().snapshot_files(&ns, &id).unwrap(), ["a.conf.blob", "index.json.blob"]);
}

#[test]
fn namespaces_come_parents_first_and_no_deeper_than_asked() {
    let store = TestStore::new("tank");
    for ns in ["b", "a/x/y", "a/w"] {
        store.store().create_namespace_path(&name(ns)).unwrap();
    }
    let list = |below: &str, depth| -> Vec<String> {
        let found = store.store().namespaces(&name(below), depth).unwrap();
        found.iter().map(ToString::to_string).collect()
    };

    assert_eq!(list("", None), ["", "a", "a/w", "a/x", "a/x/y", "b"]);
    assert_eq!(list("", Some(1)), ["", "a", "b"]);
    assert_eq!(list("a", Some(0)), ["a"]);
    assert_eq!(list("a", None), ["a", "a/w", "a/x", "a/x/y"]);
}

#[test]
fn a_missing_namespace_is_said_with_the_words_that_peers_look_for() {
    let store = TestStore::new("tank");

    for refused in [
        store.store().groups(&name("gone")).unwrap_err(),
        store.store().namespaces(&name("gone"), None).unwrap_err(),
        store.store().create_namespace(&name("gone"), "child").unwrap_err(),
    ] {
        assert!(refused.is_not_found());
        assert!(refused.to_string().contains("ENOENT: No such file or directory"), "{refused}");
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error_and_not_an_empty_list() {
    let store = TestStore::new("tank");
    fs::write(store.path().join("host"), "a file where a directory belongs").unwrap();

    assert!(store.store().groups(&root()).is_err());
}

#[test]
fn names_too_long_for_their_locks_are_refused_before_anything_is_made() {
    let store = TestStore::new("tank");
    let long: Namespace = name(&format!("{}/{}", "a".repeat(128), "b".repeat(127)));
    store.store().create_namespace_path(&long).unwrap();

    let refused = store.store().lock_or_create_group(&long, &name("host/a"), &owner()).unwrap_err();

    assert!(refused.to_string().contains("too long"), "{refused}");
    assert!(!store.path().join(long.dir_path()).join("host").exists());
    assert!("x".repeat(256).parse::<BackupId>().is_err());
}

#[test]
fn the_longest_names_work() {
    let store = TestStore::new("tank");
    let id: SnapshotId = name(&format!("host/{}/2023-11-14T22:13:20Z", "x".repeat(255)));
    let file: ArchiveName = name(&format!("{}.blob", "x".repeat(250)));
    let (group, ..) = store.store().lock_or_create_group(&root(), &id.group, &owner()).unwrap();
    let staged = store.store().stage(&root(), &id, &group).unwrap();

    staged.write_file(&file, b"x").unwrap();
    staged.commit(&tiny(&id, b"").0).unwrap();

    assert_eq!(store.store().read_file(&root(), &id, &file).unwrap(), b"x");
    assert!(store.locks().join("tank/hashed").is_dir());
}

#[test]
fn a_group_keeps_its_owner_whoever_writes_next() {
    let store = TestStore::new("tank");
    let group: GroupId = name("host/a");
    let (lock, actual, created) = store.store().lock_or_create_group(&root(), &group, &owner()).unwrap();
    assert!(created && lock.created_group());
    assert_eq!(actual, owner());
    assert!(store.store().lock_or_create_group(&root(), &group, &owner()).unwrap_err().is_busy());
    drop(lock);

    let (lock, actual, created) = store.store().lock_or_create_group(&root(), &group, &name("u@pbs")).unwrap();

    assert!(!created && !lock.created_group());
    assert_eq!(actual, owner());
    assert!(store.store().set_owner(&root(), &group, &name("u@pbs!t")).unwrap_err().is_busy());
    drop(lock);
    store.store().set_owner(&root(), &group, &name("u@pbs!t")).unwrap();
    assert_eq!(store.store().owner(&root(), &group).unwrap(), name("u@pbs!t"));
}

#[test]
fn a_group_without_owner_is_unusable_unless_it_is_empty() {
    let store = TestStore::new("tank");
    let id = store.backup("", "host/a", 100, FILES);
    fs::remove_file(store.path().join("host/a/owner")).unwrap();

    let refused = store.store().owner(&root(), &id.group).unwrap_err();
    assert!(refused.to_string().contains("no usable owner"), "{refused}");
    assert!(store.store().lock_or_create_group(&root(), &id.group, &owner()).is_err());

    fs::remove_dir_all(store.path().join(id.dir_path())).unwrap();
    let (_, _, created) = store.store().lock_or_create_group(&root(), &id.group, &owner()).unwrap();
    assert!(created);
}

#[test]
fn notes_are_kept_as_written() {
    let store = TestStore::new("tank");
    let id = store.backup("", "host/a", 100, FILES);

    assert_eq!(store.store().group_notes(&root(), &id.group).unwrap(), "");
    store.store().set_group_notes(&root(), &id.group, "first\nzweite Zeile: ä").unwrap();

    assert_eq!(store.store().group_notes(&root(), &id.group).unwrap(), "first\nzweite Zeile: ä");
    assert!(store.store().group_notes(&root(), &name("host/b")).unwrap_err().is_not_found());
}

#[test]
fn a_backup_session_that_ends_without_commit_leaves_nothing() {
    let store = TestStore::new("tank");
    let (group, ..) = store.store().lock_or_create_group(&root(), &snapshot().group, &owner()).unwrap();
    let staged = store.store().stage(&root(), &snapshot(), &group).unwrap();
    staged.write_file(&name("a.conf.blob"), b"x").unwrap();
    assert_eq!(finished(&store, &snapshot()), [(snapshot(), false)]);

    drop(staged);

    assert!(!store.path().join("host/a").exists(), "the group was new");
}

#[test]
fn an_abandoned_snapshot_leaves_its_older_neighbours() {
    let store = TestStore::new("tank");
    let older = store.backup("", "host/a", 100, FILES);
    let group = store.store().lock_group(&root(), &older.group).unwrap();

    store.store().stage(&root(), &snapshot(), &group).unwrap().abandon().unwrap();

    assert_eq!(finished(&store, &older), [(older.clone(), true)]);
}

#[test]
fn a_transfer_goes_on_where_it_stopped_and_leaves_no_strangers() {
    let store = TestStore::new("tank");
    let (manifest, file, blob) = tiny(&snapshot(), b"content");
    let stranger: ArchiveName = name("stranger.fidx");
    let (group, ..) = store.store().lock_or_create_group(&root(), &snapshot().group, &owner()).unwrap();
    let staged = store.store().stage_or_resume(&root(), &snapshot(), &group).unwrap();
    assert!(!staged.is_resumed());
    staged.write_file(&file, blob.as_bytes()).unwrap();
    staged.write_file(&stranger, b"partial").unwrap();
    fs::write(staged.dir().join("b.tmp_didx"), "").unwrap();
    drop(staged);

    let resumed = store.store().stage_or_resume(&root(), &snapshot(), &group).unwrap();
    assert!(resumed.is_resumed());
    assert!(resumed.has_file(&file).unwrap());
    assert_eq!(resumed.read_file(&file).unwrap().unwrap(), blob.as_bytes());
    assert_eq!(resumed.read_file(&name("z.blob")).unwrap(), None);
    resumed.commit(&manifest).unwrap();

    let names: Vec<_> = fs::read_dir(store.path().join(snapshot().dir_path())).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(store.store().stage_or_resume(&root(), &snapshot(), &group).unwrap_err().is_already_exists());
    assert_eq!(finished(&store, &snapshot()), [(snapshot(), true)]);
}

#[test]
fn a_transfer_cannot_be_committed_while_a_file_is_missing() {
    let store = TestStore::new("tank");
    let (manifest, ..) = tiny(&snapshot(), b"content");
    let (group, ..) = store.store().lock_or_create_group(&root(), &snapshot().group, &owner()).unwrap();
    let staged = store.store().stage_or_resume(&root(), &snapshot(), &group).unwrap();

    let refused = staged.commit(&manifest).unwrap_err().to_string();

    assert!(refused.contains("a.conf.blob"), "{refused}");
    assert!(!store.path().join(snapshot().dir_path()).exists());
}

#[test]
fn staging_what_exists_is_refused_and_leaves_it_alone() {
    let store = TestStore::new("tank");
    pull_tiny(store.store(), &root(), &snapshot(), b"x").unwrap();
    let group = store.store().lock_group(&root(), &snapshot().group).unwrap();

    assert!(store.store().stage(&root(), &snapshot(), &group).unwrap_err().is_already_exists());

    assert_eq!(finished(&store, &snapshot()), [(snapshot(), true)]);
}

#[test]
fn what_a_killed_session_left_makes_way_for_the_next_one() {
    let store = TestStore::new("tank");
    let (manifest, file, blob) = tiny(&snapshot(), b"content");
    let (group, ..) = store.store().lock_or_create_group(&root(), &snapshot().group, &owner()).unwrap();
    let dir = store.path().join(snapshot().dir_path());
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("left.fidx"), "partial").unwrap();

    let staged = store.store().stage(&root(), &snapshot(), &group).unwrap();
    staged.write_file(&file, blob.as_bytes()).unwrap();
    staged.commit(&manifest).unwrap();

    assert_eq!(store.store().snapshot_files(&root(), &snapshot()).unwrap(), ["a.conf.blob", "index.json.blob"]);
}

#[test]
fn the_lock_of_another_group_does_not_do() {
    let store = TestStore::new("tank");
    let (other, ..) = store.store().lock_or_create_group(&root(), &name("host/b"), &owner()).unwrap();

    assert!(store.store().stage(&root(), &snapshot(), &other).is_err());
}

#[test]
fn the_manifest_is_written_by_commit_alone() {
    let store = TestStore::new("tank");
    let (group, ..) = store.store().lock_or_create_group(&root(), &snapshot().group, &owner()).unwrap();
    let staged = store.store().stage(&root(), &snapshot(), &group).unwrap();

    assert!(staged.write_file(&ArchiveName::manifest(), b"x").is_err());
    assert_eq!(finished(&store, &snapshot()), [(snapshot(), false)]);
}

#[test]
fn bringing_a_snapshot_up_to_date_changes_nothing_until_its_commit() {
    let store = TestStore::new("tank");
    pull_tiny(store.store(), &root(), &snapshot(), b"old").unwrap();
    let (manifest, file, blob) = tiny(&snapshot(), b"new and longer");
    let group = store.store().lock_group(&root(), &snapshot().group).unwrap();
    let read = || store.content("", &snapshot(), "a.conf", None);

    let dropped = store.store().reopen(&root(), &snapshot(), &group).unwrap();
    dropped.write_file(&file, blob.as_bytes()).unwrap();
    assert_eq!(dropped.read_file(&file).unwrap().unwrap(), blob.as_bytes());
    assert_eq!(read(), b"old");
    drop(dropped);
    assert_eq!(read(), b"old");

    let staged = store.store().reopen(&root(), &snapshot(), &group).unwrap();
    staged.write_file(&file, blob.as_bytes()).unwrap();
    staged.commit(&manifest).unwrap();
    assert_eq!(read(), b"new and longer");
    assert_eq!(store.store().snapshot_files(&root(), &snapshot()).unwrap().len(), 2);
}

#[test]
fn a_manifest_edit_keeps_the_rest_and_can_be_refused() {
    let store = TestStore::new("tank");
    let id = store.backup("", "host/a", 100, FILES);

    let noted = store.store().update_manifest(&root(), &id, |manifest| {
        manifest.set_notes("hello");
        Ok(manifest.files.len())
    });
    assert_eq!(noted.unwrap(), 1);
    let (before, bytes) = store.store().manifest(&root(), &id).unwrap();
    assert_eq!(before.notes(), Some("hello"));
    assert_eq!(before.files.len(), 1);

    let refused = store.store().update_manifest(&root(), &id, |manifest| -> datastore::Result<()> {
        manifest.set_notes("lost");
        Err(datastore::DatastoreError::Refused("no".to_owned()))
    });
    assert!(refused.is_err());
    assert_eq!(store.store().manifest(&root(), &id).unwrap().1, bytes);
}

#[test]
fn a_manifest_in_the_wrong_directory_is_corrupt() {
    let store = TestStore::new("tank");
    let id = store.backup("", "host/a", 100, FILES);
    let moved: SnapshotId = name("host/a/2023-11-14T22:13:20Z");
    fs::rename(store.path().join(id.dir_path()), store.path().join(moved.dir_path())).unwrap();

    assert!(store.store().manifest(&root(), &moved).unwrap_err().is_corrupt());
}

#[test]
fn the_client_log_is_stored_once() {
    let store = TestStore::new("tank");
    let id = store.backup("", "host/a", 100, FILES);
    let log = DataBlob::encode(b"log", true, None).unwrap();

    store.store().store_client_log(&root(), &id, &log).unwrap();

    assert!(store.store().store_client_log(&root(), &id, &log).unwrap_err().is_already_exists());
    assert!(store.store().snapshot_files(&root(), &id).unwrap().contains(&"client.log.blob".to_owned()));
}

#[test]
fn the_file_system_tells_its_sizes() {
    let usage = TestStore::new("tank").store().status().unwrap();

    assert!(usage.total >= usage.used && usage.total >= usage.avail && usage.total > 0);
}
