//! Keys of sync jobs: where they are, what opens them, and what keeps them from being lost.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{Root, n, text};
use config::{
    ConfigError, SyncDirection, SyncJobConfig, acl, encryption_keys,
    encryption_keys::KeyUse::{Decrypt, Encrypt},
    sync_jobs,
};
use formats::{CryptKey, KeyFile, Protection};

fn root_with_key(id: &str) -> (Root, CryptKey) {
    let root = Root::new();
    let key = CryptKey::from_bytes([7; 32]);
    encryption_keys::add(&root.paths, &n(id), &key, Some("for tapes".into()), 1_700_000_000, 1_700_000_001).unwrap();
    (root, key)
}

fn pull(keys: &[&str]) -> SyncJobConfig {
    SyncJobConfig {
        associated_key: keys.iter().map(|&key| key.to_owned()).collect(),
        ..SyncJobConfig::new(n("job"), n("archive"), Some(n("office")), n("main"))
    }
}

fn push(key: &str) -> SyncJobConfig {
    SyncJobConfig {
        sync_direction: Some(SyncDirection::Push),
        active_encryption_key: Some(key.to_owned()),
        ..pull(&[])
    }
}

#[test]
fn a_key_is_kept_as_a_stock_server_keeps_it() {
    let (root, key) = root_with_key("offsite");

    let file = root.paths.encryption_key_file(&n("offsite"));
    assert!(file.ends_with("encryption-keys/offsite.enc"));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o640, 0o750));
    let stored = KeyFile::parse(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored.unlock(None).unwrap().fingerprint(), key.fingerprint());
    let expected = format!(
        "sync-key: offsite\n\tcreated 1700000000\n\tfingerprint {}\n\thint for tapes\n\tkdf none\n\tmodified 1700000001\n\tpath {}\n",
        key.fingerprint(),
        file.display()
    );
    assert_eq!(text(&root.paths.encryption_keys_cfg()), expected);
    assert_eq!(encryption_keys::open(&root.paths, &n("offsite"), Encrypt).unwrap().fingerprint(), key.fingerprint());
}

#[test]
fn a_name_is_taken_once_and_the_key_of_its_file_never_overwritten() {
    let (root, key) = root_with_key("offsite");
    let other = CryptKey::from_bytes([8; 32]);

    let taken = encryption_keys::add(&root.paths, &n("offsite"), &other, None, 0, 0).unwrap_err();
    fs::write(root.paths.encryption_key_file(&n("stray")), "somebody's").unwrap();
    let stray = encryption_keys::add(&root.paths, &n("stray"), &other, None, 0, 0).unwrap_err();

    assert!(taken.is_exists() && stray.to_string().contains("stray.enc"), "{taken} {stray}");
    assert_eq!(encryption_keys::open(&root.paths, &n("offsite"), Decrypt).unwrap().fingerprint(), key.fingerprint());
    assert_eq!(text(&root.paths.encryption_key_file(&n("stray"))), "somebody's");
    assert_eq!(encryption_keys::load(&root.paths).unwrap().entries.len(), 1);
}

#[test]
fn a_key_file_that_does_not_fit_is_not_used() {
    let (root, key) = root_with_key("offsite");
    let file = root.paths.encryption_key_file(&n("offsite"));
    let json = |key: &CryptKey, protection| KeyFile::new(key, protection, 0).unwrap().to_json().unwrap().to_string();
    for (content, said) in [
        (json(&CryptKey::from_bytes([9; 32]), Protection::None), "is written of it"),
        (json(&key, Protection::Pbkdf2("correct horse")), "passphrase"),
        ("no key".to_owned(), "no valid key file"),
        (String::new(), "has no file"),
    ] {
        fs::write(&file, content).unwrap();
        let error = encryption_keys::open(&root.paths, &n("offsite"), Decrypt).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("offsite"), "{said}: {error}");
    }
}

#[test]
fn a_job_is_refused_without_the_keys_it_needs() {
    let (root, _) = root_with_key("offsite");
    encryption_keys::add(&root.paths, &n("old"), &CryptKey::from_bytes([8; 32]), None, 0, 0).unwrap();
    encryption_keys::set_archived(&root.paths, &n("old"), Some(5), None).unwrap();
    let of_bob = |job: SyncJobConfig| SyncJobConfig { owner: Some("bob@pbs".parse().unwrap()), ..job };
    for (job, property, said) in [
        (push("nokey"), "active-encryption-key", "there is: offsite, old"),
        (push("old"), "active-encryption-key", "archived"),
        (pull(&["offsite", "nokey"]), "associated-key", "there is no encryption key `nokey`"),
        (of_bob(push("offsite")), "active-encryption-key", "Sys.Modify is needed on /system/encryption-keys/offsite"),
        (of_bob(pull(&["offsite"])), "associated-key", "bob@pbs"),
    ] {
        let error = sync_jobs::create(&root.paths, &job).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { property: found, .. } if found == property), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(!root.paths.sync_cfg().exists());

    // What a pull decrypts with may be archived; what a push merely keeps is not looked at.
    sync_jobs::create(&root.paths, &pull(&["offsite", "old"])).unwrap();
    let keeping = SyncJobConfig { id: n("keep"), associated_key: vec!["gone".into()], ..push("offsite") };
    sync_jobs::create(&root.paths, &keeping).unwrap();
    let keys = encryption_keys::of_job(&root.paths, &pull(&["offsite", "old"])).unwrap();
    assert_eq!(keys.len(), 2);
}

#[test]
fn an_owner_may_use_the_keys_he_was_given() {
    let (root, _) = root_with_key("offsite");
    let bob = "bob@pbs".parse().unwrap();
    fs::write(root.paths.user_cfg(), "user: bob@pbs\n").unwrap();
    let acl = "acl:1:/system/encryption-keys/offsite:bob@pbs:Admin\n";
    fs::write(root.paths.acl_cfg(), acl).unwrap();
    assert!(acl::AclPath::of(["system", "encryption-keys", "offsite"]).to_string().ends_with("/offsite"));

    sync_jobs::create(&root.paths, &SyncJobConfig { owner: Some(bob), ..push("offsite") }).unwrap();
}

#[test]
fn a_change_is_checked_when_it_is_about_keys_and_only_then() {
    let (root, _) = root_with_key("offsite");
    sync_jobs::create(&root.paths, &push("offsite")).unwrap();
    fs::remove_file(root.paths.encryption_key_file(&n("offsite"))).unwrap();
    let update = |change: fn(&mut SyncJobConfig)| {
        sync_jobs::update(&root.paths, &n("job"), None, |job| {
            change(job);
            Ok(())
        })
    };

    update(|job| job.comment = Some("still editable".into())).unwrap();
    update(|job| job.active_encryption_key = Some("nokey".into())).unwrap_err();
    update(|job| job.sync_direction = Some(SyncDirection::Pull)).unwrap_err();
    update(|job| job.active_encryption_key = None).unwrap();

    assert_eq!(sync_jobs::get(&root.paths, &n("job")).unwrap().associated_key, ["offsite"]);
}

#[test]
fn a_key_that_a_job_needs_is_neither_archived_nor_removed() {
    let (root, _) = root_with_key("offsite");
    let id = n("offsite");
    let archive = || encryption_keys::set_archived(&root.paths, &id, Some(9), None);
    let remove = || encryption_keys::remove(&root.paths, &id, None).map_err(|error| error.to_string());
    sync_jobs::create(&root.paths, &push("offsite")).unwrap();

    assert!(archive().unwrap_err().to_string().contains("`job`"));
    sync_jobs::update(&root.paths, &n("job"), None, |job| {
        job.active_encryption_key = None;
        Ok(())
    })
    .unwrap();
    assert!(remove().unwrap_err().contains("used by sync job `job`"));
    archive().unwrap();
    assert!(encryption_keys::open(&root.paths, &id, Encrypt).unwrap_err().to_string().contains("archived"));
    encryption_keys::open(&root.paths, &id, Decrypt).unwrap();
    assert!(remove().unwrap_err().contains("used by sync job `job`"));
    sync_jobs::remove(&root.paths, &n("job"), None).unwrap();

    encryption_keys::set_archived(&root.paths, &id, None, None).unwrap();
    assert!(remove().unwrap_err().contains("not archived"));
    archive().unwrap();
    remove().unwrap();
    assert!(!root.paths.encryption_key_file(&id).exists());
    assert!(remove().unwrap_err().contains("does not exist"));
}
