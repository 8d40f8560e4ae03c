//! What a stock server and client wrote is read, checked and written again to the byte.

use formats::{
    ArchiveKind, CryptMode, DataBlob, DynamicIndexWriter, FixedIndexWriter, Index, KeyError, KeyFile, MAX_BLOB_PLAIN,
    Manifest, ManifestError, SignatureState, VerifyResult, sha256,
};

use crate::golden_store::Store;

#[test]
fn the_fixtures_are_those_that_their_readme_lists() {
    let readme = include_str!("../../../../tests/golden/README.md");
    let files: [(&str, &[u8]); 4] = [
        ("datastore.tar.zst", include_bytes!("../../../../tests/golden/datastore.tar.zst")),
        ("expected.json", include_bytes!("../../../../tests/golden/expected.json")),
        ("keys/plain.json", golden::key_file()),
        ("keys/scrypt.json", golden::scrypt_key_file()),
    ];
    for (name, bytes) in files {
        let row = format!("| `{name}` | {} | `{}` |", bytes.len(), hex::encode(sha256(bytes)));
        assert!(readme.contains(&row), "{row}");
    }
}

#[test]
fn every_index_has_the_size_and_checksum_of_its_manifest_entry() {
    let store = Store::unpack();
    let mut seen = 0;
    for snapshot in store.snapshots() {
        for (file, index) in snapshot.indexes() {
            assert_eq!((index.csum(), index.size(), index.kind()), (file.csum, file.size, file.kind()));
            assert_eq!(index.header_csum(), index.csum());
            seen += 1;
        }
    }
    assert_eq!(seen, 20);
}

#[test]
fn every_blob_has_the_size_and_checksum_of_its_manifest_entry() {
    let store = Store::unpack();
    let mut seen = 0;
    for snapshot in store.snapshots() {
        for file in snapshot.manifest.files.iter().filter(|file| file.kind() == ArchiveKind::Blob) {
            let bytes = snapshot.read(file.filename.as_str());
            assert_eq!((bytes.len() as u64, sha256(&bytes)), (file.size, file.csum));
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn every_chunk_is_what_the_indexes_say() {
    let store = Store::unpack();
    let mut referenced = std::collections::BTreeSet::new();
    for snapshot in store.snapshots() {
        for (file, index) in snapshot.indexes() {
            for entry in index.entries() {
                let chunk = store.chunk(&entry.digest);
                assert_eq!(chunk.kind().is_encrypted(), file.crypt_mode == CryptMode::Encrypt);
                chunk.verify_chunk(&entry.digest, entry.len(), store.key_of(file)).unwrap();
                chunk.verify_chunk(&entry.digest, entry.len(), None).unwrap();
                referenced.insert(entry.digest);
            }
        }
    }
    assert_eq!(referenced.len(), golden::CHUNKS - 1);
}

#[test]
fn the_chunk_that_nothing_refers_to_is_sound_as_well() {
    let store = Store::unpack();
    let digest = golden::UNREFERENCED_CHUNK.parse().unwrap();
    let plain = store.chunk(&digest).decode(None, formats::MAX_CHUNK_PLAIN).unwrap();

    assert_eq!(store.chunks().len(), golden::CHUNKS);
    assert_eq!(formats::ChunkDigest::of(&plain), digest);
}

#[test]
fn decoded_contents_are_those_that_the_stock_client_restored() {
    let store = Store::unpack();
    for snapshot in store.snapshots() {
        for expected in &snapshot.expected.files {
            let (Some(length), Some(digest)) = (expected.plain_bytes, &expected.plain_sha256) else { continue };
            let plain = if expected.name == formats::MANIFEST_NAME {
                DataBlob::parse(snapshot.read(&expected.name)).unwrap().decode(None, MAX_BLOB_PLAIN).unwrap()
            } else {
                let file = snapshot.manifest.file(&expected.name.parse().unwrap()).unwrap();
                let key = store.key_of(file);
                match Index::parse(file.kind(), snapshot.read(&expected.name)) {
                    Ok(index) => {
                        let decode = |entry: formats::IndexEntry| {
                            store.chunk(&entry.digest).decode_chunk(&entry.digest, entry.len(), key).unwrap()
                        };
                        index.entries().flat_map(decode).collect()
                    }
                    Err(_) => {
                        DataBlob::parse(snapshot.read(&expected.name)).unwrap().decode(key, MAX_BLOB_PLAIN).unwrap()
                    }
                }
            };
            let what = (&snapshot.expected.snapshot, &expected.name);
            assert_eq!((plain.len() as u64, &hex::encode(sha256(&plain))), (length, digest), "{what:?}");
        }
    }
}

#[test]
fn manifests_say_what_the_server_listed() {
    for snapshot in Store::unpack().snapshots() {
        for expected in snapshot.expected.files.iter().filter(|file| file.name != formats::MANIFEST_NAME) {
            let file = snapshot.manifest.file(&expected.name.parse().unwrap()).unwrap();
            assert_eq!((file.size, file.crypt_mode.as_str()), (expected.size, expected.crypt_mode.as_str()));
        }
        assert_eq!(snapshot.manifest.files.len() + 1, snapshot.expected.files.len());
        assert!(snapshot.manifest.upload_stats().is_some());
    }
}

#[test]
fn signatures_are_valid_with_the_key_and_only_with_it() {
    let store = Store::unpack();
    let other = KeyFile::parse(golden::scrypt_key_file()).unwrap().unlock(Some(golden::PASSPHRASE)).unwrap();
    let mut signed = Vec::new();
    for mut snapshot in store.snapshots() {
        match snapshot.manifest.verify_signature(&store.key).unwrap() {
            SignatureState::Unsigned => assert_eq!(snapshot.manifest.key_fingerprint().unwrap(), None),
            SignatureState::Valid => {
                signed.push(snapshot.expected.snapshot);
                assert!(matches!(snapshot.manifest.verify_signature(&other), Err(ManifestError::OtherKey { .. })));
                snapshot.manifest.files[0].csum[0] ^= 1;
                assert!(matches!(snapshot.manifest.verify_signature(&store.key), Err(ManifestError::Signature)));
            }
        }
    }
    assert_eq!(
        signed,
        ["host/signed/2025-10-10T08:59:20Z", "host/secret/2025-10-10T08:58:20Z", "host/secret/2025-10-11T08:58:20Z"]
    );
}

#[test]
fn signing_again_gives_the_stock_signature() {
    let store = Store::unpack();
    for snapshot in store.snapshots().into_iter().filter(|snapshot| snapshot.manifest.signature.is_some()) {
        let mut again = snapshot.manifest.clone();
        again.sign(&store.key);
        assert_eq!(again, snapshot.manifest);
    }
}

#[test]
fn notes_and_verification_results_are_found() {
    let snapshots = Store::unpack().snapshots();
    let notes: Vec<_> = snapshots.iter().filter_map(|snapshot| snapshot.manifest.notes()).collect();
    let verified = snapshots.iter().filter_map(|snapshot| snapshot.manifest.verify_state()).collect::<Vec<_>>();

    assert_eq!(notes.len(), 1);
    assert!(!verified.is_empty() && verified.iter().all(|state| state.state == VerifyResult::Ok));
    assert!(verified.iter().all(|state| state.upid.start_time > 1_700_000_000));
}

#[test]
fn manifests_are_written_again_byte_for_byte() {
    for snapshot in Store::unpack().snapshots() {
        let blob = DataBlob::parse(snapshot.read(formats::MANIFEST_NAME)).unwrap();
        let text = String::from_utf8(blob.decode(None, MAX_BLOB_PLAIN).unwrap()).unwrap();

        assert_eq!(snapshot.manifest.to_json(), text);
        assert_eq!(Manifest::parse_blob(&snapshot.manifest.to_blob().unwrap()).unwrap(), snapshot.manifest);
    }
}

#[test]
fn indexes_are_written_again_byte_for_byte() {
    for snapshot in Store::unpack().snapshots() {
        for (file, index) in snapshot.indexes() {
            let written = match &index {
                Index::Dynamic(_) => {
                    let mut writer = DynamicIndexWriter::new(index.uuid(), index.ctime());
                    index.entries().for_each(|entry| writer.push(entry.digest, entry.end).unwrap());
                    writer.finish().unwrap()
                }
                Index::Fixed(fixed) => {
                    let (size, chunk_size) = (Some(fixed.size()), fixed.chunk_size());
                    let mut writer = FixedIndexWriter::new(index.uuid(), index.ctime(), size, chunk_size).unwrap();
                    for (position, entry) in (0..).zip(index.entries()) {
                        writer.set(position, entry.digest, entry.len()).unwrap();
                    }
                    writer.finish().unwrap()
                }
            };
            assert_eq!(written.bytes, snapshot.read(file.filename.as_str()), "{}", file.filename);
            assert_eq!((written.csum, written.size), (file.csum, file.size));
        }
    }
}

#[test]
fn the_last_chunk_of_an_odd_image_is_short() {
    let store = Store::unpack();
    let snapshots = store.snapshots();
    let odd = snapshots.iter().find(|snapshot| snapshot.expected.snapshot.starts_with("vm/101/")).unwrap();
    let (_, index) = odd.indexes().remove(0);

    let lengths: Vec<_> = index.entries().map(|entry| entry.len()).collect();
    assert_eq!(lengths, [4_194_304, 777]);
}

#[test]
fn key_files_open_as_stock_wrote_them() {
    let plain = KeyFile::parse(golden::key_file()).unwrap();
    assert!(!plain.is_protected());
    assert_eq!(Some(plain.unlock(None).unwrap().fingerprint()), plain.fingerprint());
    assert_eq!(plain.to_json().unwrap().as_bytes(), golden::key_file());

    let scrypt = KeyFile::parse(golden::scrypt_key_file()).unwrap();
    assert_eq!(Some(scrypt.unlock(Some(golden::PASSPHRASE)).unwrap().fingerprint()), scrypt.fingerprint());
    assert!(matches!(scrypt.unlock(Some("another passphrase")), Err(KeyError::WrongPassphrase)));
    assert_eq!(scrypt.to_json().unwrap().as_bytes(), golden::scrypt_key_file());
}
