//! Decoding after encoding is identity, for every pair; and no text or bytes whatever panic a parser.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use formats::*;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn safe_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_][A-Za-z0-9._-]{0,30}"
}

fn auth_id() -> impl Strategy<Value = AuthId> {
    let user = "[a-z!@.\u{e4}-\u{f6}]{1,20}@[a-z0-9_][a-z0-9._-]{1,10}";
    let text = (user, proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,15}"));
    text.prop_map(|(user, token)| user + &token.map(|token| format!("!{token}")).unwrap_or_default())
        .prop_filter_map("the last `@` may come late", |text| text.parse().ok())
}

fn namespace() -> impl Strategy<Value = Namespace> {
    vec(safe_id(), 0..=7).prop_map(|components| components.join("/").parse().unwrap())
}

fn group() -> impl Strategy<Value = GroupId> {
    let id = prop_oneof![safe_id(), "[0-9]{1,22}"];
    ("(vm|ct|host)", id).prop_map(|(kind, id)| format!("{kind}/{id}").parse().unwrap())
}

fn time() -> impl Strategy<Value = BackupTime> {
    (1..=253_402_300_799_i64).prop_map(|seconds| BackupTime::from_unix(seconds).unwrap())
}

fn digest() -> impl Strategy<Value = ChunkDigest> {
    any::<[u8; 32]>().prop_map(ChunkDigest::from_bytes)
}

fn key() -> impl Strategy<Value = CryptKey> {
    any::<[u8; 32]>().prop_map(CryptKey::from_bytes)
}

fn archive_name() -> impl Strategy<Value = ArchiveName> {
    (safe_id(), "(fidx|didx|blob)").prop_map(|(stem, ending)| format!("{stem}.{ending}").parse().unwrap())
}

fn upid() -> impl Strategy<Value = Upid> {
    let node = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?";
    let id = proptest::option::of("\\PC{1,30}");
    let numbers = (any::<u32>(), 0..1_u64 << 36, any::<u64>(), any::<u32>());
    (node, numbers, "[^:/\\s\\p{C}]{1,12}", id, auth_id()).prop_map(
        |(node, numbers, worker_type, worker_id, auth_id)| {
            let (pid, pstart, task_id, start_time) = numbers;
            Upid { node, pid, pstart, task_id, start_time: i64::from(start_time), worker_type, worker_id, auth_id }
        },
    )
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let members = vec((any::<String>(), inner.clone()), 0..5);
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::from),
            members.prop_map(|all| Value::Object(all.into_iter().collect()))
        ]
    })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let mode = prop_oneof![Just(CryptMode::None), Just(CryptMode::Encrypt), Just(CryptMode::SignOnly)];
    let file = (archive_name(), mode, any::<u64>(), any::<[u8; 32]>());
    let file = file.prop_map(|(filename, crypt_mode, size, csum)| FileInfo { filename, crypt_mode, size, csum });
    let unprotected = vec((any::<String>(), json()), 0..4);
    (group(), time(), vec(file, 0..6), unprotected).prop_map(|(group, time, files, unprotected)| {
        let mut manifest = Manifest::new(SnapshotId::new(group, time));
        files.into_iter().for_each(|file| drop(manifest.add(file)));
        manifest.unprotected = unprotected.into_iter().collect();
        manifest
    })
}

/// The text of a value is read as the same value, on its own and in JSON.
fn survives<T>(value: &T) -> Result<(), TestCaseError>
where
    T: FromStr<Err: Debug> + Display + Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    prop_assert_eq!(&value.to_string().parse::<T>().unwrap(), value);
    prop_assert_eq!(&serde_json::from_value::<T>(serde_json::to_value(value).unwrap()).unwrap(), value);
    Ok(())
}

/// Whatever text a parser takes, it gives back the same when asked.
fn takes_only_its_own<T: FromStr + Display>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(value) = text.parse::<T>() {
        prop_assert_eq!(value.to_string(), text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn names_survive_their_text(namespace in namespace(), group in group(), auth in auth_id(), archive in archive_name()) {
        survives(&namespace)?;
        survives(&group)?;
        survives(&group.id)?;
        survives(&auth)?;
        survives(auth.user())?;
        survives(&archive)?;
    }

    #[test]
    fn snapshots_and_times_survive_their_text(group in group(), time in time()) {
        prop_assert_eq!(time.to_string().parse::<BackupTime>().unwrap(), time);
        survives(&SnapshotId::new(group, time))?;
    }

    #[test]
    fn later_times_have_later_texts(a in time(), b in time()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn digests_and_fingerprints_survive_their_text(bytes in any::<[u8; 32]>()) {
        survives(&ChunkDigest::from_bytes(bytes))?;
        survives(&Fingerprint::from_bytes(bytes))?;
    }

    #[test]
    fn upids_survive_their_text_and_are_file_names(upid in upid()) {
        survives(&upid)?;
        prop_assert!(!upid.to_string().contains(['/', '\n', '\0', ' ']));
    }

    #[test]
    fn escaped_names_survive(text in ".*") {
        let escaped = escape_unit_name(&text);
        prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.\\".contains(&byte)));
        prop_assert_eq!(unescape_unit_name(&escaped).unwrap(), text);
    }

    #[test]
    fn no_text_panics_a_parser(text in "(\\PC|[\\n:/@!.-]){0,60}") {
        takes_only_its_own::<Namespace>(&text)?;
        takes_only_its_own::<GroupId>(&text)?;
        takes_only_its_own::<SnapshotId>(&text)?;
        takes_only_its_own::<BackupTime>(&text)?;
        takes_only_its_own::<ArchiveName>(&text)?;
        takes_only_its_own::<StoreName>(&text)?;
        takes_only_its_own::<AuthId>(&text)?;
        takes_only_its_own::<UserId>(&text)?;
        takes_only_its_own::<ChunkDigest>(&text)?;
        let _ = (text.parse::<Upid>(), text.parse::<Fingerprint>(), text.parse::<GroupFilter>());
        let _ = (unescape_unit_name(&text), ArchiveName::from_user_name(&text), lock_path(&Namespace::root(), &text));
    }

    #[test]
    fn no_bytes_panic_a_decoder(magic in 0..7_usize, tail in vec(any::<u8>(), 0..5000), key in key()) {
        let magics = ["42ab3807be8370a1", "31b958426fb6a37f", "7b6785be222d4cf0", "e6591bbf0bbfd80b", "2f7f41ed91fd0fcd",
            "1c914ea519bab3cd", ""];
        let bytes = [hex::decode(magics[magic]).unwrap(), tail].concat();
        let _ = (Index::parse_any(bytes.clone()), Manifest::parse_json(&bytes), KeyFile::parse(&bytes));
        if let Ok(blob) = DataBlob::parse(bytes) {
            let _ = blob.with_fresh_crc().decode(Some(&key), 100_000);
        }
    }

    #[test]
    fn moving_a_namespace_there_and_back_changes_nothing(from in namespace(), to in namespace(), below in namespace()) {
        let Ok(inside) = below.map_prefix(&Namespace::root(), &from) else { return Ok(()) };
        prop_assert!(from.contains(&inside));
        if let Ok(moved) = inside.map_prefix(&from, &to) {
            prop_assert!(to.contains(&moved));
            prop_assert_eq!(moved.map_prefix(&to, &from).unwrap(), inside);
        }
    }

    #[test]
    fn a_parent_sorts_before_and_contains_its_child(namespace in namespace()) {
        if let Some(parent) = namespace.parent() {
            prop_assert!(parent < namespace && parent.contains(&namespace) && !namespace.contains(&parent));
            prop_assert_eq!(parent.join(namespace.name().unwrap()).unwrap(), namespace);
        }
    }

    #[test]
    fn the_order_of_groups_is_total(a in group(), b in group(), c in group()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn filters_survive_their_text(exclude in any::<bool>(), group in group(), expression in "[a-z0-9/:^$.*+]{0,12}") {
        let prefix = if exclude { "exclude:" } else { "" };
        for text in [format!("{prefix}group:{group}"), format!("{prefix}regex:{expression}"), format!("{prefix}type:vm")] {
            if let Ok(filter) = text.parse::<GroupFilter>() {
                prop_assert_eq!(filter.to_string(), text);
                survives(&filter)?;
            }
        }
    }

    #[test]
    fn an_exclusion_never_lets_more_through(filters in vec(group(), 0..4), group in group()) {
        let includes: Vec<GroupFilter> = filters.iter().map(|group| format!("group:{group}").parse().unwrap()).collect();
        let with_exclusion = includes.iter().cloned().chain([format!("exclude:group:{group}").parse().unwrap()]);
        prop_assert!(!with_exclusion.collect::<FilterSet>().accepts(&group));
        prop_assert_eq!(FilterSet::new(includes).accepts(&group), filters.is_empty() || filters.contains(&group));
    }

    #[test]
    fn blobs_survive_encoding(
        pattern in vec(any::<u8>(), 0..500), repeat in 0..50_usize, compress in any::<bool>(), key in proptest::option::of(key()),
    ) {
        let plain = pattern.repeat(repeat);
        let blob = DataBlob::encode(&plain, compress, key.as_ref()).unwrap();
        let again = DataBlob::parse(blob.to_bytes()).unwrap();
        prop_assert_eq!(&again, &blob);
        prop_assert!(blob.encoded_len() <= (plain.len() + blob.kind().header_len()) as u64);
        prop_assert_eq!(blob.kind().is_encrypted(), key.is_some());
        prop_assert_eq!(again.decode(key.as_ref(), plain.len()).unwrap(), plain);
    }

    #[test]
    fn a_changed_byte_never_passes_as_the_chunk(
        plain in vec(any::<u8>(), 1..2000), compress in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let blob = DataBlob::encode(&plain, compress, None).unwrap();
        let mut bytes = blob.as_bytes().to_vec();
        bytes[at.index(blob.as_bytes().len())] ^= flip;
        let verified = DataBlob::parse(bytes).and_then(|blob| {
            blob.with_fresh_crc().verify_chunk(&ChunkDigest::of(&plain), plain.len() as u64, None)
        });
        // Bytes that are not part of the content (the CRC, parts of a frame's header) may change without harm; a chunk
        // that passes has the right content.
        if verified.is_err() {
            return Ok(());
        }
        prop_assert!(compress || at.index(blob.as_bytes().len()) < 12);
    }

    #[test]
    fn dynamic_indexes_survive_writing(
        ends in btree_set(1..10_000_000_u64, 1..50), digests in vec(digest(), 50), uuid in any::<[u8; 16]>(), ctime in any::<i64>(),
    ) {
        let mut writer = DynamicIndexWriter::new(uuid, ctime);
        for (end, digest) in ends.iter().zip(&digests) {
            writer.push(*digest, *end).unwrap();
        }
        let written = writer.finish().unwrap();
        let index = Index::parse(ArchiveKind::Dynamic, written.bytes.clone()).unwrap();
        prop_assert_eq!((index.csum(), index.size(), index.len() as u64), (written.csum, written.size, written.chunks));
        prop_assert_eq!((index.uuid(), index.ctime(), index.header_csum()), (uuid, ctime, written.csum));
        let found: Vec<_> = index.entries().map(|entry| (entry.end, entry.digest)).collect();
        prop_assert_eq!(found, ends.into_iter().zip(digests).collect::<Vec<_>>());
        for position in 0..index.len() {
            let entry = index.entry(position).unwrap();
            prop_assert_eq!(index.position_of(entry.start), Some(position));
            prop_assert_eq!(index.position_of(entry.end - 1), Some(position));
        }
    }

    #[test]
    fn fixed_indexes_survive_writing_in_any_order(
        (digests, order) in vec(digest(), 1..40).prop_flat_map(|all| (Just(all.clone()), Just((0..all.len()).collect::<Vec<_>>()).prop_shuffle())),
        shift in 6..40_u32, last in any::<u64>(), known in any::<bool>(),
    ) {
        let chunk_size = 1_u64 << shift;
        let last = last % chunk_size + 1;
        let size = (digests.len() as u64 - 1) * chunk_size + last;
        let mut writer = FixedIndexWriter::new([1; 16], 2, known.then_some(size), chunk_size).unwrap();
        for position in order {
            let len = if position + 1 == digests.len() { last } else { chunk_size };
            writer.set(position as u64, digests[position], len).unwrap();
        }
        let written = writer.finish().unwrap();
        let index = Index::parse_any(written.bytes.clone()).unwrap();
        prop_assert_eq!((index.csum(), index.size(), index.len() as u64), (written.csum, size, written.chunks));
        prop_assert_eq!(index.entries().map(|entry| entry.digest).collect::<Vec<_>>(), digests);
        prop_assert_eq!(index.entries().map(|entry| entry.len()).sum::<u64>(), size);
        prop_assert_eq!(index.position_of(size - 1), Some(index.len() - 1));
    }

    #[test]
    fn manifests_survive_their_json(manifest in manifest(), notes in any::<String>()) {
        let mut manifest = manifest;
        manifest.set_notes(&notes);
        let again = Manifest::parse_json(manifest.to_json().as_bytes()).unwrap();
        prop_assert_eq!(again.notes(), Some(notes.as_str()));
        prop_assert_eq!(again.to_json(), manifest.to_json());
        prop_assert_eq!(&again, &manifest);
        prop_assert_eq!(Manifest::parse_blob(&manifest.to_blob().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_and_for_nothing_else(manifest in manifest(), other in manifest(), key in key()) {
        let mut signed = manifest;
        signed.sign(&key);
        let again = Manifest::parse_json(signed.to_json().as_bytes()).unwrap();
        prop_assert_eq!(again.verify_signature(&key).unwrap(), SignatureState::Valid);
        let forged = Manifest { signature: signed.signature.clone(), unprotected: signed.unprotected.clone(), ..other };
        if forged.canonical_signed_part() != signed.canonical_signed_part() {
            prop_assert!(forged.verify_signature(&key).is_err());
        }
    }

    #[test]
    fn canonical_json_reads_as_the_same_fields(manifest in manifest()) {
        let again = Manifest::parse_json(&manifest.canonical_signed_part()).unwrap();
        prop_assert_eq!(again.canonical_signed_part(), manifest.canonical_signed_part());
    }

    #[test]
    fn unprotected_key_files_survive(key in key(), now in 0..4_000_000_000_i64) {
        let file = KeyFile::new(&key, Protection::None, now).unwrap();
        let again = KeyFile::parse(file.to_json().unwrap().as_bytes()).unwrap();
        prop_assert_eq!(&again, &file);
        prop_assert_eq!(again.unlock(None).unwrap().fingerprint(), key.fingerprint());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn key_files_under_a_passphrase_survive(key in key(), passphrase in "\\PC{5,20}") {
        let file = KeyFile::new(&key, Protection::Pbkdf2(&passphrase), 1).unwrap();
        let again = KeyFile::parse(file.to_json().unwrap().as_bytes()).unwrap();
        prop_assert_eq!(again.unlock(Some(&passphrase)).unwrap().fingerprint(), key.fingerprint());
        let wrong = passphrase + "x";
        prop_assert!(again.unlock(Some(&wrong)).is_err());
    }
}
