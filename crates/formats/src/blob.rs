//! DataBlob: the container of every chunk and every `.blob` file (`docs/formats.md`, "DataBlob").

use std::fmt;

use bytes::Bytes;

use crate::compress::{ZstdFailure, compress, decompress_and, decompress_growing, decompress_known};
use crate::crypt::CryptKey;
use crate::digest::ChunkDigest;

/// Largest chunk before encoding: 16 MiB.
pub const MAX_CHUNK_PLAIN: usize = 16 << 20;
/// Largest chunk or blob after encoding, on the wire: 16 MiB and the longest header.
pub const MAX_CHUNK_ENCODED: usize = MAX_CHUNK_PLAIN + ENCRYPTED_HEADER_LEN;
/// Largest blob before encoding: 128 MiB.
pub const MAX_BLOB_PLAIN: usize = 128 << 20;
/// Length of every chunk of an image but the last: 4 MiB.
pub const FIXED_CHUNK_SIZE: u64 = 4 << 20;

const PLAIN_HEADER_LEN: usize = 12;
const ENCRYPTED_HEADER_LEN: usize = 44;

/// What is in a blob, told by its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// The bytes as they are.
    Plain,
    /// A zstd stream.
    Compressed,
    /// The bytes encrypted.
    Encrypted,
    /// A zstd stream, encrypted.
    EncryptedCompressed,
}

impl BlobKind {
    const ALL: [BlobKind; 4] =
        [BlobKind::Plain, BlobKind::Compressed, BlobKind::Encrypted, BlobKind::EncryptedCompressed];

    /// Tells whether a key is needed to read it.
    pub fn is_encrypted(self) -> bool {
        matches!(self, BlobKind::Encrypted | BlobKind::EncryptedCompressed)
    }

    /// Tells whether it holds a zstd stream.
    pub fn is_compressed(self) -> bool {
        matches!(self, BlobKind::Compressed | BlobKind::EncryptedCompressed)
    }

    /// Returns the length of the header in bytes, which is also the shortest possible blob.
    pub fn header_len(self) -> usize {
        if self.is_encrypted() { ENCRYPTED_HEADER_LEN } else { PLAIN_HEADER_LEN }
    }

    /// Returns the first 8 bytes of such a blob.
    pub fn magic(self) -> [u8; 8] {
        match self {
            BlobKind::Plain => [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1],
            BlobKind::Compressed => [0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f],
            BlobKind::Encrypted => [0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0],
            BlobKind::EncryptedCompressed => [0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b],
        }
    }

    fn of_magic(magic: [u8; 8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.magic() == magic)
    }
}

/// Why a blob was not read or made.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It does not even hold its header.
    #[error("blob of {len} bytes is shorter than its header")]
    Short {
        /// Length of what was given.
        len: usize,
    },
    /// It begins with none of the four magics.
    #[error("unknown blob magic {}", hex::encode(.magic))]
    Magic {
        /// The first 8 bytes.
        magic: [u8; 8],
    },
    /// The bytes behind the header are not those that were written.
    #[error("blob CRC is {found:08x}, its header says {expected:08x}")]
    Crc {
        /// From the header.
        expected: u32,
        /// Computed.
        found: u32,
    },
    /// The blob is encrypted and no key was given.
    #[error("blob is encrypted and no key was given")]
    KeyNeeded,
    /// The tag does not fit: another key, or changed bytes.
    #[error("blob cannot be decrypted: another key, or changed bytes")]
    Decrypt,
    /// Encryption failed, for want of random bytes.
    #[error("blob cannot be encrypted")]
    Encrypt,
    /// The zstd stream is broken.
    #[error("blob holds no valid zstd stream")]
    Zstd(#[source] std::io::Error),
    /// The plain bytes are more than the limit.
    #[error("blob holds more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A chunk's plain length is not what its index says.
    #[error("chunk holds {found} bytes, its index says {expected}")]
    PlainLength {
        /// From the index.
        expected: u64,
        /// Really there.
        found: u64,
    },
    /// A chunk's content is not what its name says.
    #[error("chunk {expected} holds the content of {found}")]
    Digest {
        /// The chunk's name.
        expected: ChunkDigest,
        /// The name that its content has.
        found: ChunkDigest,
    },
}

/// An encoded blob whose magic and minimum length were checked; clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct DataBlob {
    kind: BlobKind,
    encoded: Bytes,
}

impl DataBlob {
    /// Takes encoded bytes after a look at magic and minimum length; the CRC is not looked at.
    ///
    /// # Errors
    /// [`BlobError::Short`] or [`BlobError::Magic`].
    pub fn parse(encoded: impl Into<Bytes>) -> Result<DataBlob, BlobError> {
        let encoded = encoded.into();
        let short = BlobError::Short { len: encoded.len() };
        let Some(magic) = encoded.first_chunk::<8>().copied() else { return Err(short) };
        let Some(kind) = BlobKind::of_magic(magic) else { return Err(BlobError::Magic { magic }) };
        if encoded.len() < kind.header_len() { Err(short) } else { Ok(Self { kind, encoded }) }
    }

    /// Encodes `plain`, compressed when asked for and worth it, encrypted when a key is given.
    ///
    /// # Errors
    /// [`BlobError::TooLong`] above [`MAX_BLOB_PLAIN`], [`BlobError::Encrypt`] without randomness.
    pub fn encode(plain: &[u8], compress: bool, key: Option<&CryptKey>) -> Result<DataBlob, BlobError> {
        if plain.len() > MAX_BLOB_PLAIN {
            return Err(BlobError::TooLong { limit: MAX_BLOB_PLAIN });
        }
        let header_len = if key.is_some() { ENCRYPTED_HEADER_LEN } else { PLAIN_HEADER_LEN };
        let compressed = if compress { compressed_behind_header(plain, header_len) } else { None };
        let (mut bytes, is_compressed) = match compressed {
            Some(bytes) => (bytes, true),
            None => {
                let mut bytes = Vec::with_capacity(header_len + plain.len());
                bytes.resize(header_len, 0);
                bytes.extend_from_slice(plain);
                (bytes, false)
            }
        };
        let kind = match (key.is_some(), is_compressed) {
            (false, false) => BlobKind::Plain,
            (false, true) => BlobKind::Compressed,
            (true, false) => BlobKind::Encrypted,
            (true, true) => BlobKind::EncryptedCompressed,
        };
        if let Some(key) = key {
            let (iv, tag) = key.encrypt(&mut bytes[header_len..]).map_err(|_| BlobError::Encrypt)?;
            bytes[12..28].copy_from_slice(&iv);
            bytes[28..44].copy_from_slice(&tag);
        }
        Ok(Self::with_header(kind, bytes))
    }

    /// Returns the kind.
    pub fn kind(&self) -> BlobKind {
        self.kind
    }

    /// Returns the length of the encoded bytes, header included.
    pub fn encoded_len(&self) -> u64 {
        self.encoded.len() as u64
    }

    /// Returns the encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Returns the encoded bytes without copying them.
    pub fn into_bytes(self) -> Bytes {
        self.encoded
    }

    /// Returns the encoded bytes without copying them.
    pub fn to_bytes(&self) -> Bytes {
        self.encoded.clone()
    }

    /// Compares the CRC in the header with that of the bytes behind it.
    ///
    /// # Errors
    /// [`BlobError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BlobError> {
        let (expected, found) = (self.header_crc(), crc32fast::hash(self.payload()));
        if expected == found { Ok(()) } else { Err(BlobError::Crc { expected, found }) }
    }

    /// Returns the same blob with the CRC that its payload has.
    pub fn with_fresh_crc(self) -> DataBlob {
        if self.verify_crc().is_ok() {
            return self;
        }
        Self::with_header(self.kind, Vec::from(self.encoded))
    }

    /// Decodes: CRC, decryption, decompression. Never allocates for more than `max_plain` bytes of content, and trusts
    /// no length inside.
    ///
    /// # Errors
    /// Whatever is wrong first, in that order.
    pub fn decode(&self, key: Option<&CryptKey>, max_plain: usize) -> Result<Vec<u8>, BlobError> {
        let limit = |payload: &[u8]| {
            if payload.len() > max_plain { Err(BlobError::TooLong { limit: max_plain }) } else { Ok(()) }
        };
        self.verify_crc()?;
        match self.kind {
            BlobKind::Plain => limit(self.payload()).map(|()| self.payload().to_vec()),
            BlobKind::Compressed => {
                decompress_growing(self.payload(), max_plain).map_err(|failure| zstd_error(failure, max_plain))
            }
            BlobKind::Encrypted => limit(self.payload()).and_then(|()| self.decrypt(key)),
            BlobKind::EncryptedCompressed => {
                decompress_growing(&self.decrypt(key)?, max_plain).map_err(|failure| zstd_error(failure, max_plain))
            }
        }
    }

    /// Decodes a chunk of known plain length and compares its content with its name.
    ///
    /// # Errors
    /// As [`DataBlob::verify_chunk`]; an encrypted chunk needs the key.
    pub fn decode_chunk(
        &self,
        digest: &ChunkDigest,
        plain_size: u64,
        key: Option<&CryptKey>,
    ) -> Result<Vec<u8>, BlobError> {
        let limit = chunk_limit(plain_size)?;
        self.verify_crc()?;
        let plain = match self.kind {
            BlobKind::Plain => self.payload().to_vec(),
            BlobKind::Compressed => {
                decompress_known(self.payload(), limit).map_err(|failure| zstd_error(failure, limit))?
            }
            BlobKind::Encrypted => self.decrypt(key)?,
            BlobKind::EncryptedCompressed => {
                decompress_known(&self.decrypt(key)?, limit).map_err(|failure| zstd_error(failure, limit))?
            }
        };
        self.check_plain(&plain, digest, plain_size, key)?;
        Ok(plain)
    }

    /// Checks that this is the chunk `digest` of `plain_size` bytes: CRC always; content length and digest for the
    /// unencrypted kinds, and for the encrypted ones when the key is given.
    ///
    /// # Errors
    /// Whatever does not fit; [`BlobError::TooLong`] for a `plain_size` above [`MAX_CHUNK_PLAIN`].
    pub fn verify_chunk(&self, digest: &ChunkDigest, plain_size: u64, key: Option<&CryptKey>) -> Result<(), BlobError> {
        let limit = chunk_limit(plain_size)?;
        let unpack = |stream: &[u8]| {
            let checked = decompress_and(stream, limit, |plain| self.check_plain(plain, digest, plain_size, key));
            checked.map_err(|failure| zstd_error(failure, limit))?
        };
        self.verify_crc()?;
        match (self.kind, key) {
            (BlobKind::Plain, _) => self.check_plain(self.payload(), digest, plain_size, key),
            (BlobKind::Compressed, _) => unpack(self.payload()),
            (BlobKind::Encrypted, None) => check_length(self.payload(), plain_size),
            (BlobKind::EncryptedCompressed, None) => Ok(()),
            (BlobKind::Encrypted, Some(_)) => self.check_plain(&self.decrypt(key)?, digest, plain_size, key),
            (BlobKind::EncryptedCompressed, Some(_)) => unpack(&self.decrypt(key)?),
        }
    }

    fn check_plain(
        &self,
        plain: &[u8],
        digest: &ChunkDigest,
        plain_size: u64,
        key: Option<&CryptKey>,
    ) -> Result<(), BlobError> {
        check_length(plain, plain_size)?;
        let found = match key {
            Some(key) if self.kind.is_encrypted() => key.digest(plain),
            _ => ChunkDigest::of(plain),
        };
        if found == *digest { Ok(()) } else { Err(BlobError::Digest { expected: *digest, found }) }
    }

    fn decrypt(&self, key: Option<&CryptKey>) -> Result<Vec<u8>, BlobError> {
        let key = key.ok_or(BlobError::KeyNeeded)?;
        let (mut iv, mut tag) = ([0; 16], [0; 16]);
        iv.copy_from_slice(&self.encoded[12..28]);
        tag.copy_from_slice(&self.encoded[28..44]);
        let mut buffer = self.payload().to_vec();
        key.decrypt(&iv, &tag, &mut buffer).map_err(|_| BlobError::Decrypt)?;
        Ok(buffer)
    }

    fn payload(&self) -> &[u8] {
        &self.encoded[self.kind.header_len()..]
    }

    fn header_crc(&self) -> u32 {
        let mut crc = [0; 4];
        crc.copy_from_slice(&self.encoded[8..12]);
        u32::from_le_bytes(crc)
    }

    /// Writes magic and CRC into `bytes`, which already has room for the header and the rest in place.
    fn with_header(kind: BlobKind, mut bytes: Vec<u8>) -> Self {
        let crc = crc32fast::hash(&bytes[kind.header_len()..]);
        bytes[..8].copy_from_slice(&kind.magic());
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        Self { kind, encoded: Bytes::from(bytes) }
    }
}

impl fmt::Debug for DataBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataBlob({:?}, {} bytes)", self.kind, self.encoded.len())
    }
}

/// Compresses into a new vector behind `header_len` zero bytes; `None` when the result is longer than the input.
fn compressed_behind_header(plain: &[u8], header_len: usize) -> Option<Vec<u8>> {
    // zstd wants a little room beyond the result to work in.
    const SLACK: usize = 64;
    let mut bytes = vec![0; header_len + plain.len() + SLACK];
    let len = compress(plain, &mut bytes[header_len..])?;
    if len > plain.len() {
        return None;
    }
    bytes.truncate(header_len + len);
    bytes.shrink_to_fit();
    Some(bytes)
}

fn chunk_limit(plain_size: u64) -> Result<usize, BlobError> {
    match usize::try_from(plain_size) {
        Ok(size) if size <= MAX_CHUNK_PLAIN => Ok(size),
        _ => Err(BlobError::TooLong { limit: MAX_CHUNK_PLAIN }),
    }
}

fn check_length(plain: &[u8], expected: u64) -> Result<(), BlobError> {
    let found = plain.len() as u64;
    if found == expected { Ok(()) } else { Err(BlobError::PlainLength { expected, found }) }
}

fn zstd_error(failure: ZstdFailure, limit: usize) -> BlobError {
    match failure {
        ZstdFailure::Broken(error) => BlobError::Zstd(error),
        ZstdFailure::TooLong => BlobError::TooLong { limit },
    }
}

#[cfg(test)]
mod tests;
