//! Looking at a datastore of a remote as a writer session would, without opening one.
//!
//! A writer session makes group and snapshot directories as soon as it opens. What it would learn about the group's
//! newest snapshot is read in a reader session instead, which changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use api_types::protocol::MAX_KNOWN_CHUNKS;
use async_trait::async_trait;
use client::ReaderSession;
use formats::{ChunkDigest, DataBlob, FIXED_CHUNK_SIZE, FileInfo, MANIFEST_NAME, SnapshotId};

use super::remote_source::MAX_MANIFEST;
use super::remote_target::{RemoteTarget, named_by, refuse_chunk_size, trusted_manifest};
use crate::error::EndError;
use crate::rehearsal::{Probe, Probing};
use crate::traits::{ArchiveLayout, ChunkRef, Inventoried as _, max_file_len};

/// What a writer session would know.
pub(super) struct RemoteProbe {
    target: RemoteTarget,
    /// Chunks that the group's newest snapshot names.
    known: Arc<HashSet<ChunkDigest>>,
}

impl RemoteProbe {
    pub(super) async fn open(target: &RemoteTarget, asked: Probing<'_>) -> Result<Self, EndError> {
        let known = if asked.base.is_none() { Arc::default() } else { previous_chunks(target, asked).await? };
        Ok(Self { target: target.clone(), known })
    }
}

/// Finds what the newest snapshot of the group names. A remote takes none that is older than what it has, so one that
/// the rehearsal finished is the newest.
async fn previous_chunks(target: &RemoteTarget, asked: Probing<'_>) -> Result<Arc<HashSet<ChunkDigest>>, EndError> {
    if let Some(rehearsed) = asked.rehearsed {
        return Ok(Arc::clone(&rehearsed.chunks));
    }
    let there = target.snapshots(asked.namespace, &asked.snapshot.group).await?;
    let newest = there.into_iter().filter(|info| info.finished).map(|info| info.id).max_by_key(|id| id.time);
    match newest {
        None => Ok(Arc::default()),
        Some(newest) => read_chunks(target, asked, &newest).await.map(Arc::new),
    }
}

/// Reads what a snapshot at the remote names, as much of it as a writer session would learn.
async fn read_chunks(
    target: &RemoteTarget,
    asked: Probing<'_>,
    newest: &SnapshotId,
) -> Result<HashSet<ChunkDigest>, EndError> {
    let session = target.remote.reader(&target.store, asked.namespace, newest).await.map_err(|error| {
        EndError::from(error)
            .while_doing(format!("reading {newest} at the remote"))
            .with_hint("to say what a push will send, a dry run reads the newest snapshot of the group at the remote")
    })?;
    let Some(bytes) = download(&session, MANIFEST_NAME, MAX_MANIFEST).await? else { return Ok(HashSet::new()) };
    let mut known = HashSet::new();
    let Some(manifest) = trusted_manifest(bytes) else { return Ok(known) };
    for info in manifest.files.iter().filter(|info| info.filename.kind() != formats::ArchiveKind::Blob) {
        let Some(bytes) = download(&session, info.filename.as_str(), max_file_len(info)).await? else { continue };
        known.extend(named_by(info, bytes));
    }
    Ok(known)
}

/// Downloads a file; `None` when it is not there.
async fn download(session: &ReaderSession, name: &str, max: u64) -> Result<Option<bytes::Bytes>, EndError> {
    match session.download(name, max).await {
        Err(error) if matches!(error.status(), Some(400 | 404)) => Ok(None),
        other => Ok(other?),
    }
}

#[async_trait]
impl Probe for RemoteProbe {
    fn existing(&self) -> Option<&DataBlob> {
        None
    }

    async fn has_file(&self, _info: &FileInfo) -> Result<bool, EndError> {
        Ok(false)
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        Ok(false)
    }

    fn accepts(&self, layout: ArchiveLayout) -> Result<(), EndError> {
        match layout {
            ArchiveLayout::Fixed { chunk_size, .. } if chunk_size != FIXED_CHUNK_SIZE => {
                Err(refuse_chunk_size(chunk_size))
            }
            _ => Ok(()),
        }
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        let unknown: Vec<ChunkRef> =
            chunks.iter().filter(|chunk| !self.known.contains(&chunk.digest)).copied().collect();
        if !self.target.tells_known || unknown.is_empty() {
            return Ok(unknown);
        }
        let digests: Vec<ChunkDigest> = unknown.iter().map(|chunk| chunk.digest).collect();
        let lengths = self.target.remote.known_chunks(&self.target.store, &digests).await?;
        let told = unknown.into_iter().zip(lengths);
        Ok(told.filter(|(chunk, length)| *length != Some(chunk.plain_len)).map(|(chunk, _)| chunk).collect())
    }

    fn asks_at_once(&self) -> usize {
        if self.target.tells_known { MAX_KNOWN_CHUNKS } else { 32 }
    }
}
