//! The keys of sync jobs on the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use formats::KeyFile;
use serde_json::json;

use crate::host::Host;

#[test]
fn a_key_is_made_shown_exported_imported_archived_and_removed() {
    let host = Host::new();
    let path = |name: &str| host.path(name).to_str().unwrap().to_owned();
    fs::write(host.path("password"), "correct horse\n").unwrap();

    let made = host.run(&["encryption-key", "create", "offsite", "--hint", "for the vault"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, ""), "{made:?}");
    assert!(made.stderr.contains("encryption-key export offsite"), "{made:?}");
    let shown = host.json(&["encryption-key", "show", "offsite"]);
    assert_eq!((&shown["kdf"], &shown["hint"]), (&json!("none"), &json!("for the vault")));
    assert_eq!(host.json(&["encryption-key", "list"]), json!([shown]));
    assert!(host.ok(&["encryption-key", "list"]).contains(shown["fingerprint"].as_str().unwrap()));

    for (kdf, file) in [("scrypt", path("scrypt.json")), ("pbkdf2", path("pbkdf2.json"))] {
        let password = path("password");
        host.ok(&["encryption-key", "export", "offsite", &file, "--password-file", &password, "--kdf", kdf]);
        let key_file = KeyFile::parse(&fs::read(&file).unwrap()).unwrap();
        assert_eq!((key_file.kdf_name(), key_file.is_protected()), (kdf, true));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let closed = host.run(&["encryption-key", "import", kdf, &file]);
        assert!(closed.code == 1 && closed.stderr.contains("--key-password-file"), "{closed:?}");
        let wrong = host.run_with(&["encryption-key", "import", kdf, &file, "--key-password-file", "-"], "battery");
        assert!(wrong.code == 1 && wrong.stderr.contains("wrong passphrase"), "{wrong:?}");
        host.ok(&["encryption-key", "import", kdf, &file, "--key-password-file", &password]);
        assert_eq!(host.json(&["encryption-key", "show", kdf])["fingerprint"], shown["fingerprint"]);
    }
    let bare = host.run(&["encryption-key", "export", "offsite", "-"]);
    assert!(bare.code == 0 && bare.stderr.contains("not protected"), "{bare:?}");
    let key = KeyFile::parse(bare.stdout.as_bytes()).unwrap().unlock(None).unwrap();
    assert_eq!(json!(key.fingerprint().to_string()), shown["fingerprint"]);
    let there = host.run(&["encryption-key", "export", "offsite", &path("scrypt.json")]);
    assert!(there.code == 1 && there.stderr.contains("exists already"), "{there:?}");

    let early = host.run(&["encryption-key", "remove", "offsite"]);
    assert!(early.code == 1 && early.stderr.contains("encryption-key archive offsite"), "{early:?}");
    host.ok(&["encryption-key", "archive", "offsite"]);
    assert!(host.json(&["encryption-key", "show", "offsite"])["archived-at"].is_i64());
    host.ok(&["encryption-key", "archive", "offsite", "--undo"]);
    host.ok(&["encryption-key", "archive", "offsite"]);
    host.ok(&["encryption-key", "remove", "offsite"]);
    let gone = host.run(&["encryption-key", "show", "offsite"]);
    assert!(gone.code == 1 && gone.stderr.contains("there is: pbkdf2, scrypt"), "{gone:?}");
}

#[test]
fn a_key_that_is_not_there_is_named_before_anything_is_connected_to() {
    let host = Host::with_stores(&["store"]);
    for words in [
        &["push", "store", "pbs2", "there", "--encryption-key", "nokey"][..],
        &["pull", "pbs2", "there", "store", "--decryption-key", "nokey"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "other", "--associated-key", "nokey"],
    ] {
        let answer = host.run(words);
        assert_ne!(answer.code, 0, "{answer:?}");
        assert!(answer.stderr.contains("there is no encryption key `nokey`"), "{answer:?}");
    }
    let pulling = host.run(&[
        "sync-job",
        "create",
        "job",
        "--store",
        "store",
        "--remote-store",
        "other",
        "--active-encryption-key",
        "k12",
    ]);
    assert!(pulling.code == 2 && pulling.stderr.contains("active-encryption-key"), "{pulling:?}");
}

#[test]
fn verify_takes_stored_keys_and_key_files_and_says_what_it_could_not_check() {
    let host = Host::with_stores(&["store"]);
    for key in ["right", "wrong"] {
        host.ok(&["encryption-key", "create", key]);
    }
    let file = host.path("right.json").to_str().unwrap().to_owned();
    host.ok(&["encryption-key", "export", "right", &file]);
    let image = format!("disk.img:{}", host.file("disk.img", b"something"));
    host.ok(&["backup", "create", &image, "--store", "store", "--backup-id", "a", "--keyfile", &file]);

    for (options, said) in [
        (&["--key", "wrong"][..], true),
        (&["--key", "wrong", "--key", "right"], false),
        (&["--keyfile", &file], false),
        (&[], false),
    ] {
        let rows = host.json(&[&["snapshot", "verify", "store"], options].concat());
        assert_eq!((&rows[0]["state"], rows[0]["notes"] != json!([])), (&json!("ok"), said), "{options:?} {rows}");
    }
    let unknown = host.run(&["snapshot", "verify", "store", "--key", "nokey"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("nokey"), "{unknown:?}");
}
