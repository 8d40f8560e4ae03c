//! Restoring: any archive of a snapshot as its plain stream.
//!
//! Everything is checked on the way: the index against the manifest, each chunk against its digest, the manifest's
//! signature where a key is given. Chunks are fetched ahead ([`CHUNKS_AHEAD`]) and written in order.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, CryptKey, CryptMode, DataBlob, FileInfo, Index, MAX_BLOB_PLAIN, Namespace,
    SignatureState, SnapshotId, sha256,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use replication::{ChunkRef, EndError, OpenSnapshot, Source};
use tokio::sync::mpsc;

/// Chunks on their way at the same time: at most 16 MiB each, 4 MiB in practice.
const CHUNKS_AHEAD: usize = 16;

/// What to restore.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// Namespace at the source.
    pub namespace: Namespace,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The archive.
    pub archive: ArchiveName,
    /// Opens encrypted data, and checks the manifest's signature.
    pub key: Option<Arc<CryptKey>>,
}

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Plain bytes written.
    pub bytes_written: u64,
    /// Chunks read.
    pub chunks: u64,
}

/// Why a restore failed. What was written until then is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot is not there.
    #[error("there is no snapshot {snapshot} in {place}")]
    NoSnapshot {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Where it was looked for.
        place: String,
    },
    /// The snapshot has no such archive.
    #[error("snapshot {snapshot} has no archive `{archive}`")]
    NoArchive {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The archive.
        archive: ArchiveName,
        /// What it has.
        known: Vec<ArchiveName>,
    },
    /// The archive is encrypted and no key was given.
    #[error("archive `{archive}` is encrypted")]
    NeedsKey {
        /// The archive.
        archive: ArchiveName,
    },
    /// The manifest's signature is not of this key.
    #[error("the manifest of {snapshot} does not carry the signature of this key: {reason}")]
    Signature {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Why.
        reason: String,
    },
    /// The archive is not what the manifest or its own index says.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// The archive, or a chunk of it.
        what: String,
        /// What disagrees.
        reason: String,
    },
    /// The source failed.
    #[error(transparent)]
    Source(#[from] EndError),
    /// The output failed.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl RestoreError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoArchive { known, .. } => {
                let known: Vec<&str> = known.iter().map(ArchiveName::as_str).collect();
                Some(format!("it has: {}", known.join(", ")))
            }
            Self::NeedsKey { .. } => Some("give its key with --keyfile FILE".into()),
            Self::Damaged { .. } => Some(
                "see what else is damaged with `backup-manager snapshot verify`, and copy it again from another place"
                    .into(),
            ),
            Self::Source(error) => error.hint().map(str::to_owned),
            Self::NoSnapshot { .. } | Self::Signature { .. } | Self::Output(_) => None,
        }
    }
}

/// Hears how a restore goes on.
pub trait RestoreMonitor: Send + Sync {
    /// The archive has `size` plain bytes, if that is known beforehand.
    fn started(&self, size: Option<u64>);
    /// `bytes` more were written.
    fn advanced(&self, bytes: u64);
}

/// Writes the plain stream of an archive to `output`.
///
/// # Errors
/// See [`RestoreError`]; what was written before an error is a correct beginning of the stream.
pub async fn restore(
    source: &dyn Source,
    request: &RestoreRequest,
    output: impl Write + Send + 'static,
    monitor: &dyn RestoreMonitor,
) -> Result<RestoreReport, RestoreError> {
    let snapshot = source.open(&request.namespace, &request.snapshot).await?.ok_or_else(|| {
        RestoreError::NoSnapshot { snapshot: request.snapshot.clone(), place: place(source, &request.namespace) }
    })?;
    check_signature(&*snapshot, request)?;

    if request.archive.is_manifest() {
        let stored = snapshot.manifest_blob().to_bytes();
        return whole(decode_blob(&request.archive, stored, None).await?, output, monitor).await;
    }
    if request.archive.is_client_log() {
        let log = snapshot.client_log().await?.ok_or_else(|| no_archive(&*snapshot, request))?;
        return whole(decode_blob(&request.archive, log, request.key.clone()).await?, output, monitor).await;
    }
    let info = snapshot.manifest().find(&request.archive).ok_or_else(|| no_archive(&*snapshot, request))?.clone();
    if info.crypt_mode == CryptMode::Encrypt && request.key.is_none() {
        return Err(RestoreError::NeedsKey { archive: info.filename });
    }
    let raw = snapshot.file(&info.filename).await?;
    if info.filename.kind() == ArchiveKind::Blob {
        check_blob(&info, &raw)?;
        return whole(decode_blob(&info.filename, raw, request.key.clone()).await?, output, monitor).await;
    }
    let index = checked_index(&info, raw)?;
    monitor.started(Some(index.size()));
    stream_chunks(&*snapshot, &info, &index, request.key.clone(), output, monitor).await
}

fn place(source: &dyn Source, namespace: &Namespace) -> String {
    if namespace.is_root() { source.describe() } else { format!("{}, namespace `{namespace}`", source.describe()) }
}

fn no_archive(snapshot: &dyn OpenSnapshot, request: &RestoreRequest) -> RestoreError {
    RestoreError::NoArchive {
        snapshot: request.snapshot.clone(),
        archive: request.archive.clone(),
        known: snapshot.manifest().files.iter().map(|file| file.filename.clone()).collect(),
    }
}

/// With a key, the manifest must carry its signature, or none at all if nothing in it is encrypted.
fn check_signature(snapshot: &dyn OpenSnapshot, request: &RestoreRequest) -> Result<(), RestoreError> {
    let Some(key) = &request.key else { return Ok(()) };
    let failed = |reason: String| RestoreError::Signature { snapshot: request.snapshot.clone(), reason };
    match snapshot.manifest().verify_signature(key) {
        Ok(SignatureState::Valid) => Ok(()),
        Ok(SignatureState::Unsigned) if snapshot.manifest().files.iter().all(|f| f.crypt_mode == CryptMode::None) => {
            Ok(())
        }
        Ok(SignatureState::Unsigned) => {
            Err(failed("it has none, though files are marked as signed or encrypted".into()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn damaged(what: impl ToString, reason: impl ToString) -> RestoreError {
    RestoreError::Damaged { what: what.to_string(), reason: reason.to_string() }
}

fn check_blob(info: &FileInfo, raw: &[u8]) -> Result<(), RestoreError> {
    if raw.len() as u64 != info.size {
        return Err(damaged(&info.filename, format!("it has {} bytes, the manifest says {}", raw.len(), info.size)));
    }
    if sha256(raw) != info.csum {
        return Err(damaged(&info.filename, "its checksum is not the manifest's"));
    }
    Ok(())
}

fn checked_index(info: &FileInfo, raw: Bytes) -> Result<Index, RestoreError> {
    let index = Index::parse(info.filename.kind(), raw).map_err(|error| damaged(&info.filename, error))?;
    if index.csum() != info.csum {
        return Err(damaged(&info.filename, "its checksum is not the manifest's"));
    }
    if index.size() != info.size {
        return Err(damaged(
            &info.filename,
            format!("it covers {} bytes, the manifest says {}", index.size(), info.size),
        ));
    }
    Ok(index)
}

async fn decode_blob(name: &ArchiveName, raw: Bytes, key: Option<Arc<CryptKey>>) -> Result<Vec<u8>, RestoreError> {
    let name = name.clone();
    blocking(move || {
        let blob = DataBlob::parse(raw).map_err(|error| damaged(&name, error))?;
        if blob.kind().is_encrypted() && key.is_none() {
            return Err(RestoreError::NeedsKey { archive: name });
        }
        blob.decode(key.as_deref(), MAX_BLOB_PLAIN).map_err(|error| damaged(&name, error))
    })
    .await
}

async fn whole(
    plain: Vec<u8>,
    mut output: impl Write + Send + 'static,
    monitor: &dyn RestoreMonitor,
) -> Result<RestoreReport, RestoreError> {
    let bytes_written = plain.len() as u64;
    monitor.started(Some(bytes_written));
    blocking(move || output.write_all(&plain).and_then(|()| output.flush()).map_err(RestoreError::Output)).await?;
    monitor.advanced(bytes_written);
    Ok(RestoreReport { bytes_written, chunks: 0 })
}

async fn stream_chunks(
    snapshot: &dyn OpenSnapshot,
    info: &FileInfo,
    index: &Index,
    key: Option<Arc<CryptKey>>,
    output: impl Write + Send + 'static,
    monitor: &dyn RestoreMonitor,
) -> Result<RestoreReport, RestoreError> {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(4);
    let writer = tokio::task::spawn_blocking(move || write_all(receiver, output));

    let mut report = RestoreReport::default();
    let mut plain = stream::iter(ChunkRef::of_index(index, info.crypt_mode))
        .map(|chunk| one_chunk(snapshot, &info.filename, chunk, key.clone()))
        .buffered(CHUNKS_AHEAD);
    while let Some(data) = plain.try_next().await? {
        let len = data.len() as u64;
        if sender.send(data).await.is_err() {
            break; // the writer has failed, and says below why
        }
        report.bytes_written += len;
        report.chunks += 1;
        monitor.advanced(len);
    }
    drop(sender);
    match writer.await {
        Ok(result) => result.map_err(RestoreError::Output)?,
        Err(error) => return Err(RestoreError::Output(io::Error::other(error))),
    }
    Ok(report)
}

fn write_all(mut receiver: mpsc::Receiver<Vec<u8>>, mut output: impl Write) -> io::Result<()> {
    while let Some(data) = receiver.blocking_recv() {
        output.write_all(&data)?;
    }
    output.flush()
}

async fn one_chunk(
    snapshot: &dyn OpenSnapshot,
    archive: &ArchiveName,
    chunk: ChunkRef,
    key: Option<Arc<CryptKey>>,
) -> Result<Vec<u8>, RestoreError> {
    let fetched = snapshot.fetch(vec![chunk]).next().await;
    let (_, blob) = fetched.ok_or_else(|| damaged(archive, "the source ended without the chunk"))?;
    let blob = blob?;
    let archive = archive.clone();
    blocking(move || {
        let what = || format!("chunk {} of {archive}", chunk.digest);
        if blob.kind().is_encrypted() != chunk.encrypted {
            return Err(damaged(what(), "encryption is not as the manifest says"));
        }
        let key = key.as_deref().filter(|_| chunk.encrypted);
        blob.decode_chunk(&chunk.digest, chunk.plain_len, key).map_err(|error| damaged(what(), error))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RestoreError::Output(io::Error::other(error))),
    }
}
