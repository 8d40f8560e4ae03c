//! Asking what a decrypting target would make of a snapshot, without decrypting anything.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use formats::{ChunkDigest, DataBlob, FileInfo, Manifest};

use super::translation::{Heard, Translation};
use crate::error::EndError;
use crate::rehearsal::Probe;
use crate::traits::{ArchiveLayout, ChunkRef, Expectation};

/// What a writer of one snapshot would find.
pub(super) struct DecryptingProbe {
    pub(super) inner: Box<dyn Probe>,
    pub(super) translation: Translation,
    /// Encrypted chunks that a rehearsed snapshot would have brought to where this one finds them.
    pub(super) brought: Arc<HashSet<ChunkDigest>>,
}

#[async_trait]
impl Probe for DecryptingProbe {
    fn existing(&self) -> Option<&DataBlob> {
        self.inner.existing()
    }

    async fn expect(&self, manifest: &Manifest, anew: bool) -> Result<Expectation, EndError> {
        match self.translation.hear(manifest, self.inner.existing(), anew)? {
            Heard::AsIs(warning) => Ok(Heard::beside(warning, self.inner.expect(manifest, anew).await?)),
            Heard::Decrypted(expected) => Ok(expected),
        }
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        if self.translation.key().is_some() { Ok(false) } else { self.inner.has_file(info).await }
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.inner.has_client_log().await
    }

    fn accepts(&self, layout: ArchiveLayout) -> Result<(), EndError> {
        self.inner.accepts(layout)
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        if self.translation.key().is_none() {
            return self.inner.missing(chunks).await;
        }
        let chunks: Vec<ChunkRef> =
            chunks.iter().filter(|chunk| !self.brought.contains(&chunk.digest)).copied().collect();
        let missing = self.inner.missing(&self.translation.known(&chunks)).await?;
        Ok(self.translation.lacking(&chunks, missing))
    }

    fn asks_at_once(&self) -> usize {
        self.inner.asks_at_once()
    }
}
