use super::*;
use crate::crypt::CryptKey;
use crate::crypt::tests::vector_key;
use crate::digest::sha256;

fn noise(len: usize) -> Vec<u8> {
    (0u64..).flat_map(|at| sha256(&at.to_le_bytes())).take(len).collect()
}

/// Wraps a payload as if it had been written by somebody with other intentions.
fn forged(kind: BlobKind, payload: &[u8]) -> DataBlob {
    let mut bytes = vec![0; kind.header_len()];
    bytes.extend_from_slice(payload);
    DataBlob::with_header(kind, bytes)
}

#[test]
fn a_plain_blob_has_the_bytes_of_the_vector() {
    let blob = DataBlob::encode(b"hello", false, None).unwrap();

    assert_eq!(hex::encode(blob.as_bytes()), "42ab3807be8370a186a6103668656c6c6f");
    let digest = "9c5944aba3379b450612203cafb5bf60c2358103550b7f799d197f4668f169d5";
    assert_eq!(hex::encode(sha256(blob.as_bytes())), digest);
}

#[test]
fn an_encrypted_blob_has_the_bytes_of_the_vector() {
    let bytes = "7b6785be222d4cf0784eea93000102030405060708090a0b0c0d0e0f0c84c431837297c0b19e77e5608162ea0f09cc1a56";
    let key = vector_key();

    let blob = DataBlob::parse(hex::decode(bytes).unwrap()).unwrap();
    assert_eq!(blob.kind(), BlobKind::Encrypted);
    assert_eq!(blob.decode(Some(&key), 5).unwrap(), b"hello");

    let mut payload = b"hello".to_vec();
    let iv = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let tag = key.encrypt_with_nonce(&iv, &mut payload).unwrap();
    let again = DataBlob::with_header(BlobKind::Encrypted, [&[0; 12], &iv[..], &tag, &payload].concat());
    assert_eq!(hex::encode(again.as_bytes()), bytes);
}

#[test]
fn every_kind_decodes_to_what_was_encoded() {
    let key = vector_key();
    for plain in [Vec::new(), b"x".to_vec(), noise(100_000), vec![7; 1 << 20]] {
        for key in [None, Some(&key)] {
            for compress in [false, true] {
                let blob = DataBlob::encode(&plain, compress, key).unwrap();
                assert_eq!(blob.decode(key, plain.len()).unwrap(), plain);
                let digest = key.map_or_else(|| ChunkDigest::of(&plain), |key| key.digest(&plain));
                blob.verify_chunk(&digest, plain.len() as u64, key).unwrap();
                assert_eq!(blob.decode_chunk(&digest, plain.len() as u64, key).unwrap(), plain);
            }
        }
    }
}

#[test]
fn compression_is_kept_only_when_it_does_not_lengthen() {
    assert_eq!(DataBlob::encode(&noise(4096), true, None).unwrap().kind(), BlobKind::Plain);
    assert_eq!(DataBlob::encode(&[0; 4096], true, None).unwrap().kind(), BlobKind::Compressed);
    assert_eq!(DataBlob::encode(b"", true, None).unwrap().kind(), BlobKind::Plain);
    let key = vector_key();
    assert_eq!(DataBlob::encode(&noise(4096), true, Some(&key)).unwrap().encoded_len(), 4096 + 44);
    assert_eq!(DataBlob::encode(&[0; 4096], true, Some(&key)).unwrap().kind(), BlobKind::EncryptedCompressed);
}

#[test]
fn the_same_data_is_never_encrypted_to_the_same_bytes() {
    let key = vector_key();
    let encode = || DataBlob::encode(b"same", true, Some(&key)).unwrap();

    assert_ne!(encode().as_bytes(), encode().as_bytes());
    assert_eq!(encode().encoded_len(), encode().encoded_len());
}

#[test]
fn every_cut_of_a_blob_is_refused() {
    let key = vector_key();
    for key in [None, Some(&key)] {
        for plain in [noise(300), vec![1; 300]] {
            let whole = DataBlob::encode(&plain, true, key).unwrap().into_bytes();
            for end in 0..whole.len() {
                let cut = DataBlob::parse(whole.slice(..end));
                assert!(cut.and_then(|blob| blob.decode(key, 300)).is_err(), "{end} of {}", whole.len());
            }
        }
    }
}

#[test]
fn a_wrong_magic_is_named() {
    let error = DataBlob::parse(vec![1; 100]).unwrap_err();

    assert_eq!(error.to_string(), "unknown blob magic 0101010101010101");
}

#[test]
fn a_changed_byte_behind_the_header_fails_the_crc() {
    let mut bytes = DataBlob::encode(b"hello", false, None).unwrap().as_bytes().to_vec();
    bytes[14] ^= 1;

    let blob = DataBlob::parse(bytes).unwrap();
    assert!(matches!(blob.verify_crc(), Err(BlobError::Crc { .. })));
    assert!(matches!(blob.decode(None, 100), Err(BlobError::Crc { .. })));
    blob.with_fresh_crc().verify_crc().unwrap();
}

#[test]
fn a_changed_tag_or_another_key_does_not_decrypt() {
    let key = vector_key();
    let blob = DataBlob::encode(b"hello", false, Some(&key)).unwrap();
    let mut bytes = blob.as_bytes().to_vec();
    bytes[30] ^= 1;

    let changed = DataBlob::parse(bytes).unwrap();
    changed.verify_crc().unwrap(); // the tag lies outside the CRC
    assert!(matches!(changed.decode(Some(&key), 100), Err(BlobError::Decrypt)));
    assert!(matches!(blob.decode(Some(&CryptKey::from_bytes([9; 32])), 100), Err(BlobError::Decrypt)));
    assert!(matches!(blob.decode(None, 100), Err(BlobError::KeyNeeded)));
}

#[test]
fn content_over_the_limit_is_refused_in_every_kind() {
    let key = vector_key();
    for plain in [noise(1000), vec![0; 1000]] {
        for key in [None, Some(&key)] {
            let blob = DataBlob::encode(&plain, true, key).unwrap();
            assert!(matches!(blob.decode(key, 999), Err(BlobError::TooLong { limit: 999 })));
            assert_eq!(blob.decode(key, 1000).unwrap().len(), 1000);
        }
    }
}

#[test]
fn a_zstd_bomb_ends_at_the_limit() {
    let bomb = zstd::bulk::compress(&vec![0; 128 << 20], 19).unwrap();
    assert!(bomb.len() < 1 << 20);
    let blob = forged(BlobKind::Compressed, &bomb);

    assert!(matches!(blob.decode(None, 100_000), Err(BlobError::TooLong { limit: 100_000 })));
    assert!(matches!(blob.verify_chunk(&ChunkDigest::of(b""), 100_000, None), Err(BlobError::Zstd(_))));
    assert!(matches!(blob.decode_chunk(&ChunkDigest::of(b""), 100_000, None), Err(BlobError::Zstd(_))));
}

#[test]
fn a_frame_that_promises_much_and_holds_little_allocates_little() {
    // Magic, single segment with an 8-byte content size of 127 MiB, and then one last raw block.
    let frame = |block: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(127u64 << 20).to_le_bytes(), block].concat();

    let one_byte = forged(BlobKind::Compressed, &frame(&[9, 0, 0, 0x55]));
    assert!(matches!(one_byte.decode(None, MAX_BLOB_PLAIN), Err(BlobError::Zstd(_))));
    // The library lets the empty block pass; nothing was made for the promised 127 MiB.
    let nothing = forged(BlobKind::Compressed, &frame(&[1, 0, 0]));
    assert!(nothing.decode(None, MAX_BLOB_PLAIN).is_ok_and(|plain| plain.capacity() <= 64 << 10));
}

#[test]
fn bytes_after_the_zstd_frame_are_refused() {
    let frame = zstd::bulk::compress(&[0; 1000], 1).unwrap();
    for tail in [&[0][..], b"tail that is no frame"] {
        let blob = forged(BlobKind::Compressed, &[&frame[..], tail].concat());
        assert!(blob.decode(None, 100_000).is_err());
        assert!(blob.verify_chunk(&ChunkDigest::of(&[0; 1000]), 1000, None).is_err());
    }
}

#[test]
fn streams_of_any_level_and_of_unknown_length_are_read() {
    let plain = [noise(300_000), vec![5; 300_000]].concat();
    for level in [1, 3, 19, 22] {
        let frame = zstd::stream::encode_all(&plain[..], level).unwrap();
        let blob = forged(BlobKind::Compressed, &frame);
        assert_eq!(blob.decode(None, MAX_BLOB_PLAIN).unwrap(), plain);
        blob.verify_chunk(&ChunkDigest::of(&plain), plain.len() as u64, None).unwrap();
    }
}

#[test]
fn a_chunk_of_another_length_or_content_is_refused() {
    for compress in [false, true] {
        let blob = DataBlob::encode(&[3; 5000], compress, None).unwrap();
        let digest = ChunkDigest::of(&[3; 5000]);
        for size in [0, 4999, 5001] {
            assert!(blob.verify_chunk(&digest, size, None).is_err(), "{size}");
        }
        assert!(matches!(blob.verify_chunk(&ChunkDigest::of(b"other"), 5000, None), Err(BlobError::Digest { .. })));
        let huge = blob.verify_chunk(&digest, u64::MAX, None);
        assert!(matches!(huge, Err(BlobError::TooLong { limit: MAX_CHUNK_PLAIN })));
    }
}

#[test]
fn an_encrypted_chunk_is_checked_as_far_as_possible_without_its_key() {
    let key = vector_key();
    let plain = noise(500);
    let blob = DataBlob::encode(&plain, false, Some(&key)).unwrap();
    let digest = key.digest(&plain);

    blob.verify_chunk(&digest, 500, None).unwrap();
    assert!(blob.verify_chunk(&digest, 501, None).is_err());
    assert!(matches!(blob.verify_chunk(&ChunkDigest::of(&plain), 500, Some(&key)), Err(BlobError::Digest { .. })));
}
