//! The chunks a session may name in an append, and their lengths.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use formats::{ChunkDigest, Index};

use crate::http::error::ApiError;

/// Chunks that were uploaded in the session, belong to an index of the previous snapshot downloaded in it, or were asked for
/// and vouched for.
///
/// One set for all writers of the session; never "whatever the datastore has", which would let a client find out about
/// foreign data.
#[derive(Default)]
pub(crate) struct KnownChunks(Mutex<HashMap<ChunkDigest, u64>>);

impl KnownChunks {
    /// Adds an uploaded chunk.
    pub(crate) fn add(&self, digest: ChunkDigest, length: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, length);
    }

    /// Adds all chunks of an index.
    pub(crate) fn add_index(&self, index: &Index) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(index.entries().map(|entry| (entry.digest, entry.len())));
    }

    /// Returns the length of a chunk, if the session knows it.
    pub(crate) fn find(&self, digest: &ChunkDigest) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    /// Returns the length of a chunk.
    ///
    /// # Errors
    /// 400 when the session does not know it.
    pub(crate) fn length(&self, digest: &ChunkDigest) -> Result<u64, ApiError> {
        self.find(digest).ok_or_else(|| ApiError::bad_request(format!("no such chunk {digest}")))
    }
}
