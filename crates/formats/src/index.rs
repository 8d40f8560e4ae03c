//! Indexes: which chunks make up an archive, in order (`docs/formats.md`, "Index files").

mod dynamic;
mod fixed;

use bytes::Bytes;

pub use self::dynamic::{DynamicIndex, DynamicIndexWriter};
pub use self::fixed::{FixedIndex, FixedIndexWriter};
use crate::archive::ArchiveKind;
use crate::digest::ChunkDigest;

/// Length of the header of both kinds; the entries begin here.
pub const INDEX_HEADER_LEN: usize = 4096;

/// One chunk of an archive: its name and the bytes `start..end` of the plain stream that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// Name of the chunk.
    pub digest: ChunkDigest,
    /// Offset of its first byte in the stream.
    pub start: u64,
    /// Offset just past its last byte.
    pub end: u64,
}

impl IndexEntry {
    /// Returns the plain length of the chunk in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a chunk of an index is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// Why an index was not read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It does not even hold its header.
    #[error("index of {len} bytes is shorter than its header of {INDEX_HEADER_LEN}")]
    Short {
        /// Length of what was given.
        len: usize,
    },
    /// It begins with another magic than its name promises.
    #[error("wrong index magic {}", hex::encode(.magic))]
    Magic {
        /// The first 8 bytes.
        magic: [u8; 8],
    },
    /// It is a blob's name, not an index's.
    #[error("a blob has no index")]
    NoIndex,
    /// The file is not exactly as long as its entries need.
    #[error("index is {found} bytes long, its {entries} entries need {expected}")]
    FileLength {
        /// Length of the file.
        found: u64,
        /// Number of entries, by the header or the file's length.
        entries: u64,
        /// Length that the file should have.
        expected: u64,
    },
    /// It has no entry at all.
    #[error("index has no entries")]
    Empty,
    /// The chunk size of a fixed index is no power of two.
    #[error("chunk size {chunk_size} is no power of two")]
    ChunkSize {
        /// From the header, or from the caller.
        chunk_size: u64,
    },
    /// The stream is longer than any file.
    #[error("stream length {size} is beyond all bounds")]
    Size {
        /// From the header, or from the caller.
        size: u64,
    },
    /// An entry of a dynamic index ends before or where it begins.
    #[error("entry {entry} ends at {end}, not after its predecessor's end {previous}")]
    NotIncreasing {
        /// Position of the entry.
        entry: usize,
        /// Where it ends.
        end: u64,
        /// Where it begins.
        previous: u64,
    },
    /// An entry of a dynamic index is longer than a chunk can be.
    #[error("entry {entry} has {len} bytes, more than a chunk can hold")]
    ChunkTooLong {
        /// Position of the entry.
        entry: usize,
        /// Its length in bytes.
        len: u64,
    },
    /// A chunk given to a fixed index does not lie in its place.
    #[error("chunk {position} with {len} bytes does not fit an image of {size:?} bytes in chunks of {chunk_size}")]
    Misplaced {
        /// Number of the chunk.
        position: u64,
        /// Its length in bytes.
        len: u64,
        /// Length of the image, when known.
        size: Option<u64>,
        /// Length of every chunk but the last.
        chunk_size: u64,
    },
    /// A fixed index is finished while a chunk is missing.
    #[error("chunk {position} was never given")]
    Missing {
        /// Number of the first missing chunk.
        position: u64,
    },
}

/// An index of either kind. Holds the file's bytes and nothing besides; entries are read in place.
#[derive(Debug, Clone)]
pub enum Index {
    /// `.fidx`
    Fixed(FixedIndex),
    /// `.didx`
    Dynamic(DynamicIndex),
}

impl Index {
    /// Parses a whole index file of the kind that its name tells.
    ///
    /// # Errors
    /// See [`FixedIndex::parse`] and [`DynamicIndex::parse`]; [`IndexError::NoIndex`] for a blob's name.
    pub fn parse(kind: ArchiveKind, bytes: impl Into<Bytes>) -> Result<Index, IndexError> {
        match kind {
            ArchiveKind::Fixed => FixedIndex::parse(bytes).map(Index::Fixed),
            ArchiveKind::Dynamic => DynamicIndex::parse(bytes).map(Index::Dynamic),
            ArchiveKind::Blob => Err(IndexError::NoIndex),
        }
    }

    /// Parses a whole index file of the kind that its magic tells.
    ///
    /// # Errors
    /// As [`Index::parse`].
    pub fn parse_any(bytes: impl Into<Bytes>) -> Result<Index, IndexError> {
        let bytes = bytes.into();
        if bytes.starts_with(&fixed::MAGIC) {
            return FixedIndex::parse(bytes).map(Index::Fixed);
        }
        DynamicIndex::parse(bytes).map(Index::Dynamic)
    }

    /// Returns the kind.
    pub fn kind(&self) -> ArchiveKind {
        match self {
            Index::Fixed(_) => ArchiveKind::Fixed,
            Index::Dynamic(_) => ArchiveKind::Dynamic,
        }
    }

    /// Returns the number of chunks, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an index is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Index::Fixed(index) => index.len(),
            Index::Dynamic(index) => index.len(),
        }
    }

    /// Returns the length of the plain stream in bytes, as in the manifest.
    pub fn size(&self) -> u64 {
        match self {
            Index::Fixed(index) => index.size(),
            Index::Dynamic(index) => index.size(),
        }
    }

    /// Computes the checksum of the entries, as in the manifest; the one in the header is never trusted.
    pub fn csum(&self) -> [u8; 32] {
        match self {
            Index::Fixed(index) => index.csum(),
            Index::Dynamic(index) => index.csum(),
        }
    }

    /// Returns the checksum that the header claims.
    pub fn header_csum(&self) -> [u8; 32] {
        self.header().csum()
    }

    /// Returns the UUID in the header, which means nothing.
    pub fn uuid(&self) -> [u8; 16] {
        self.header().uuid()
    }

    /// Returns the creation time in the header, Unix seconds.
    pub fn ctime(&self) -> i64 {
        self.header().ctime()
    }

    /// Returns the chunk at `position`, `None` past the end.
    pub fn entry(&self, position: usize) -> Option<IndexEntry> {
        match self {
            Index::Fixed(index) => index.entry(position),
            Index::Dynamic(index) => index.entry(position),
        }
    }

    /// Returns all chunks in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = IndexEntry> + '_ {
        let read = |position| self.entry(position).unwrap_or(IndexEntry::NOWHERE);
        (0..self.len()).map(read)
    }

    /// Returns the position of the chunk that holds byte `offset` of the stream, `None` past the end.
    pub fn position_of(&self, offset: u64) -> Option<usize> {
        if offset >= self.size() {
            return None;
        }
        match self {
            Index::Fixed(index) => usize::try_from(offset / index.chunk_size()).ok(),
            Index::Dynamic(index) => Some(index.position_of(offset)),
        }
    }

    /// Returns the bytes of the file.
    pub fn as_bytes(&self) -> &Bytes {
        &self.header().bytes
    }

    fn header(&self) -> &File {
        match self {
            Index::Fixed(index) => &index.file,
            Index::Dynamic(index) => &index.file,
        }
    }
}

impl IndexEntry {
    /// Stands in for an entry that the bounds of its loop rule out.
    const NOWHERE: IndexEntry = IndexEntry { digest: ChunkDigest::from_bytes([0; 32]), start: 0, end: 0 };
}

/// A finished index file, and what the manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexBytes {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Checksum of the entries.
    pub csum: [u8; 32],
    /// Length of the plain stream.
    pub size: u64,
    /// Number of chunks.
    pub chunks: u64,
}

/// The bytes of an index file, at least as long as its header.
#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
}

impl File {
    fn parse(bytes: Bytes, expected_magic: [u8; 8]) -> Result<Self, IndexError> {
        if let Some(magic) = bytes.first_chunk::<8>().copied().filter(|magic| *magic != expected_magic) {
            return Err(IndexError::Magic { magic });
        }
        if bytes.len() < INDEX_HEADER_LEN {
            return Err(IndexError::Short { len: bytes.len() });
        }
        Ok(Self { bytes })
    }

    /// Reads `N` bytes at `at`; zeros where there are none, which no caller asks for.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn uuid(&self) -> [u8; 16] {
        self.field(8)
    }

    fn ctime(&self) -> i64 {
        i64::from_le_bytes(self.field(24))
    }

    fn csum(&self) -> [u8; 32] {
        self.field(32)
    }

    fn table(&self) -> &[u8] {
        self.bytes.get(INDEX_HEADER_LEN..).unwrap_or_default()
    }
}

/// Writes the fields that both kinds of header have.
fn write_header(bytes: &mut [u8], magic: [u8; 8], uuid: [u8; 16], ctime: i64, csum: [u8; 32]) {
    bytes[..8].copy_from_slice(&magic);
    bytes[8..24].copy_from_slice(&uuid);
    bytes[24..32].copy_from_slice(&ctime.to_le_bytes());
    bytes[32..64].copy_from_slice(&csum);
}
