//! Encryption and decryption between ends in memory: what arrives, and every refusal.

use std::sync::Arc;

use formats::{ChunkDigest, CryptKey, CryptMode, DataBlob, Fingerprint, Index, Manifest, VerifyResult};

use super::translation::Names;
use super::{DecryptingTarget, EncryptingSource};
use crate::memory::{MemoryStore, verify_state};
use crate::tests::{pull, push};
use crate::traits::{ChunkRef, Source as _};
use crate::{Forecast, JobOptions, Report, RunControl, RunResult, Silent, rehearse, run};

const A: &[u8] = b"first chunk of all";
const B: &[u8] = b"second chunk";
const C: &[u8] = b"the third one is different";
const GROUP: &str = "vm/100";

fn key(number: u8) -> CryptKey {
    CryptKey::from_bytes([number; 32])
}

fn plain() -> MemoryStore {
    let store = MemoryStore::new();
    store.backup("", GROUP, 1, &[("disk.img.didx", &[A, B, A]), ("vm.conf.blob", &[b"cores 4"])]);
    store.log("", GROUP, 1, b"all went well");
    store.manifest("", GROUP, 1, |manifest| {
        manifest.set_notes("before the upgrade");
        manifest.set_verify_state(&verify_state(VerifyResult::Ok));
    });
    store
}

async fn encrypt(options: &JobOptions, source: &MemoryStore, key: CryptKey, target: &MemoryStore) -> Report {
    let source = Arc::new(EncryptingSource::new(Arc::new(source.clone()), key));
    run(options, source, Arc::new(target.clone()), &RunControl::new(), Arc::new(Silent)).await
}

async fn decrypt_with(options: &JobOptions, source: &MemoryStore, keys: &[CryptKey], target: &MemoryStore) -> Report {
    let target = Arc::new(DecryptingTarget::new(Arc::new(target.clone()), keys.to_vec()));
    run(options, Arc::new(source.clone()), target, &RunControl::new(), Arc::new(Silent)).await
}

async fn decrypt(source: &MemoryStore, keys: &[CryptKey], target: &MemoryStore) -> Report {
    decrypt_with(&pull(), source, keys, target).await
}

/// A store with what [`plain`] has, under key 1.
async fn vault() -> MemoryStore {
    let vault = MemoryStore::new();
    let report = encrypt(&push(), &plain(), key(1), &vault.as_remote()).await;
    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    vault
}

fn manifest(store: &MemoryStore, time: i64) -> Manifest {
    let mut found = None;
    store.look("", GROUP, time, |manifest| found = Some(manifest.clone()));
    found.unwrap()
}

/// The decoded content of a snapshot: chunk names of its index, its blob, its log.
fn content(store: &MemoryStore, time: i64) -> (Vec<ChunkDigest>, Vec<u8>, Vec<u8>) {
    let files = &store.contents()[&format!("{GROUP} {time}")];
    let decoded = |name: &str| DataBlob::parse(files[name].clone()).unwrap().decode(None, 1 << 20).unwrap();
    let index = Index::parse_any(files["disk.img.didx"].clone()).unwrap();
    (index.entries().map(|entry| entry.digest).collect(), decoded("vm.conf.blob"), decoded("log"))
}

#[tokio::test]
async fn what_an_encrypting_push_leaves_is_readable_with_the_key_alone() {
    let vault = vault().await;

    let (source, copy) = (manifest(&plain(), 1), manifest(&vault, 1));
    assert!(copy.is_fully_encrypted());
    copy.verify_signature(&key(1)).unwrap();
    assert_eq!(copy.key_fingerprint().unwrap(), Some(key(1).fingerprint()));
    assert_eq!((copy.notes(), copy.verify_state()), (Some("before the upgrade"), None));
    let signature = Fingerprint::from_bytes(key(1).sign(&source.canonical_signed_part()));
    assert_eq!(copy.source_signature(), Some(signature));

    let files = &vault.contents()["vm/100 1"];
    let names: Vec<ChunkDigest> =
        Index::parse_any(files["disk.img.didx"].clone()).unwrap().entries().map(|entry| entry.digest).collect();
    assert_eq!(names, [A, B, A].map(|part| key(1).digest(part)));
    for (name, content) in [("vm.conf.blob", &b"cores 4"[..]), ("log", b"all went well")] {
        let blob = DataBlob::parse(files[name].clone()).unwrap();
        assert!(blob.decode(None, 1 << 20).is_err() && blob.decode(Some(&key(2)), 1 << 20).is_err(), "{name}");
        assert_eq!(blob.decode(Some(&key(1)), 1 << 20).unwrap(), content);
    }
    assert_eq!((vault.chunks_stored(), vault.check()), (2, Ok(())));
}

#[tokio::test]
async fn chunks_of_the_snapshot_before_are_not_encrypted_and_sent_again() {
    let (source, vault) = (plain(), vault().await);

    let again = encrypt(&push(), &source, key(1), &vault.as_remote()).await;
    source.backup("", GROUP, 2, &[("disk.img.didx", &[A, C]), ("vm.conf.blob", &[b"cores 8"])]);
    let next = encrypt(&push(), &source, key(1), &vault.as_remote()).await;

    assert!(again.moved_nothing(), "{again:?}");
    assert_eq!((next.chunks_transferred, next.chunks_reused), (1, 1), "{:?}", next.errors);
    source.backup("", GROUP, 3, &[("disk.img.didx", &[A, C]), ("vm.conf.blob", &[b"cores 8"])]);
    let other_key = encrypt(&push(), &source, key(2), &vault.as_remote()).await;
    assert_eq!((other_key.chunks_transferred, other_key.chunks_reused), (2, 0), "{:?}", other_key.errors);
}

#[tokio::test]
async fn a_decrypting_pull_gives_back_the_content_and_then_has_nothing_to_do() {
    let (vault, back) = (vault().await, MemoryStore::new());

    let first = decrypt(&vault, &[key(2), key(1)], &back).await;
    let second = decrypt(&vault, &[key(2), key(1)], &back).await;

    assert_eq!((first.result, first.chunks_transferred), (RunResult::Ok, 2), "{:?}", first.errors);
    assert_eq!(content(&back, 1), content(&plain(), 1));
    assert_eq!(back.check(), Ok(()));
    let (encrypted, copy) = (manifest(&vault, 1), manifest(&back, 1));
    assert!(copy.files.iter().all(|info| info.crypt_mode == CryptMode::None));
    assert_eq!((copy.signature.as_ref(), copy.key_fingerprint().unwrap(), copy.verify_state()), (None, None, None));
    assert_eq!(copy.notes(), Some("before the upgrade"));
    assert_eq!(copy.source_signature().map(|print| *print.as_bytes()), encrypted.signature_bytes());
    assert_eq!(copy.files[0].csum, manifest(&plain(), 1).files[0].csum);
    assert!(second.moved_nothing() && second.snapshots_unchanged == 1, "{second:?}");
}

/// What a decrypting run would do, and then does.
async fn announced_and_done(source: &MemoryStore, keys: &[CryptKey], target: &MemoryStore) -> (Forecast, Report) {
    let before = target.contents();
    let options = JobOptions { worker_threads: 1, ..pull() };
    let ends = Arc::new(DecryptingTarget::new(Arc::new(target.clone()), keys.to_vec()));
    let announced = rehearse(&options, Arc::new(source.clone()), ends, &RunControl::new(), Arc::new(Silent)).await;
    assert_eq!(target.contents(), before, "a dry run changed something");
    (announced.unwrap(), decrypt_with(&options, source, keys, target).await)
}

#[tokio::test]
async fn a_second_decrypting_pull_fetches_the_changed_chunks_alone_as_announced() {
    let (source, vault, back) = (plain(), vault().await, MemoryStore::new());
    decrypt(&vault, &[key(1)], &back).await;
    source.backup("", GROUP, 2, &[("disk.img.didx", &[A, C, B]), ("vm.conf.blob", &[b"cores 8"])]);
    source.log("", GROUP, 2, b"well again");
    source.backup("", "vm/101", 2, &[("disk.img.didx", &[B, A])]);
    encrypt(&push(), &source, key(1), &vault.as_remote()).await;
    let fetched = vault.chunks_fetched();

    let (announced, done) = announced_and_done(&vault, &[key(1)], &back).await;

    assert_eq!((done.result, done.snapshots_copied), (RunResult::Ok, 2), "{:?}", done.errors);
    assert_eq!((done.chunks_transferred, vault.chunks_fetched() - fetched), (1, 1));
    assert_eq!(announced.report, done);
    assert!(announced.chunks_exact && announced.exact);
    assert_eq!((content(&back, 2).0, back.check()), ([A, C, B].map(ChunkDigest::of).to_vec(), Ok(())));
}

#[tokio::test]
async fn names_are_learnt_only_from_a_copy_of_this_very_snapshot() {
    type Spoil = fn(&mut Manifest);
    let (original, copy) = (true, false);
    let spoils: [(&str, bool, Spoil, bool); 6] = [
        ("as it was made", copy, |_| (), true),
        ("made of another one", copy, |it| it.set_source_signature(Fingerprint::from_bytes([9; 32])), false),
        ("of unknown origin", copy, |it| drop(it.unprotected.shift_remove("sync-source-signature")), false),
        ("signed with another key", original, |it| it.sign(&key(2)), false),
        ("changed after it was signed", original, |it| it.files[0].size += 1, false),
        ("with another index than it says", copy, |it| it.files[0].csum[0] ^= 1, false),
    ];
    for (what, of_original, spoil, learnt) in spoils {
        let (vault, back) = (vault().await, MemoryStore::new());
        decrypt(&vault, &[key(1)], &back).await;
        if of_original { &vault } else { &back }.manifest("", GROUP, 1, spoil);
        let (ns, id) = (formats::Namespace::root(), manifest(&vault, 1).snapshot());
        let (original, copy) =
            (vault.open(&ns, &id).await.unwrap().unwrap(), back.open(&ns, &id).await.unwrap().unwrap());
        let names = Names::default();

        // Whatever cannot be read is an error, and nothing is learnt.
        let _ = names.pair(original.as_ref(), copy.as_ref(), &[key(1)]).await;

        let chunk = ChunkRef { digest: key(1).digest(A), plain_len: A.len() as u64, encrypted: true };
        assert_eq!(names.of(&chunk), learnt.then(|| ChunkDigest::of(A)), "{what}");
    }
}

#[tokio::test]
async fn a_dry_run_says_at_most_where_plain_and_encrypted_snapshots_share_chunks() {
    let (vault, back) = (vault().await, MemoryStore::new());
    vault.backup("", "vm/200", 1, &[("disk.img.didx", &[A, C])]);

    let (announced, done) = announced_and_done(&vault, &[key(1)], &back).await;

    assert!(!announced.chunks_exact && !announced.exact);
    assert_eq!((announced.report.chunks_transferred, done.chunks_transferred), (4, 3), "{:?}", done.errors);
}

#[tokio::test]
async fn groups_that_share_chunks_share_them_when_they_are_decrypted() {
    let (source, vault, back) = (plain(), MemoryStore::new(), MemoryStore::new());
    source.backup("", "vm/101", 1, &[("disk.img.didx", &[A, B, C])]);
    encrypt(&push(), &source, key(1), &vault.as_remote()).await;
    // One of them in both forms: what is there as it is says nothing about what is to be decrypted.
    let alone = JobOptions { group_filter: formats::FilterSet::new(vec!["group:vm/101".parse().unwrap()]), ..pull() };
    decrypt_with(&alone, &vault, &[], &back).await;

    let report = decrypt(&vault, &[key(1)], &back).await;

    assert_eq!((report.result, report.chunks_transferred), (RunResult::Ok, 2), "{:?}", report.errors);
    assert_eq!(back.check(), Ok(()));
    let all = MemoryStore::new();
    let report = decrypt(&vault, &[key(1)], &all).await;
    assert_eq!((report.chunks_transferred, report.chunks_reused, all.check()), (3, 2, Ok(())));
}

#[tokio::test]
async fn a_damaged_decrypted_copy_is_decrypted_again() {
    let (vault, back) = (vault().await, MemoryStore::new());
    decrypt(&vault, &[key(1)], &back).await;
    back.spoil_chunk(A)
        .manifest("", GROUP, 1, |manifest| manifest.set_verify_state(&verify_state(VerifyResult::Failed)));

    let options = JobOptions { resync_corrupt: true, ..pull() };
    let report = decrypt_with(&options, &vault, &[key(1)], &back).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 1), "{:?}", report.errors);
    assert_eq!((back.check(), content(&back, 1)), (Ok(()), content(&plain(), 1)));
}

#[tokio::test]
async fn signed_plain_files_are_encrypted_too_and_partly_encrypted_snapshots_left_alone() {
    let (source, vault) = (plain(), MemoryStore::new());
    source.manifest("", GROUP, 1, |manifest| {
        manifest.files.iter_mut().for_each(|info| info.crypt_mode = CryptMode::SignOnly);
        manifest.sign(&key(9));
    });
    source.backup("", "vm/101", 1, &[("disk.img.didx", &[A]), ("vm.conf.blob", &[b"x"])]);
    source.manifest("", "vm/101", 1, |manifest| manifest.files[0].crypt_mode = CryptMode::Encrypt);

    let report = encrypt(&push(), &source, key(1), &vault.as_remote()).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Warnings, 1), "{:?}", report.errors);
    assert!(report.warnings[0].message.contains("skipped"), "{:?}", report.warnings);
    assert_eq!(vault.finished(), ["vm/100 1"]);
    manifest(&vault, 1).verify_signature(&key(1)).unwrap();
}

#[tokio::test]
async fn a_snapshot_that_is_encrypted_already_is_pushed_as_it_is() {
    let (source, target) = (vault().await, MemoryStore::new());

    let report = encrypt(&push(), &source, key(2), &target.as_remote()).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!(target.contents(), source.contents());
}

#[tokio::test]
async fn filters_look_at_the_snapshot_as_the_source_has_it() {
    let (source, target) = (plain(), MemoryStore::new());
    let verified = JobOptions { verified_only: true, ..push() };
    let encrypted = JobOptions { encrypted_only: true, ..push() };

    assert_eq!(encrypt(&encrypted, &source, key(1), &target.as_remote()).await.snapshots_copied, 0);
    assert_eq!(encrypt(&verified, &source, key(1), &target.as_remote()).await.snapshots_copied, 1);
}

#[tokio::test]
async fn a_damaged_plain_chunk_is_not_encrypted() {
    let (source, vault) = (plain(), MemoryStore::new());
    source.spoil_chunk(B);

    let report = encrypt(&push(), &source, key(1), &vault.as_remote()).await;

    assert_eq!((report.result, vault.finished()), (RunResult::Error, Vec::new()));
    assert!(report.errors[0].message.contains(&ChunkDigest::of(B).to_string()), "{:?}", report.errors);
}

#[tokio::test]
async fn a_manifest_that_its_key_did_not_sign_is_not_decrypted() {
    for spoil in [
        (|manifest| manifest.files[1].size += 1) as fn(&mut Manifest),
        |manifest| manifest.signature = None,
        |manifest| manifest.signature = Some("0".repeat(64)),
    ] {
        let (vault, back) = (vault().await, MemoryStore::new());
        vault.manifest("", GROUP, 1, spoil);

        let report = decrypt(&vault, &[key(1)], &back).await;

        assert_eq!((report.result, back.finished()), (RunResult::Error, Vec::new()));
        assert!(report.errors[0].message.contains("sign"), "{:?}", report.errors);
    }
}

#[tokio::test]
async fn an_encrypted_chunk_with_other_content_is_refused_where_the_key_is() {
    let (vault, back) = (vault().await, MemoryStore::new());
    let other = DataBlob::encode(&vec![0xee; A.len()], false, Some(&key(1))).unwrap();
    vault.replace_chunk(key(1).digest(A), other);

    let report = decrypt(&vault, &[key(1)], &back).await;

    assert_eq!((report.result, back.finished()), (RunResult::Error, Vec::new()));
    assert!(report.errors[0].message.contains("cannot be decrypted"), "{:?}", report.errors);
}

/// One end's snapshot in the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Absent,
    /// No key named.
    Plain,
    /// No key named, other content.
    OtherPlain,
    /// All files under the key.
    Under(u8),
    /// Plain files, signed with the key.
    Signed(u8),
    /// One file under the key.
    Partly(u8),
    /// Decrypted from what is under the key.
    From(u8),
}

async fn store_with(is: Is) -> MemoryStore {
    let store = MemoryStore::new();
    match is {
        Is::Absent => return store,
        Is::Plain => return plain(),
        Is::OtherPlain => drop(store.backup("", GROUP, 1, &[("disk.img.didx", &[C]), ("vm.conf.blob", &[b"x"])])),
        Is::Under(number) => drop(encrypt(&push(), &plain(), key(number), &store.as_remote()).await),
        Is::Signed(number) => {
            let signed = plain();
            signed.manifest("", GROUP, 1, |manifest| {
                manifest.files.iter_mut().for_each(|info| info.crypt_mode = CryptMode::SignOnly);
                manifest.sign(&key(number));
            });
            return signed;
        }
        Is::Partly(number) => {
            let partly = Box::pin(store_with(Is::Under(number))).await;
            partly.backup("", GROUP, 2, &[("new.conf.blob", &[b"plain"])]);
            let plain_info = manifest(&partly, 2).files[0].clone();
            partly.move_file("", GROUP, (2, 1), "new.conf.blob").forget("", GROUP, 2);
            partly.manifest("", GROUP, 1, |manifest| {
                manifest.files.push(plain_info);
                manifest.sign(&key(number));
            });
            return partly;
        }
        Is::From(number) => {
            let source = Box::pin(store_with(Is::Under(number))).await;
            drop(decrypt(&source, &[key(number)], &store).await);
        }
    }
    store
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The target is equal to the source, byte for byte.
    AsIs,
    /// So, with a warning.
    AsIsWarned,
    Decrypted,
    Unchanged,
    Refused,
}

#[tokio::test]
async fn every_pair_of_source_and_target_ends_as_the_rules_say() {
    use {Ends::*, Is::*};
    let (none, one, two): (&[CryptKey], _, _) = (&[], &[key(1)][..], &[key(2)][..]);
    for (source, target, keys, ends) in [
        // no key at the source
        (Plain, Absent, one, AsIs),
        (Plain, Under(1), one, Refused),
        (Plain, Signed(1), none, Refused),
        (Plain, Plain, one, Unchanged),
        (Plain, OtherPlain, one, Refused),
        // the same key at both, whatever keys the job has
        (Under(1), Under(1), one, Refused),
        (Signed(1), Signed(1), one, Unchanged),
        (Under(1), Signed(1), one, Refused),
        (Signed(1), Under(1), none, Refused),
        // another key there
        (Under(1), Under(2), one, Refused),
        (Signed(1), Signed(2), one, Refused),
        // no such key in the job
        (Under(1), Plain, two, Refused),
        (Under(1), Plain, none, Refused),
        (Under(1), From(1), two, Refused),
        (Under(1), Absent, two, AsIs),
        (Under(1), Absent, none, AsIs),
        (Signed(1), Absent, none, AsIs),
        (Signed(1), Plain, none, AsIs),
        // a key, but not all is encrypted
        (Signed(1), Absent, one, AsIsWarned),
        (Signed(1), Plain, one, AsIsWarned),
        (Partly(1), Absent, one, AsIsWarned),
        // a key, and all is encrypted
        (Under(1), Absent, one, Decrypted),
        (Under(1), Plain, one, Refused),
        (Under(1), OtherPlain, one, Refused),
    ] {
        let (from, to) = (store_with(source).await, store_with(target).await);
        check_row(&from, &to, keys, ends, &format!("{source:?} to {target:?} with {} keys", keys.len())).await;
    }
    // The very same encryption at both ends, and what was decrypted from it.
    let from = store_with(Under(1)).await;
    let (same, decrypted) = (MemoryStore::new(), MemoryStore::new());
    decrypt(&from, none, &same).await;
    decrypt(&from, one, &decrypted).await;
    check_row(&from, &same, one, Unchanged, "the same under a key").await;
    check_row(&from, &decrypted, one, Unchanged, "decrypted before").await;
    decrypted.manifest("", GROUP, 1, |manifest| manifest.set_source_signature(Fingerprint::from_bytes([9; 32])));
    check_row(&from, &decrypted, one, Refused, "decrypted from something else").await;
    let former = manifest(&from, 1).signature_bytes().map(Fingerprint::from_bytes).unwrap().to_string();
    decrypted.manifest("", GROUP, 1, |manifest| {
        manifest.unprotected.shift_remove("sync-source-signature");
        manifest.unprotected.insert("change-detection-fingerprint".to_owned(), former.into());
    });
    check_row(&from, &decrypted, one, Unchanged, "noted under the former name").await;
}

async fn check_row(from: &MemoryStore, to: &MemoryStore, keys: &[CryptKey], ends: Ends, row: &str) {
    let before = to.contents();

    let report = decrypt(from, keys, to).await;

    let expected = match ends {
        Ends::Refused => RunResult::Error,
        Ends::AsIsWarned => RunResult::Warnings,
        Ends::AsIs | Ends::Decrypted | Ends::Unchanged => RunResult::Ok,
    };
    assert_eq!(report.result, expected, "{row}: {:?} {:?}", report.errors, report.warnings);
    let name = format!("{GROUP} 1");
    let after = to.contents();
    match ends {
        Ends::Refused | Ends::Unchanged => assert_eq!(after, before, "{row}"),
        Ends::AsIs | Ends::AsIsWarned => {
            let part = |store: &MemoryStore| {
                let found = manifest(store, 1);
                (found.canonical_signed_part(), found.signature, store.contents()[&name]["vm.conf.blob"].clone())
            };
            assert_eq!(part(to), part(from), "{row}");
        }
        Ends::Decrypted => assert_eq!(content(to, 1), content(&plain(), 1), "{row}"),
    }
    if ends == Ends::Refused {
        assert!(report.errors[0].hint.is_some(), "{row}: {:?}", report.errors);
    }
}
