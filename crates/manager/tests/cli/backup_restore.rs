//! Backups of images and files, and their way back.

use std::fs;

use formats::{CryptKey, KeyFile, Protection};
use serde_json::json;

use crate::host::{Host, noise};

const MIB: usize = 1 << 20;
const TIME: &str = "2026-01-01T00:00:00Z";

#[test]
fn what_is_backed_up_comes_back_byte_for_byte() {
    let host = Host::with_stores(&["store"]);
    let content = noise(9 * MIB + 5, 1);
    let image = format!("disk.img:{}", host.file("image", &content));
    let conf = format!("vm.conf:{}", host.file("conf", b"cores: 2\n"));
    let create = ["backup", "create", &image, &conf, "--store", "store", "--ns", "a/b", "--backup-type", "vm"];
    let report = host.json(&[&create[..], &["--backup-id", "100", "--backup-time", TIME]].concat());
    assert_eq!((&report["chunks-transferred"], &report["chunks-reused"]), (&json!(3), &json!(0)), "{report}");

    let snapshot = format!("vm/100/{TIME}");
    let files = host.json(&["snapshot", "files", "store", &snapshot, "--ns", "a/b"]);
    let names: Vec<_> = files.as_array().unwrap().iter().map(|file| file["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["disk.img.fidx", "vm.conf.blob", "index.json.blob"]);

    let target = host.path("restored");
    let restore = |archive: &str, target: &str| {
        host.run(&["restore", &snapshot, archive, target, "--store", "store", "--ns", "a/b"])
    };
    assert_eq!(restore("disk.img", target.to_str().unwrap()).code, 0);
    assert_eq!(fs::read(&target).unwrap(), content);
    assert_eq!(restore("vm.conf", "-").stdout, "cores: 2\n");
    assert_eq!(restore("vm.conf.blob", "-").stdout, "cores: 2\n");
    let missing = restore("other.img", "-");
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("hint: it has: disk.img.fidx, vm.conf.blob"), "{missing:?}");
}

#[test]
fn a_second_backup_sends_only_what_changed() {
    let host = Host::with_stores(&["store"]);
    let mut content = noise(16 * MIB, 2);
    host.backup("store", "", TIME, &content);
    content[5 * MIB] ^= 1;
    let image = format!("disk.img:{}", host.file("disk.img", &content));

    let report = host.json(&[
        "backup",
        "create",
        &image,
        "--store",
        "store",
        "--backup-id",
        "test",
        "--backup-time",
        "2026-01-02T00:00:00Z",
    ]);

    assert_eq!((&report["chunks-transferred"], &report["chunks-reused"]), (&json!(1), &json!(3)), "{report}");
    assert_eq!(host.snapshots("store", "").len(), 2);
}

#[test]
fn a_failed_backup_leaves_no_snapshot() {
    let host = Host::with_stores(&["store"]);
    let good = format!("disk.img:{}", host.file("disk.img", &noise(MIB, 3)));

    for bad in ["gone.img:/nonexistent", "dir.img:/tmp", "null.img:/dev/null"] {
        let answer = host.run(&["backup", "create", &good, bad, "--store", "store", "--backup-id", "test"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stderr.starts_with("Error: ") || answer.stderr.contains("\nError: "), "{answer:?}");
    }

    assert_eq!(host.snapshots("store", ""), [""; 0]);
    assert_eq!(host.json(&["snapshot", "list", "store", "--all"]), json!([]));
}

#[test]
fn a_snapshot_must_be_newer_than_the_last() {
    let host = Host::with_stores(&["store"]);
    host.backup("store", "", TIME, &noise(10, 4));
    let image = format!("disk.img:{}", host.file("disk.img", b"x"));

    let answer =
        host.run(&["backup", "create", &image, "--store", "store", "--backup-id", "test", "--backup-time", TIME]);

    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("must be newer"), "{answer:?}");
}

#[test]
fn an_encrypted_backup_needs_its_key() {
    let host = Host::with_stores(&["store"]);
    let key_file = |name: &str, seed: u8| {
        let file = KeyFile::new(&CryptKey::from_bytes([seed; 32]), Protection::None, 0).unwrap();
        host.file(name, file.to_json().unwrap().as_bytes())
    };
    let (right, wrong) = (key_file("right.json", 7), key_file("wrong.json", 8));
    let content = noise(5 * MIB, 5);
    let image = format!("disk.img:{}", host.file("disk.img", &content));
    host.ok(&[
        "backup",
        "create",
        &image,
        "--store",
        "store",
        "--backup-id",
        "test",
        "--backup-time",
        TIME,
        "--keyfile",
        &right,
    ]);
    assert_eq!(host.run(&["snapshot", "verify", "store"]).code, 0);

    let target = host.path("restored");
    let snapshot = format!("host/test/{TIME}");
    let restore = |key: &[&str]| {
        let words = ["restore", &snapshot, "disk.img", target.to_str().unwrap(), "--store", "store"];
        host.run(&[&words[..], key].concat())
    };
    let without = restore(&[]);
    assert_eq!(without.code, 1);
    assert!(without.stderr.contains("is encrypted\nhint: give its key with --keyfile"), "{without:?}");
    assert_eq!(restore(&["--keyfile", &wrong]).code, 1);
    assert!(!target.exists());
    assert_eq!(restore(&["--keyfile", &right]).code, 0);
    assert_eq!(fs::read(&target).unwrap(), content);
}

#[test]
fn a_damaged_chunk_stops_the_restore_and_leaves_the_old_file() {
    let host = Host::with_stores(&["store"]);
    host.backup("store", "", TIME, &noise(MIB, 6));
    damage_a_chunk(&host);
    let target = host.file("restored", b"what was there before");

    let answer = host.run(&["restore", &format!("host/test/{TIME}"), "disk.img", &target, "--store", "store"]);

    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("is damaged"), "{answer:?}");
    assert_eq!(fs::read(&target).unwrap(), b"what was there before");
}

#[test]
fn verify_finds_a_damaged_chunk_and_ends_with_1() {
    let host = Host::with_stores(&["store"]);
    host.backup("store", "a", TIME, &noise(MIB, 7));
    assert_eq!(host.ok(&["snapshot", "verify", "store"]), "verified 1 snapshot: 1 ok, 0 failed\n");
    damage_a_chunk(&host);

    let answer = host.run(&["snapshot", "verify", "store", &format!("host/test/{TIME}"), "--ns", "a"]);

    assert_eq!(answer.code, 1);
    assert_eq!(answer.stdout, "verified 1 snapshot: 0 ok, 1 failed\n");
    let list = host.json(&["snapshot", "list", "store", "--ns", "a"]);
    assert_eq!(list[0]["verification"]["state"], "failed");
    let missing = host.run(&["snapshot", "verify", "store", "host/test/2020-01-01T00:00:00Z"]);
    assert_eq!(missing.code, 1, "{missing:?}");
}

#[test]
fn a_forgotten_snapshot_is_gone() {
    let host = Host::with_stores(&["store"]);
    host.backup("store", "", TIME, &noise(10, 8));
    let snapshot = format!("host/test/{TIME}");

    host.ok(&["snapshot", "forget", "store", &snapshot]);

    assert_eq!(host.snapshots("store", ""), [""; 0]);
    assert_eq!(host.run(&["snapshot", "forget", "store", &snapshot]).code, 1);
}

fn damage_a_chunk(host: &Host) {
    let mut directories = vec![host.path("store/.chunks")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
                continue;
            }
            let mut bytes = fs::read(entry.path()).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(entry.path(), bytes).unwrap();
            return;
        }
    }
    panic!("no chunk to damage");
}
