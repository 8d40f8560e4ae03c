//! The one limit on what is on its way: bytes and requests, over all groups of a run.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::traits::ChunkRef;

/// Admits chunks by the bytes they may have.
///
/// A permit is asked for one chunk at a time by someone who waits for nothing else meanwhile, and is given back when
/// the chunk is stored: so whoever holds permits makes progress, and nobody waits for ever.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    bytes: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    budget: u32,
}

/// Room for one chunk; dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Permit {
    _bytes: OwnedSemaphorePermit,
    _request: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(bytes: u64, requests: usize) -> Self {
        let budget = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        Self {
            bytes: Arc::new(Semaphore::new(budget as usize)),
            requests: Arc::new(Semaphore::new(requests.clamp(1, Semaphore::MAX_PERMITS))),
            budget,
        }
    }

    /// What is longer than the whole budget takes all of it.
    fn cost(&self, bytes: u64) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.budget)
    }

    /// Waits for room for `bytes`.
    pub(crate) async fn bytes(&self, bytes: u64) -> Option<Permit> {
        let request = Arc::clone(&self.requests).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(self.cost(bytes)).await.ok()?;
        Some(Permit { _bytes: bytes, _request: request })
    }

    /// Waits for room for a chunk.
    pub(crate) async fn chunk(&self, chunk: &ChunkRef) -> Option<Permit> {
        self.bytes(chunk.max_encoded()).await
    }

    /// Takes room for a chunk where there is room right now.
    pub(crate) fn try_chunk(&self, chunk: &ChunkRef) -> Option<Permit> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(self.cost(chunk.max_encoded())).ok()?;
        Some(Permit { _bytes: bytes, _request: request })
    }
}
