//! Bytes from somebody who means no good: cut, changed and forged files. Nothing panics, nothing wrong passes.

use bytes::Bytes;
use formats::{
    ArchiveKind, CryptKey, DataBlob, DynamicIndex, FixedIndex, INDEX_HEADER_LEN, Index, KeyFile, MAX_BLOB_PLAIN,
    MAX_CHUNK_PLAIN, Manifest,
};

use crate::golden_store::Store;

fn decodes(blob: impl Into<Bytes>, key: &CryptKey) -> bool {
    DataBlob::parse(blob).and_then(|blob| blob.decode(Some(key), MAX_BLOB_PLAIN)).is_ok()
}

#[test]
fn every_cut_of_a_golden_blob_is_refused() {
    let store = Store::unpack();
    let blobs = store.snapshot_files().into_iter().filter(|(name, _)| name.ends_with(".blob")).map(|(_, bytes)| bytes);
    let chunks = store.chunks().into_iter().map(|digest| store.chunk(&digest).as_bytes().to_vec());
    for bytes in blobs.chain(chunks).map(Bytes::from) {
        assert!(decodes(bytes.clone(), &store.key));
        // Every cut of what is small, the ends and every 997th of what is large: decoding each is quadratic work.
        let tried = |end: &usize| bytes.len() < 5000 || *end < 200 || bytes.len() - end < 20 || end.is_multiple_of(997);
        for end in (0..bytes.len()).filter(tried) {
            assert!(!decodes(bytes.slice(..end), &store.key), "{end} of {}", bytes.len());
        }
    }
}

#[test]
fn no_cut_of_a_golden_chunk_has_the_crc_of_the_whole() {
    // The remaining cuts of the large chunks: a cut behind the header fails on its CRC, which is looked at first.
    let store = Store::unpack();
    for chunk in store.chunks().into_iter().map(|digest| store.chunk(&digest)) {
        let (header, payload) = chunk.as_bytes().split_at(chunk.kind().header_len());
        let whole = u32::from_le_bytes(header[8..12].try_into().unwrap());
        let mut hasher = crc32fast::Hasher::new();
        for (end, byte) in payload.iter().enumerate() {
            assert_ne!(hasher.clone().finalize(), whole, "{end}");
            hasher.update(&[*byte]);
        }
        assert_eq!(hasher.finalize(), whole);
    }
}

#[test]
fn every_cut_of_a_golden_index_is_refused_or_has_another_checksum() {
    for snapshot in Store::unpack().snapshots() {
        for (file, _) in snapshot.indexes() {
            let bytes = Bytes::from(snapshot.read(file.filename.as_str()));
            for end in 0..bytes.len() {
                let Ok(cut) = Index::parse(file.kind(), bytes.slice(..end)) else { continue };
                assert_eq!((file.kind(), (end - INDEX_HEADER_LEN) % 40), (ArchiveKind::Dynamic, 0));
                assert!(cut.csum() != file.csum && cut.size() != file.size);
            }
        }
    }
}

#[test]
fn every_cut_of_a_golden_manifest_or_key_file_is_refused() {
    for snapshot in Store::unpack().snapshots() {
        let blob = DataBlob::parse(snapshot.read(formats::MANIFEST_NAME)).unwrap();
        let text = blob.decode(None, MAX_BLOB_PLAIN).unwrap();
        assert!((0..text.len()).all(|end| Manifest::parse_json(&text[..end]).is_err()));
    }
    for text in [golden::key_file(), golden::scrypt_key_file()] {
        assert!((0..text.len()).all(|end| KeyFile::parse(&text[..end]).is_err()));
    }
}

#[test]
fn an_index_of_one_kind_is_refused_as_the_other() {
    for (name, bytes) in Store::unpack().snapshot_files() {
        if name.ends_with(".didx") {
            assert!(FixedIndex::parse(bytes).is_err());
        } else if name.ends_with(".fidx") {
            assert!(DynamicIndex::parse(bytes).is_err());
        } else {
            assert!(Index::parse_any(bytes).is_err());
        }
    }
}

/// A small generator with a fixed seed, so that a failure comes back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        // xorshift64*, Vigna 2016
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// Changes a file in one to four places.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            // Headers are where the decisions are made.
            let reach = if self.below(2) == 0 { bytes.len().min(100) } else { bytes.len() };
            let at = self.below(reach);
            let value = self.roll().to_le_bytes();
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_slice(&value),
                2 if at < bytes.len() => bytes[at] ^= 1 << (value[0] % 8),
                3 if at < bytes.len() => bytes[at] = value[0],
                4 if at + 8 <= bytes.len() => bytes[at..at + 8].fill(if value[0].is_multiple_of(2) { 0xff } else { 0 }),
                5 if at < bytes.len() => drop(bytes.drain(at..(at + usize::from(value[0])).min(bytes.len()))),
                _ => bytes.splice(at..at, value).for_each(drop),
            }
        }
    }
}

/// Feeds `count` mutations of the samples to a decoder.
fn feed(seed: u64, count: usize, samples: &[Vec<u8>], mut decoder: impl FnMut(Vec<u8>)) {
    let mut dice = Dice(seed);
    for _ in 0..count {
        let mut bytes = samples[dice.below(samples.len())].clone();
        dice.mutate(&mut bytes);
        decoder(bytes);
    }
}

#[test]
fn no_mutation_of_a_golden_index_panics_a_decoder() {
    let files = Store::unpack().snapshot_files();
    let samples: Vec<_> = files.into_iter().filter(|(name, _)| name.ends_with("idx")).map(|(_, bytes)| bytes).collect();
    let mut parsed = 0;
    feed(1, 4000, &samples, |bytes| {
        if let Ok(index) = Index::parse_any(bytes) {
            let total: u64 = index.entries().map(|entry| entry.len()).sum();
            assert_eq!(total, index.size());
            index.csum();
            parsed += 1;
        }
    });
    assert!(parsed > 100, "only {parsed} mutations got past the header");
}

#[test]
fn no_mutation_of_a_golden_blob_panics_a_decoder() {
    let store = Store::unpack();
    let files = store.snapshot_files().into_iter().filter(|(name, _)| name.ends_with(".blob")).map(|(_, bytes)| bytes);
    let chunks = store.chunks().into_iter().map(|digest| store.chunk(&digest).as_bytes().to_vec());
    let samples: Vec<_> = files.chain(chunks.filter(|chunk| chunk.len() < 20_000)).collect();
    let digest = formats::ChunkDigest::of(b"");
    feed(2, 2000, &samples, |bytes| {
        let Ok(blob) = DataBlob::parse(bytes) else { return };
        // With its CRC made good, the bytes reach the decoders behind it.
        for blob in [blob.clone(), blob.with_fresh_crc()] {
            let _ = blob.decode(Some(&store.key), MAX_CHUNK_PLAIN);
            let _ = blob.decode(None, 1000);
            let _ = blob.verify_chunk(&digest, 100, Some(&store.key));
            let _ = blob.decode_chunk(&digest, 100, None);
        }
    });
}

#[test]
fn no_mutation_of_a_golden_manifest_panics_a_decoder() {
    let store = Store::unpack();
    let texts = store.snapshots().into_iter().map(|snapshot| snapshot.manifest.to_json().into_bytes());
    feed(3, 2000, &texts.collect::<Vec<_>>(), |bytes| {
        let Ok(manifest) = Manifest::parse_json(&bytes) else { return };
        let _ = (manifest.verify_signature(&store.key), manifest.key_fingerprint(), manifest.verify_state());
        assert_eq!(Manifest::parse_json(manifest.to_json().as_bytes()).unwrap(), manifest);
    });
}

#[test]
fn no_mutation_of_a_golden_key_file_panics_a_decoder() {
    feed(4, 2000, &[golden::key_file().to_vec()], |bytes| {
        let _ = KeyFile::parse(&bytes).and_then(|file| file.unlock(Some("passphrase")));
    });
    // Deriving a key from a passphrase takes its time, so these are only parsed.
    feed(5, 2000, &[golden::scrypt_key_file().to_vec()], |bytes| {
        let _ = KeyFile::parse(&bytes).is_ok_and(|file| file.is_protected());
    });
}
