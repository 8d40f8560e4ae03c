//! The chunk store's door: what every place that keeps chunks can do, in terms of meaning rather than files.

mod decide;
mod fs;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use async_trait::async_trait;
use formats::{ChunkDigest, CryptKey, DataBlob};

use crate::error::Result;

pub(crate) use fs::FsChunkStore;

/// What became of an inserted chunk, with the stored length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was written.
    New(u64),
    /// One of this name was there, was kept and marked as used now.
    Duplicate(u64),
}

/// A place that keeps chunks.
///
/// Writers hold a [`WriterGuard`](crate::WriterGuard) around all of it. A chunk that was neither inserted nor touched by this
/// writer may vanish at any time.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// Marks a chunk as used now and returns its encoded length in bytes, or `None` when it must be sent.
    ///
    /// This is the only existence test there is: a chunk that was seen but not touched is not safe from garbage collection. An
    /// empty file, left by a loss of power, counts as missing. It says nothing about the content.
    ///
    /// # Errors
    /// When the mark cannot be set, for example because the file belongs to another user.
    async fn touch_or_missing(&self, digest: &ChunkDigest) -> Result<Option<u64>>;

    /// Stores a chunk, or marks the one of this name as used now.
    ///
    /// The content is not compared with the digest here; callers have verified it.
    ///
    /// # Errors
    /// [`ChunkConflict`](crate::DatastoreError::ChunkConflict) when both cannot be right; disk errors, after which an existing
    /// chunk is as it was.
    async fn insert(&self, digest: &ChunkDigest, blob: DataBlob) -> Result<Inserted>;

    /// Reads a chunk. Only its magic and least length are checked.
    ///
    /// # Errors
    /// [`ChunkMissing`](crate::DatastoreError::ChunkMissing), after a second try;
    /// [`ChunkCorrupt`](crate::DatastoreError::ChunkCorrupt) when the bytes were read and are no blob.
    async fn read(&self, digest: &ChunkDigest) -> Result<DataBlob>;

    /// Returns the encoded length of a chunk in bytes, or `None` when there is none, without marking it as used.
    ///
    /// For whoever only reads or counts: the chunk may be gone the next moment.
    ///
    /// # Errors
    /// Disk errors; something of its name that is no regular file.
    async fn stored_len(&self, digest: &ChunkDigest) -> Result<Option<u64>>;

    /// [`touch_or_missing`](Self::touch_or_missing) for many: `true` where the chunk is there, in the order given.
    ///
    /// # Errors
    /// As for one; chunks before the failing one may have been marked.
    async fn touch_many(&self, digests: Vec<ChunkDigest>) -> Result<Vec<bool>>;

    /// Moves a corrupt chunk out of the way, so that the next backup stores it anew.
    ///
    /// The chunk is read once more first. One that turns out good (replaced meanwhile) or gone stays, and the answer is `None`;
    /// else it is where the bad bytes are now. An encrypted chunk is judged by its checksum, and with `key` by what it holds:
    /// only who knows that it is under this key may give it.
    ///
    /// # Errors
    /// When the chunk cannot be read or renamed. A chunk that cannot be read is never moved.
    async fn set_aside(&self, digest: &ChunkDigest, key: Option<&CryptKey>) -> Result<Option<PathBuf>>;
}
