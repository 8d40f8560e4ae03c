//! Making and attaching datastores.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use datastore::{CreateOptions, Datastore, StoreConfig, refuse_other_name};

use crate::helper::name;

const NEW: CreateOptions = CreateOptions { reuse: false, owner: None, lazy_chunk_dirs: false };
const LAZY: CreateOptions = CreateOptions { reuse: false, owner: None, lazy_chunk_dirs: true };
const REUSE: CreateOptions = CreateOptions { reuse: true, owner: None, lazy_chunk_dirs: false };

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_datastore_is_what_a_stock_server_attaches_and_attaching_makes_it_so_again() {
    // 65,536 directories: in memory where there is room, since a busy disk takes minutes for them.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let root = dir.path().join("a/store");
    Datastore::create(&root, &NEW).unwrap();

    let chunks = root.join(".chunks");
    assert_eq!(fs::read_dir(&chunks).unwrap().count(), 65_536);
    assert_eq!((mode(&root), mode(&chunks), mode(&root.join(".lock"))), (0o755, 0o750, 0o644));
    assert_eq!((mode(&chunks.join("0000")), mode(&chunks.join("ffff"))), (0o750, 0o750));
    Datastore::create(&root, &REUSE).unwrap();

    for (path, wrong, right) in
        [(".", 0o750, 0o755), (".chunks", 0o755, 0o750), (".chunks/a1b2", 0o700, 0o750), (".lock", 0o640, 0o644)]
    {
        let path = root.join(path);
        set_mode(&path, wrong);
        Datastore::create(&root, &REUSE).unwrap();
        assert_eq!(mode(&path), right, "{}", path.display());
    }

    fs::remove_dir(chunks.join("beef")).unwrap();
    let refused = Datastore::create(&root, &REUSE).unwrap_err().to_string();
    assert!(refused.contains(".chunks/beef: is missing"), "{refused}");
}

#[test]
fn attaching_refuses_the_wrong_owner() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    Datastore::create(&root, &LAZY).unwrap();
    let options = CreateOptions { owner: Some((4711.into(), 4712.into())), ..REUSE };

    let refused = Datastore::create(&root, &options).unwrap_err().to_string();

    assert!(refused.contains("not to 4711:4712"), "{refused}");
}

#[test]
fn only_hidden_names_and_lost_and_found_may_be_there_before() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join(".hidden"), "").unwrap();
    Datastore::create(dir.path(), &LAZY).unwrap();

    let refused = Datastore::create(dir.path(), &LAZY).unwrap_err().to_string();
    assert!(refused.contains(".chunks: exists already"), "{refused}");

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("file"), "").unwrap();
    let refused = Datastore::create(other.path(), &LAZY).unwrap_err().to_string();
    assert!(refused.contains("holds `file`"), "{refused}");
    assert!(!other.path().join(".chunks").exists());
}

#[test]
fn a_relative_path_is_refused() {
    assert!(Datastore::create(Path::new("store"), &LAZY).is_err());
}

#[test]
fn opening_a_directory_without_datastore_asks_whether_it_is_mounted() {
    let dir = tempfile::tempdir().unwrap();

    let refused = Datastore::open(StoreConfig::new(name("tank"), dir.path(), dir.path().join("locks"))).unwrap_err();

    assert!(refused.to_string().contains("not mounted?"), "{refused}");
}

#[test]
fn a_path_that_a_stock_server_has_under_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("datastore.cfg");
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    let text = format!("datastore: tank\n\tcomment path /x\n\tpath {0}/./store\n\n", dir.path().display());
    fs::write(&config, text).unwrap();

    refuse_other_name(&name("tank"), &store, &config).unwrap();
    refuse_other_name(&name("pool"), &dir.path().join("elsewhere"), &config).unwrap();
    refuse_other_name(&name("pool"), &store, &dir.path().join("no.cfg")).unwrap();
    let refused = refuse_other_name(&name("pool"), &store, &config).unwrap_err().to_string();
    assert!(refused.contains("is datastore `tank`"), "{refused}");
}
