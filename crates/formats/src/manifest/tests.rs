use super::*;
use crate::crypt::tests::vector_key;
use crate::digest::sha256;

fn file(name: &str, crypt_mode: CryptMode, size: u64, csum: u8) -> FileInfo {
    FileInfo { filename: name.parse().unwrap(), crypt_mode, size, csum: [csum; 32] }
}

/// The manifest of the published vectors.
fn sample() -> Manifest {
    let snapshot = SnapshotId::new("host/demo".parse().unwrap(), BackupTime::from_unix(1_700_000_000).unwrap());
    let mut manifest = Manifest::new(snapshot);
    manifest.add(file("root.pxar.didx", CryptMode::Encrypt, 12345, 0)).unwrap();
    manifest.add(file("etc.conf.blob", CryptMode::None, 17, 0x11)).unwrap();
    manifest
}

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse_json(text.as_bytes())
}

#[test]
fn canonical_form_and_signature_are_those_of_the_vector() {
    let key = vector_key();
    let mut manifest = sample();

    let canonical = manifest.canonical_signed_part();
    assert_eq!(canonical.len(), 349);
    let digest = "b63d837fea188a20d1c7e87ebaafd39297d7760aca8affae85fb1004430b86ad";
    assert_eq!(hex::encode(sha256(&canonical)), digest);

    manifest.sign(&key);
    let signature = "516f7417dfb7fd80533dfe4a6e49005f6e100814e67108729352f425d448b25c";
    assert_eq!(manifest.signature.as_deref(), Some(signature));
    assert_eq!(manifest.key_fingerprint().unwrap(), Some(key.fingerprint()));
}

#[test]
fn a_manifest_survives_its_json_and_its_blob() {
    let mut manifest = sample();
    manifest.sign(&vector_key());
    manifest.set_notes("first line\nsecond ü");

    assert_eq!(parse(&manifest.to_json()).unwrap(), manifest);
    let blob = manifest.to_blob().unwrap();
    assert_eq!(Manifest::parse_blob(&blob).unwrap(), manifest);
    assert_eq!(manifest.snapshot().to_string(), "host/demo/2023-11-14T22:13:20Z");
}

#[test]
fn the_json_is_indented_by_two_and_sorted() {
    let mut manifest = sample();
    manifest.files.truncate(1);
    let zeros = "0".repeat(64);

    let expected = format!(
        r#"{{
  "backup-id": "demo",
  "backup-time": 1700000000,
  "backup-type": "host",
  "files": [
    {{
      "crypt-mode": "encrypt",
      "csum": "{zeros}",
      "filename": "root.pxar.didx",
      "size": 12345
    }}
  ],
  "signature": null,
  "unprotected": {{}}
}}"#
    );
    assert_eq!(manifest.to_json(), expected);
}

#[test]
fn a_change_to_the_signed_part_breaks_the_signature_and_notes_do_not() {
    let key = vector_key();
    let mut manifest = sample();
    assert_eq!(manifest.verify_signature(&key).unwrap(), SignatureState::Unsigned);
    manifest.sign(&key);

    manifest.set_notes("later");
    assert_eq!(manifest.verify_signature(&key).unwrap(), SignatureState::Valid);

    let other = CryptKey::from_bytes([1; 32]);
    assert!(matches!(manifest.verify_signature(&other), Err(ManifestError::OtherKey { .. })));
    manifest.files[0].size += 1;
    assert!(matches!(manifest.verify_signature(&key), Err(ManifestError::Signature)));
    manifest.signature = Some("zz".to_owned());
    assert!(matches!(manifest.verify_signature(&key), Err(ManifestError::Signature)));
}

#[test]
fn unknown_keys_are_dropped_outside_and_kept_inside_unprotected() {
    let text = r#"{"later":1,"backup-type":"vm","backup-id":"100","backup-time":5,"files":[],
        "unprotected":{"z":{"deep":[1,2.5,null]},"a":"first"}}"#;

    let manifest = parse(text).unwrap();
    let json = manifest.to_json();

    assert!(!json.contains("later"));
    assert!(json.find("\"z\"").unwrap() < json.find("\"a\"").unwrap());
    assert_eq!(parse(&json).unwrap().unprotected, manifest.unprotected);
}

#[test]
fn an_absent_crypt_mode_counts_as_none_and_is_signed_as_such() {
    let upper = "AB".repeat(32);
    let text = format!(
        r#"{{"backup-type":"vm","backup-id":"100","backup-time":5,"signature":null,
        "files":[{{"filename":"a.conf.blob","size":12,"csum":"{upper}","extra":true}}]}}"#
    );

    let manifest = parse(&text).unwrap();
    let canonical = String::from_utf8(manifest.canonical_signed_part()).unwrap();

    assert_eq!(manifest.files[0].crypt_mode, CryptMode::None);
    assert!(canonical.contains(r#""crypt-mode":"none","csum":"abab"#) && !canonical.contains("extra"));
}

#[test]
fn file_names_that_leave_the_snapshot_refuse_the_manifest() {
    let text = |name: &str| {
        let csum = "00".repeat(32);
        let entry = format!(r#"{{"filename":{name:?},"size":12,"csum":"{csum}"}}"#);
        format!(r#"{{"backup-type":"vm","backup-id":"100","backup-time":5,"files":[{entry}]}}"#)
    };
    parse(&text("a.conf.blob")).unwrap();
    for bad in ["../a.blob", "/etc/x.blob", "a/b.blob", "a.txt", "", ".blob"] {
        assert!(matches!(parse(&text(bad)), Err(ManifestError::Json(_))), "{bad:?}");
    }
}

#[test]
fn a_file_named_twice_refuses_the_manifest() {
    let mut manifest = sample();
    let twice = manifest.files[0].clone();
    assert!(matches!(manifest.add(twice.clone()), Err(ManifestError::Duplicate(_))));
    manifest.files.push(twice);

    assert!(matches!(parse(&manifest.to_json()), Err(ManifestError::Duplicate(_))));
}

#[test]
fn fields_of_the_wrong_kind_are_refused() {
    let good = sample().to_json();
    for (from, to) in [
        ("\"host\"", "\"pod\""),
        ("\"demo\"", "\"../demo\""),
        ("1700000000", "0"),
        ("1700000000", "\"1700000000\""),
        ("12345", "-1"),
        ("12345", "1.5"),
        ("\"encrypt\"", "\"maybe\""),
        ("\"0000", "\"000"),
        ("\"unprotected\": {}", "\"unprotected\": []"),
        ("\"signature\": null", "\"signature\": 7"),
        ("\"files\"", "\"flies\""),
    ] {
        assert!(parse(&good.replacen(from, to, 1)).is_err(), "{from} -> {to}");
    }
}

#[test]
fn every_cut_of_a_manifest_is_refused() {
    let json = sample().to_json();
    for end in 0..json.len() {
        assert!(parse(&json[..end]).is_err(), "{end}");
    }
}

#[test]
fn deep_nesting_is_refused_without_overflowing_the_stack() {
    let deep = format!(r#"{{"unprotected":{{"x":{}"#, "[".repeat(1 << 20));

    assert!(matches!(parse(&deep), Err(ManifestError::Json(_))));
}

#[test]
fn a_manifest_of_endless_blanks_is_refused() {
    let blob = DataBlob::encode(&vec![b' '; MAX_MANIFEST_PLAIN + 1], true, None).unwrap();

    assert!(matches!(Manifest::parse_blob(&blob), Err(ManifestError::Blob(BlobError::TooLong { .. }))));
}

#[test]
fn an_encrypted_manifest_blob_is_refused() {
    let blob = DataBlob::encode(sample().to_json().as_bytes(), true, Some(&vector_key())).unwrap();

    assert!(matches!(Manifest::parse_blob(&blob), Err(ManifestError::Encrypted)));
}

#[test]
fn the_verify_state_is_kept_and_an_unreadable_one_counts_as_none() {
    let upid: Upid = "UPID:n:000003E8:0000ABCD:00000007:6738F0A0:verify:store1:root@pam:".parse().unwrap();
    let state = VerifyState { upid, state: VerifyResult::Failed };
    let mut manifest = sample();
    manifest.set_verify_state(&state);

    let mut manifest = parse(&manifest.to_json()).unwrap();
    assert_eq!(manifest.verify_state(), Some(state));
    manifest.unprotected["verify_state"]["upid"] = Value::from("UPID:cut");
    assert_eq!(manifest.verify_state(), None);
    manifest.clear_verify_state();
    assert!(manifest.unprotected.is_empty());
}

#[test]
fn upload_statistics_are_kept() {
    let stats = UploadStats { count: 1, size: 2, compressed_size: 3, duplicates: 4 };
    let mut manifest = sample();
    manifest.set_upload_stats(&stats);

    assert_eq!(parse(&manifest.to_json()).unwrap().upload_stats(), Some(stats));
}

#[test]
fn a_snapshot_is_as_protected_as_its_least_protected_file() {
    let mode = |modes: &[CryptMode]| {
        let mut manifest = sample();
        manifest.files.clear();
        manifest.files.extend(modes.iter().map(|mode| file("x.conf.blob", *mode, 1, 0)));
        (manifest.crypt_mode(), manifest.is_fully_encrypted())
    };
    use CryptMode::{Encrypt, None, SignOnly};
    assert_eq!(mode(&[]), (None, false));
    assert_eq!(mode(&[Encrypt, Encrypt]), (Encrypt, true));
    assert_eq!(mode(&[Encrypt, SignOnly]), (SignOnly, false));
    assert_eq!(mode(&[Encrypt, None]), (None, false));
}
