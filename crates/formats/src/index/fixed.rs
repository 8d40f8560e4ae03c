//! Fixed index, `.fidx`: chunks of one length, the last one perhaps shorter.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{File, INDEX_HEADER_LEN, IndexBytes, IndexEntry, IndexError, write_header};
use crate::digest::{ChunkDigest, sha256};

pub(super) const MAGIC: [u8; 8] = [0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd];
const ENTRY_LEN: usize = 32;
/// Longest image: what a file offset can address.
const MAX_SIZE: u64 = i64::MAX as u64;

/// A parsed fixed index.
#[derive(Debug, Clone)]
pub struct FixedIndex {
    pub(super) file: File,
}

impl FixedIndex {
    /// Parses a whole file.
    ///
    /// # Errors
    /// Wrong magic, a chunk size that is no power of two, a file length that is not header and exactly the entries that
    /// image size and chunk size call for, no entry.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, IndexError> {
        let file = File::parse(bytes.into(), MAGIC)?;
        let index = Self { file };
        let entries = entry_count(index.size(), index.chunk_size())?;
        let found = index.file.bytes.len() as u64;
        let expected = entries.saturating_mul(ENTRY_LEN as u64).saturating_add(INDEX_HEADER_LEN as u64);
        if found != expected {
            return Err(IndexError::FileLength { found, entries, expected });
        }
        if entries == 0 {
            return Err(IndexError::Empty);
        }
        Ok(index)
    }

    /// Returns the number of chunks.
    #[expect(clippy::len_without_is_empty, reason = "an index is never empty")]
    pub fn len(&self) -> usize {
        self.file.table().len() / ENTRY_LEN
    }

    /// Returns the length of the image.
    pub fn size(&self) -> u64 {
        u64::from_le_bytes(self.file.field(64))
    }

    /// Returns the length of every chunk but the last.
    pub fn chunk_size(&self) -> u64 {
        u64::from_le_bytes(self.file.field(72))
    }

    /// Computes SHA-256 of the digests.
    pub fn csum(&self) -> [u8; 32] {
        sha256(self.file.table())
    }

    /// Returns the chunk at `position`, `None` past the end.
    pub fn entry(&self, position: usize) -> Option<IndexEntry> {
        if position >= self.len() {
            return None;
        }
        let digest = ChunkDigest::from_bytes(self.file.field(INDEX_HEADER_LEN + position * ENTRY_LEN));
        // Neither can overflow: parsing made sure that the last chunk begins inside an image that fits 63 bits.
        let start = (position as u64).saturating_mul(self.chunk_size());
        let end = start.saturating_add(self.chunk_size()).min(self.size());
        Some(IndexEntry { digest, start, end })
    }
}

/// Builds a fixed index; chunks may come in any order.
///
/// With an unknown image size the index grows with the chunks it is given, and the first chunk shorter than the chunk
/// size ends it.
pub struct FixedIndexWriter {
    uuid: [u8; 16],
    ctime: i64,
    size: Option<u64>,
    chunk_size: u64,
    /// By position. Not a table: a position far out costs one entry, not all those before it.
    digests: BTreeMap<u64, ChunkDigest>,
    /// Position and length of the short chunk, which is the last one.
    short: Option<(u64, u64)>,
}

impl FixedIndexWriter {
    /// Most chunks of one image: a table of 4 GiB, 512 TiB in chunks of the usual size.
    const MAX_CHUNKS: u64 = 1 << 27;

    /// Begins an index with a random UUID and a creation time, both given, for an image of `size` bytes if known.
    ///
    /// # Errors
    /// A chunk size that is no power of two, or a size of zero or beyond all bounds.
    pub fn new(uuid: [u8; 16], ctime: i64, size: Option<u64>, chunk_size: u64) -> Result<Self, IndexError> {
        let entries = entry_count(size.unwrap_or(1), chunk_size)?;
        if size == Some(0) {
            return Err(IndexError::Empty);
        }
        if entries > Self::MAX_CHUNKS {
            return Err(IndexError::Size { size: size.unwrap_or_default() });
        }
        Ok(Self { uuid, ctime, size, chunk_size, digests: BTreeMap::new(), short: None })
    }

    /// Begins as a copy of an earlier index of the same length; every chunk may then be replaced.
    ///
    /// # Errors
    /// As [`FixedIndexWriter::new`]; [`IndexError::Misplaced`] when the number of chunks differs.
    pub fn from_previous(uuid: [u8; 16], ctime: i64, size: u64, previous: &FixedIndex) -> Result<Self, IndexError> {
        let mut writer = Self::new(uuid, ctime, Some(size), previous.chunk_size())?;
        let position = previous.len() as u64;
        if entry_count(size, writer.chunk_size)? != position {
            return Err(writer.misplaced(position, 0));
        }
        let digests = (0..previous.len()).filter_map(|at| previous.entry(at)).map(|entry| entry.digest);
        writer.digests = (0..).zip(digests).collect();
        Ok(writer)
    }

    /// Sets the chunk at `position`, which has `len` plain bytes.
    ///
    /// # Errors
    /// [`IndexError::Misplaced`] past the end of the image, or when the length is not that of this position.
    pub fn set(&mut self, position: u64, digest: ChunkDigest, len: u64) -> Result<(), IndexError> {
        if !self.fits(position, len) {
            return Err(self.misplaced(position, len));
        }
        self.digests.insert(position, digest);
        if self.size.is_none() && len < self.chunk_size {
            self.short = Some((position, len));
        }
        Ok(())
    }

    /// Returns the chunk set at `position`.
    pub fn get(&self, position: u64) -> Option<ChunkDigest> {
        self.digests.get(&position).copied()
    }

    /// Returns the length of every chunk but the last.
    pub fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// Returns the length of the image, as given or as far as the chunks reach.
    pub fn size(&self) -> u64 {
        match (self.size, self.short) {
            (Some(size), _) => size,
            (None, Some((position, len))) => position.saturating_mul(self.chunk_size).saturating_add(len),
            (None, None) => self.end().saturating_mul(self.chunk_size),
        }
    }

    /// Returns the number of chunks set so far.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Tells whether no chunk was given yet.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Computes the checksum of the chunks set so far, in order of position.
    pub fn csum(&self) -> [u8; 32] {
        sha256(&self.table())
    }

    /// Returns the file.
    ///
    /// # Errors
    /// [`IndexError::Empty`] without any chunk, [`IndexError::Missing`] with a gap.
    pub fn finish(self) -> Result<IndexBytes, IndexError> {
        let (size, chunks) = (self.size(), entry_count(self.size(), self.chunk_size)?);
        if self.digests.is_empty() {
            return Err(IndexError::Empty);
        }
        if self.digests.len() as u64 != chunks {
            let position = (0..).zip(self.digests.keys()).find(|(expected, position)| expected != *position);
            return Err(IndexError::Missing { position: position.map_or(self.end(), |(expected, _)| expected) });
        }
        let table = self.table();
        let csum = sha256(&table);
        let mut bytes = vec![0; INDEX_HEADER_LEN];
        write_header(&mut bytes, MAGIC, self.uuid, self.ctime, csum);
        bytes[64..72].copy_from_slice(&size.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.chunk_size.to_le_bytes());
        bytes.extend_from_slice(&table);
        Ok(IndexBytes { bytes, csum, size, chunks })
    }

    fn fits(&self, position: u64, len: u64) -> bool {
        let Some(start) = position.checked_mul(self.chunk_size) else { return false };
        if position >= Self::MAX_CHUNKS || len == 0 || len > self.chunk_size {
            return false;
        }
        match (self.size, self.short) {
            (Some(size), _) => start < size && len == (size - start).min(self.chunk_size),
            (None, Some((last, _))) => position < last && len == self.chunk_size || position == last,
            (None, None) => len == self.chunk_size || position + 1 >= self.end(),
        }
    }

    fn misplaced(&self, position: u64, len: u64) -> IndexError {
        IndexError::Misplaced { position, len, size: self.size, chunk_size: self.chunk_size }
    }

    fn table(&self) -> Vec<u8> {
        self.digests.values().flat_map(|digest| *digest.as_bytes()).collect()
    }

    /// Returns the position after the last chunk set.
    fn end(&self) -> u64 {
        self.digests.last_key_value().map_or(0, |(position, _)| position + 1)
    }
}

/// Returns how many chunks an image has, after a look at both numbers.
fn entry_count(size: u64, chunk_size: u64) -> Result<u64, IndexError> {
    if !chunk_size.is_power_of_two() {
        return Err(IndexError::ChunkSize { chunk_size });
    }
    if size > MAX_SIZE {
        return Err(IndexError::Size { size });
    }
    Ok(size.div_ceil(chunk_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::FIXED_CHUNK_SIZE;
    use crate::index::Index;

    fn digest(name: &str) -> ChunkDigest {
        ChunkDigest::of(name.as_bytes())
    }

    fn sample() -> IndexBytes {
        let mut writer =
            FixedIndexWriter::new([7; 16], 1_700_000_000, Some(FIXED_CHUNK_SIZE + 5), FIXED_CHUNK_SIZE).unwrap();
        writer.set(1, digest("b"), 5).unwrap();
        writer.set(0, digest("a"), FIXED_CHUNK_SIZE).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn the_checksum_is_that_of_the_vector() {
        let csum = "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a";
        let index = Index::parse_any(sample().bytes).unwrap();

        assert_eq!(hex::encode(sample().csum), csum);
        assert_eq!(hex::encode(index.csum()), csum);
        assert_eq!(index.header_csum(), index.csum());
    }

    #[test]
    fn the_last_chunk_is_short() {
        let index = Index::parse_any(sample().bytes).unwrap();
        let ranges: Vec<_> = index.entries().map(|entry| (entry.start, entry.end)).collect();

        assert_eq!(ranges, [(0, FIXED_CHUNK_SIZE), (FIXED_CHUNK_SIZE, FIXED_CHUNK_SIZE + 5)]);
        assert_eq!(
            (index.len(), index.size(), index.ctime(), index.uuid()),
            (2, FIXED_CHUNK_SIZE + 5, 1_700_000_000, [7; 16])
        );
        let positions =
            [0, FIXED_CHUNK_SIZE - 1, FIXED_CHUNK_SIZE, FIXED_CHUNK_SIZE + 5].map(|at| index.position_of(at));
        assert_eq!(positions, [Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = Bytes::from(sample().bytes);
        for end in 0..bytes.len() {
            assert!(FixedIndex::parse(bytes.slice(..end)).is_err(), "{end}");
        }
        assert!(FixedIndex::parse([&bytes[..], &[0; 32]].concat()).is_err());
    }

    #[test]
    fn absurd_sizes_and_chunk_sizes_are_refused_without_allocating() {
        for (size, chunk_size) in [
            (u64::MAX, 1),
            (u64::MAX, 1 << 63),
            (1 << 62, 1),
            (10, 0),
            (10, 3),
            (10, u64::MAX),
            (0, FIXED_CHUNK_SIZE),
            (2 * FIXED_CHUNK_SIZE + 1, FIXED_CHUNK_SIZE),
        ] {
            let mut bytes = sample().bytes;
            bytes[64..72].copy_from_slice(&u64::to_le_bytes(size));
            bytes[72..80].copy_from_slice(&u64::to_le_bytes(chunk_size));
            assert!(FixedIndex::parse(bytes).is_err(), "{size} {chunk_size}");
        }
    }

    #[test]
    fn any_power_of_two_is_a_chunk_size() {
        for shift in 0..63 {
            let chunk_size = 1 << shift;
            let mut writer = FixedIndexWriter::new([0; 16], 0, Some(chunk_size), chunk_size).unwrap();
            writer.set(0, digest("a"), chunk_size).unwrap();
            let index = Index::parse_any(writer.finish().unwrap().bytes).unwrap();
            assert_eq!(index.entry(0).unwrap().len(), chunk_size);
        }
    }

    #[test]
    fn chunks_out_of_place_or_of_wrong_length_are_refused() {
        let mut writer = FixedIndexWriter::new([0; 16], 0, Some(10), 4).unwrap();

        for (position, len) in [(0, 3), (0, 5), (0, 0), (2, 4), (2, 1), (3, 4), (u64::MAX, 4)] {
            assert!(writer.set(position, digest("x"), len).is_err(), "{position} {len}");
        }
        writer.set(2, digest("c"), 2).unwrap();
        writer.set(0, digest("a"), 4).unwrap();
        assert_eq!(writer.finish().unwrap_err(), IndexError::Missing { position: 1 });
    }

    #[test]
    fn an_index_of_unknown_size_ends_with_the_first_short_chunk() {
        let mut writer = FixedIndexWriter::new([0; 16], 0, None, 4).unwrap();
        writer.set(0, digest("a"), 4).unwrap();
        writer.set(2, digest("c"), 3).unwrap();
        writer.set(1, digest("b"), 4).unwrap();

        assert!(writer.set(3, digest("d"), 4).is_err() && writer.set(1, digest("b"), 3).is_err());
        let finished = writer.finish().unwrap();
        assert_eq!((finished.size, finished.chunks), (11, 3));
        assert_eq!(Index::parse_any(finished.bytes).unwrap().size(), 11);
    }

    #[test]
    fn a_far_position_of_an_index_of_unknown_size_is_refused() {
        let mut writer = FixedIndexWriter::new([0; 16], 0, None, FIXED_CHUNK_SIZE).unwrap();

        assert!(writer.set(1 << 40, digest("x"), FIXED_CHUNK_SIZE).is_err());
        assert!(writer.is_empty());
    }

    #[test]
    fn an_index_without_chunks_is_refused() {
        assert_eq!(FixedIndexWriter::new([0; 16], 0, Some(0), 4).err(), Some(IndexError::Empty));
        assert_eq!(FixedIndexWriter::new([0; 16], 0, None, 4).unwrap().finish().unwrap_err(), IndexError::Empty);
    }

    #[test]
    fn a_copy_of_the_previous_index_needs_only_what_changed() {
        let previous = FixedIndex::parse(sample().bytes).unwrap();
        let mut writer = FixedIndexWriter::from_previous([0; 16], 0, previous.size(), &previous).unwrap();
        assert_eq!(writer.csum(), previous.csum());

        writer.set(1, digest("new"), 5).unwrap();

        let index = Index::parse_any(writer.finish().unwrap().bytes).unwrap();
        let digests: Vec<_> = index.entries().map(|entry| entry.digest).collect();
        assert_eq!(digests, [digest("a"), digest("new")]);
        assert!(FixedIndexWriter::from_previous([0; 16], 0, FIXED_CHUNK_SIZE, &previous).is_err());
    }
}
