//! Removing snapshots, groups and namespaces.

use std::fs;

use datastore::RemovalStats;
use datastore::fixtures::TestStore;

use crate::helper::{name, root};

const FILES: &[(&str, &[u8])] = &[("a.conf", b"x")];

#[test]
fn a_group_goes_with_its_last_snapshot() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    let two = store.backup("", "host/a", 200, FILES);
    store.store().set_group_notes(&root(), &one.group, "notes").unwrap();

    store.store().remove_snapshot(&root(), &one, false).unwrap();
    assert!(store.store().group_exists(&root(), &one.group).unwrap());
    store.store().remove_snapshot(&root(), &two, false).unwrap();

    assert!(!store.path().join("host/a").exists());
    assert!(store.store().remove_snapshot(&root(), &two, false).unwrap_err().is_not_found());
}

#[test]
fn a_group_that_somebody_works_in_stays_when_its_last_snapshot_goes() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    let _busy = store.store().lock_group(&root(), &one.group).unwrap();

    store.store().remove_snapshot(&root(), &one, false).unwrap();

    assert!(store.path().join("host/a/owner").exists());
}

#[test]
fn a_protected_snapshot_needs_force() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    store.store().set_protected(&root(), &one, true).unwrap();

    assert!(store.store().remove_snapshot(&root(), &one, false).unwrap_err().is_protected());
    assert!(store.store().snapshots(&root(), &one.group).unwrap()[0].protected);

    store.store().remove_snapshot(&root(), &one, true).unwrap();
    assert!(!store.store().snapshot_exists(&root(), &one).unwrap());
}

#[test]
fn a_snapshot_that_is_read_cannot_be_removed() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    let reader = store.store().lock_snapshot_shared(&root(), &one).unwrap();

    assert!(store.store().remove_snapshot(&root(), &one, true).unwrap_err().is_busy());
    drop(reader);
    store.store().remove_snapshot(&root(), &one, true).unwrap();
}

#[test]
fn removing_a_group_leaves_its_protected_snapshots_and_counts() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    store.backup("", "host/a", 200, FILES);
    store.store().set_protected(&root(), &one, true).unwrap();

    let stats = store.store().remove_group(&root(), &one.group).unwrap();
    assert_eq!(stats, RemovalStats { snapshots: 1, protected_snapshots: 1, ..RemovalStats::default() });

    store.store().set_protected(&root(), &one, false).unwrap();
    let stats = store.store().remove_group(&root(), &one.group).unwrap();
    assert_eq!(stats, RemovalStats { groups: 1, snapshots: 1, ..RemovalStats::default() });
    assert!(store.store().remove_group(&root(), &one.group).unwrap_err().is_not_found());
}

#[test]
fn only_empty_namespaces_go_without_their_groups() {
    let store = TestStore::new("tank");
    store.backup("a/b", "host/a", 100, FILES);
    store.store().create_namespace_path(&name("a/empty/deeper")).unwrap();

    let stats = store.store().remove_namespace(&name("a"), false).unwrap();

    assert_eq!(stats, RemovalStats { namespaces: 2, ..RemovalStats::default() });
    assert_eq!(store.store().namespaces(&root(), None).unwrap(), [root(), name("a"), name("a/b")]);
}

#[test]
fn a_namespace_goes_with_its_groups_when_asked() {
    let store = TestStore::new("tank");
    store.backup("a", "host/a", 100, FILES);
    store.backup("a/b", "vm/100", 100, FILES);
    let kept = store.backup("ab", "vm/100", 100, FILES);

    let stats = store.store().remove_namespace(&name("a"), true).unwrap();

    assert_eq!(stats, RemovalStats { groups: 2, snapshots: 2, namespaces: 2, ..RemovalStats::default() });
    assert!(!store.path().join("ns/a").exists());
    assert!(store.store().snapshot_exists(&name("ab"), &kept).unwrap());
    assert_eq!(store.store().remove_namespace(&name("a"), true).unwrap(), RemovalStats::default());
}

#[test]
fn a_namespace_with_a_protected_snapshot_stays() {
    let store = TestStore::new("tank");
    let kept = store.backup("a", "host/a", 100, FILES);
    store.store().set_protected(&name("a"), &kept, true).unwrap();

    let stats = store.store().remove_namespace(&name("a"), true).unwrap();

    assert_eq!(stats, RemovalStats { protected_snapshots: 1, ..RemovalStats::default() });
    assert!(store.store().namespace_exists(&name("a")).unwrap());
}

#[test]
fn the_root_namespace_cannot_be_removed() {
    let store = TestStore::new("tank");

    assert!(store.store().remove_namespace(&root(), true).is_err());
}

#[test]
fn removal_does_not_follow_symbolic_links() {
    let store = TestStore::new("tank");
    let one = store.backup("", "host/a", 100, FILES);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), store.path().join(one.dir_path()).join("link")).unwrap();

    store.store().remove_snapshot(&root(), &one, false).unwrap();

    assert!(outside.path().join("precious").exists());
}
