//! Dynamic index, `.didx`: chunks of different lengths.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use super::{File, INDEX_HEADER_LEN, IndexBytes, IndexEntry, IndexError, write_header};
use crate::blob::MAX_CHUNK_PLAIN;
use crate::digest::{ChunkDigest, sha256};

pub(super) const MAGIC: [u8; 8] = [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
const ENTRY_LEN: usize = 40;

/// A parsed dynamic index: offsets rise, and no chunk is longer than [`MAX_CHUNK_PLAIN`].
#[derive(Debug, Clone)]
pub struct DynamicIndex {
    pub(super) file: File,
}

impl DynamicIndex {
    /// Parses a whole file.
    ///
    /// # Errors
    /// Wrong magic, a file length that is not header and whole entries, no entry, ends that do not rise, a chunk over
    /// 16 MiB.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, IndexError> {
        let file = File::parse(bytes.into(), MAGIC)?;
        let entries = file.table().len() / ENTRY_LEN;
        if !file.table().len().is_multiple_of(ENTRY_LEN) {
            let expected = (INDEX_HEADER_LEN + entries * ENTRY_LEN) as u64;
            return Err(IndexError::FileLength { found: file.bytes.len() as u64, entries: entries as u64, expected });
        }
        if entries == 0 {
            return Err(IndexError::Empty);
        }
        let index = Self { file };
        let mut previous = 0;
        for entry in 0..entries {
            let end = index.end(entry);
            check_step(entry, previous, end)?;
            previous = end;
        }
        Ok(index)
    }

    /// Returns the number of chunks.
    #[expect(clippy::len_without_is_empty, reason = "an index is never empty")]
    pub fn len(&self) -> usize {
        self.file.table().len() / ENTRY_LEN
    }

    /// Returns the length of the plain stream.
    pub fn size(&self) -> u64 {
        self.end(self.len() - 1)
    }

    /// Computes SHA-256 of the entry table.
    pub fn csum(&self) -> [u8; 32] {
        sha256(self.file.table())
    }

    /// Returns the chunk at `position`, `None` past the end.
    pub fn entry(&self, position: usize) -> Option<IndexEntry> {
        if position >= self.len() {
            return None;
        }
        let start = if position == 0 { 0 } else { self.end(position - 1) };
        let digest = ChunkDigest::from_bytes(self.file.field(INDEX_HEADER_LEN + position * ENTRY_LEN + 8));
        Some(IndexEntry { digest, start, end: self.end(position) })
    }

    /// Returns the position of the chunk that holds `offset`; the caller has compared it with the size.
    pub(super) fn position_of(&self, offset: u64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.end(middle) <= offset { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn end(&self, position: usize) -> u64 {
        u64::from_le_bytes(self.file.field(INDEX_HEADER_LEN + position * ENTRY_LEN))
    }
}

/// Builds a dynamic index chunk by chunk; the checksum is ready at any time.
pub struct DynamicIndexWriter {
    uuid: [u8; 16],
    ctime: i64,
    bytes: Vec<u8>,
    context: Context,
    end: u64,
}

impl DynamicIndexWriter {
    /// Begins an index with a random UUID and a creation time, both given.
    pub fn new(uuid: [u8; 16], ctime: i64) -> Self {
        Self { uuid, ctime, bytes: vec![0; INDEX_HEADER_LEN], context: Context::new(&SHA256), end: 0 }
    }

    /// Adds the next chunk, which ends at `end` of the stream.
    ///
    /// # Errors
    /// When the end does not rise, or the chunk would be longer than 16 MiB.
    pub fn push(&mut self, digest: ChunkDigest, end: u64) -> Result<(), IndexError> {
        check_step(self.len(), self.end, end)?;
        let entry = self.bytes.len();
        self.bytes.extend_from_slice(&end.to_le_bytes());
        self.bytes.extend_from_slice(digest.as_bytes());
        self.context.update(&self.bytes[entry..]);
        self.end = end;
        Ok(())
    }

    /// Returns the end of the last chunk.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Returns the number of chunks so far.
    pub fn len(&self) -> usize {
        (self.bytes.len() - INDEX_HEADER_LEN) / ENTRY_LEN
    }

    /// Tells whether there is no chunk yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == INDEX_HEADER_LEN
    }

    /// Returns the checksum of the chunks so far.
    pub fn csum(&self) -> [u8; 32] {
        let mut csum = [0; 32];
        csum.copy_from_slice(self.context.clone().finish().as_ref());
        csum
    }

    /// Returns the file.
    ///
    /// # Errors
    /// [`IndexError::Empty`] without any chunk.
    pub fn finish(mut self) -> Result<IndexBytes, IndexError> {
        if self.is_empty() {
            return Err(IndexError::Empty);
        }
        let (csum, chunks) = (self.csum(), self.len() as u64);
        write_header(&mut self.bytes, MAGIC, self.uuid, self.ctime, csum);
        Ok(IndexBytes { bytes: self.bytes, csum, size: self.end, chunks })
    }
}

fn check_step(entry: usize, previous: u64, end: u64) -> Result<(), IndexError> {
    if end <= previous {
        return Err(IndexError::NotIncreasing { entry, end, previous });
    }
    let len = end - previous;
    if len > MAX_CHUNK_PLAIN as u64 {
        return Err(IndexError::ChunkTooLong { entry, len });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;

    fn sample() -> IndexBytes {
        let mut writer = DynamicIndexWriter::new([7; 16], 1_700_000_000);
        writer.push(ChunkDigest::of(b"a"), 100).unwrap();
        writer.push(ChunkDigest::of(b"b"), 250).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn the_checksum_is_that_of_the_vector() {
        let csum = "278e48f91466dbc0166ec830ef46619b53a71691444a9bd05cea1f07b84326f0";
        let index = Index::parse_any(sample().bytes).unwrap();

        assert_eq!(hex::encode(sample().csum), csum);
        assert_eq!(hex::encode(index.csum()), csum);
        assert_eq!(index.header_csum(), index.csum());
    }

    #[test]
    fn entries_cover_the_stream_without_gaps() {
        let index = Index::parse_any(sample().bytes).unwrap();
        let ranges: Vec<_> = index.entries().map(|entry| (entry.start, entry.end, entry.len())).collect();

        assert_eq!(ranges, [(0, 100, 100), (100, 250, 150)]);
        assert_eq!((index.len(), index.size(), index.ctime(), index.uuid()), (2, 250, 1_700_000_000, [7; 16]));
        assert_eq!(index.entry(2), None);
        let positions = [0, 99, 100, 249, 250].map(|offset| index.position_of(offset));
        assert_eq!(positions, [Some(0), Some(0), Some(1), Some(1), None]);
    }

    #[test]
    fn every_cut_is_refused_unless_it_is_a_shorter_index() {
        let bytes = Bytes::from(sample().bytes);
        for end in (0..bytes.len()).filter(|end| *end != INDEX_HEADER_LEN + ENTRY_LEN) {
            assert!(DynamicIndex::parse(bytes.slice(..end)).is_err(), "{end}");
        }
        // An entry less is an index of its own; only the manifest's checksum and size tell.
        let shorter = DynamicIndex::parse(bytes.slice(..INDEX_HEADER_LEN + ENTRY_LEN)).unwrap();
        assert_ne!(shorter.csum(), sample().csum);
    }

    #[test]
    fn ends_that_do_not_rise_are_refused() {
        for (first, second) in [(100, 100), (100, 99), (0, 5), (100, 0), (u64::MAX, 1)] {
            let mut bytes = sample().bytes;
            bytes[4096..4104].copy_from_slice(&u64::to_le_bytes(first));
            bytes[4136..4144].copy_from_slice(&u64::to_le_bytes(second));
            assert!(DynamicIndex::parse(bytes).is_err(), "{first} {second}");
        }
    }

    #[test]
    fn a_chunk_of_16_mib_passes_and_a_longer_one_does_not() {
        let mut writer = DynamicIndexWriter::new([0; 16], 0);
        let longest = MAX_CHUNK_PLAIN as u64;

        let error = writer.push(ChunkDigest::of(b""), longest + 1).unwrap_err();
        assert_eq!(error, IndexError::ChunkTooLong { entry: 0, len: longest + 1 });
        writer.push(ChunkDigest::of(b""), longest).unwrap();
        assert_eq!(DynamicIndex::parse(writer.finish().unwrap().bytes).unwrap().size(), longest);
    }

    #[test]
    fn an_index_without_entries_is_refused_both_ways() {
        assert_eq!(DynamicIndexWriter::new([0; 16], 0).finish().unwrap_err(), IndexError::Empty);
        let header = sample().bytes[..INDEX_HEADER_LEN].to_vec();
        assert_eq!(DynamicIndex::parse(header).unwrap_err(), IndexError::Empty);
    }

    #[test]
    fn the_checksum_so_far_is_that_of_an_index_ended_there() {
        let mut writer = DynamicIndexWriter::new([0; 16], 0);
        writer.push(ChunkDigest::of(b"a"), 100).unwrap();
        writer.push(ChunkDigest::of(b"b"), 250).unwrap();

        assert_eq!(writer.csum(), sample().csum);
        assert_eq!((writer.len(), writer.end()), (2, 250));
    }
}
