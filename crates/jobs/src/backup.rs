//! Making a backup: images become fixed indexes over chunks of 4 MiB, other files become blobs.
//!
//! The target is asked for each chunk whether it lacks it, so an image that was backed up before costs reading and
//! hashing only. Reading, hashing, compressing and sending overlap; what is on its way is bounded by
//! [`CHUNKS_IN_FLIGHT`] chunks.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, AuthId, ChunkDigest, CryptKey, CryptMode, DataBlob, FIXED_CHUNK_SIZE, FileInfo,
    FixedIndexWriter, GroupId, IndexBytes, IndexError, MAX_BLOB_PLAIN, Manifest, Namespace, SnapshotId, VerifyResult,
};
use futures_util::stream::{self, TryStreamExt};
use replication::{ArchiveLayout, ChunkRef, EndError, SnapshotSink, Target};
use tasks::now;
use tokio::sync::mpsc;

/// Chunks between the reader and the target at any time: 16 of 4 MiB, twice (plain and encoded) at worst.
const CHUNKS_IN_FLIGHT: usize = 16;
/// Chunks being hashed at the same time.
const HASHERS: usize = 3;

/// What to back up, and under which name.
#[derive(Debug)]
pub struct BackupRequest {
    /// Namespace at the target; made if missing.
    pub namespace: Namespace,
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// Owner of the group if it is made now (a remote owns it as its own user).
    pub owner: AuthId,
    /// The archives, in the order of the manifest.
    pub archives: Vec<ArchiveInput>,
    /// Encrypts everything, where given.
    pub key: Option<Arc<CryptKey>>,
}

/// One archive: an open file and the name it gets.
#[derive(Debug)]
pub struct ArchiveInput {
    /// Name in the snapshot, such as `disk.img.fidx` or `vm.conf.blob`.
    pub name: ArchiveName,
    /// Where the bytes come from: a regular file, or a block device for an image.
    pub file: File,
    /// How to call it in a message.
    pub described: String,
}

/// What a backup did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Bytes read.
    pub bytes_read: u64,
    /// Chunks that the target lacked.
    pub chunks_transferred: u64,
    /// Chunks that were there already, repetitions within the backup included.
    pub chunks_reused: u64,
    /// Encoded bytes of chunks and blobs that were handed over.
    pub bytes_transferred: u64,
    /// Plain bytes of the chunks that were there already.
    pub bytes_reused: u64,
}

/// Why a backup failed. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The input cannot be read, or is not what it has to be.
    #[error("cannot read {what}")]
    Input {
        /// The file.
        what: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The request itself is at fault.
    #[error("{0}")]
    Request(String),
    /// The target refused or failed.
    #[error(transparent)]
    Target(#[from] EndError),
    /// The data could not be encoded.
    #[error("cannot encode {what}")]
    Encode {
        /// The archive.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BackupError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Target(error) => error.hint().map(str::to_owned),
            Self::Input { .. } | Self::Request(_) | Self::Encode { .. } => None,
        }
    }
}

/// Hears how a backup goes on.
pub trait BackupMonitor: Send + Sync {
    /// An archive of `size` bytes starts.
    fn archive(&self, name: &ArchiveName, size: u64);
    /// `bytes` more of the current archive are at the target.
    fn advanced(&self, bytes: u64);
}

#[derive(Default)]
struct Counters {
    read: AtomicU64,
    transferred: AtomicU64,
    reused: AtomicU64,
    bytes_transferred: AtomicU64,
    bytes_reused: AtomicU64,
}

impl Counters {
    fn report(&self) -> BackupReport {
        BackupReport {
            bytes_read: self.read.load(Ordering::Relaxed),
            chunks_transferred: self.transferred.load(Ordering::Relaxed),
            chunks_reused: self.reused.load(Ordering::Relaxed),
            bytes_transferred: self.bytes_transferred.load(Ordering::Relaxed),
            bytes_reused: self.bytes_reused.load(Ordering::Relaxed),
        }
    }
}

/// Makes a backup at `target`.
///
/// Dropping the future gives up: a target on disk keeps chunks for the next try, and nothing is visible.
///
/// # Errors
/// See [`BackupError`].
pub async fn backup(
    target: &dyn Target,
    request: BackupRequest,
    monitor: &dyn BackupMonitor,
) -> Result<BackupReport, BackupError> {
    let mut names = HashSet::new();
    if let Some(twice) = request.archives.iter().find(|input| !names.insert(input.name.clone())) {
        return Err(BackupError::Request(format!("archive `{}` is named twice", twice.name)));
    }
    target.create_namespace(&request.namespace).await?;
    let base = base_of(target, &request.namespace, &request.snapshot).await?;
    let sink = target.begin(&request.namespace, &request.snapshot, base.as_ref(), &request.owner).await?;

    let counters = Counters::default();
    let mut manifest = Manifest::new(request.snapshot);
    let key = request.key;
    let mut failed = None;
    for input in request.archives {
        let stored = match input.name.kind() {
            ArchiveKind::Blob => store_blob(&*sink, input, key.clone(), &counters, monitor).await,
            _ => store_image(&*sink, input, key.clone(), &counters, monitor).await,
        };
        match stored {
            Ok(info) => manifest.files.push(info),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if let Some(error) = failed {
        sink.abandon().await;
        return Err(error);
    }
    let encoded = seal(&mut manifest, key.as_deref());
    match encoded {
        Ok(blob) => sink.commit(&manifest, &blob).await?,
        Err(error) => {
            sink.abandon().await;
            return Err(error);
        }
    }
    Ok(counters.report())
}

/// The newest snapshot of the group that can be trusted; an error when the new one would not be the newest.
async fn base_of(
    target: &dyn Target,
    namespace: &Namespace,
    snapshot: &SnapshotId,
) -> Result<Option<SnapshotId>, EndError> {
    let group: &GroupId = &snapshot.group;
    let known = target.snapshots(namespace, group).await?;
    let newest = known.iter().filter(|info| info.finished).max_by_key(|info| info.id.time);
    match newest {
        Some(newest) if newest.id.time >= snapshot.time => Err(EndError::skip(format!(
            "the group already has a snapshot of {}, and a new one must be newer",
            newest.id.time
        ))
        .with_hint("choose a later --backup-time, or wait a second")),
        Some(newest) if !newest.manifest_unreadable && newest.verified != Some(VerifyResult::Failed) => {
            Ok(Some(newest.id.clone()))
        }
        _ => Ok(None),
    }
}

fn crypt_mode(key: Option<&CryptKey>) -> CryptMode {
    if key.is_some() { CryptMode::Encrypt } else { CryptMode::None }
}

async fn store_blob(
    sink: &dyn SnapshotSink,
    input: ArchiveInput,
    key: Option<Arc<CryptKey>>,
    counters: &Counters,
    monitor: &dyn BackupMonitor,
) -> Result<FileInfo, BackupError> {
    let ArchiveInput { name, mut file, described } = input;
    let size = length(&mut file).map_err(|source| BackupError::Input { what: described.clone(), source })?;
    monitor.archive(&name, size);
    let mode = crypt_mode(key.as_deref());
    let shown = described.clone();
    let (plain_len, blob) = blocking(move || {
        let failed = |source| BackupError::Input { what: shown.clone(), source };
        let mut plain = Vec::new();
        file.take(MAX_BLOB_PLAIN as u64 + 1).read_to_end(&mut plain).map_err(failed)?;
        if plain.len() > MAX_BLOB_PLAIN {
            let text = format!("{shown} is larger than {MAX_BLOB_PLAIN} bytes, the most a blob can hold");
            return Err(BackupError::Request(text));
        }
        let blob = DataBlob::encode(&plain, true, key.as_deref())
            .map_err(|source| BackupError::Encode { what: shown.clone(), source: source.into() })?;
        Ok((plain.len() as u64, blob))
    })
    .await?;
    let encoded = blob.to_bytes();
    let info = FileInfo::of_blob(name.clone(), mode, &encoded);
    counters.read.fetch_add(plain_len, Ordering::Relaxed);
    counters.bytes_transferred.fetch_add(info.size, Ordering::Relaxed);
    sink.put_blob(&name, encoded).await?;
    monitor.advanced(plain_len);
    Ok(info)
}

/// A chunk on its way: where it stands, what it is called, and its plain data.
struct Piece {
    position: u64,
    digest: ChunkDigest,
    plain: Bytes,
}

async fn store_image(
    sink: &dyn SnapshotSink,
    input: ArchiveInput,
    key: Option<Arc<CryptKey>>,
    counters: &Counters,
    monitor: &dyn BackupMonitor,
) -> Result<FileInfo, BackupError> {
    let ArchiveInput { name, mut file, described } = input;
    let size = length(&mut file).map_err(|source| BackupError::Input { what: described.clone(), source })?;
    if size == 0 {
        return Err(BackupError::Request(format!("{described} is empty, and an empty image cannot be stored")));
    }
    monitor.archive(&name, size);
    let mode = crypt_mode(key.as_deref());
    let layout = ArchiveLayout::Fixed { size, chunk_size: FIXED_CHUNK_SIZE };
    let handle = sink.begin_archive(&name, layout).await?;

    let mut seen = HashSet::new();
    let mut digests = Vec::new();
    let hashed = pieces(file, size, described, key.clone());
    let fresh = hashed.try_filter_map(|piece| {
        digests.push((piece.digest, piece.plain.len() as u64));
        let again = !seen.insert(piece.digest);
        let len = piece.plain.len() as u64;
        counters.read.fetch_add(len, Ordering::Relaxed);
        if again {
            counters.reused.fetch_add(1, Ordering::Relaxed);
            counters.bytes_reused.fetch_add(len, Ordering::Relaxed);
            monitor.advanced(len);
        }
        std::future::ready(Ok((!again).then_some(piece)))
    });
    fresh
        .map_ok(|piece| {
            let (key, handle) = (key.clone(), &handle);
            async move {
                let len = piece.plain.len() as u64;
                let chunk = ChunkRef { digest: piece.digest, plain_len: len, encrypted: mode == CryptMode::Encrypt };
                if sink.missing(&[chunk]).await?.is_empty() {
                    counters.reused.fetch_add(1, Ordering::Relaxed);
                    counters.bytes_reused.fetch_add(len, Ordering::Relaxed);
                } else {
                    let what = format!("chunk at byte {} of {}", piece.position, handle.name);
                    let blob = blocking(move || {
                        DataBlob::encode(&piece.plain, true, key.as_deref())
                            .map_err(|source| BackupError::Encode { what, source: source.into() })
                    })
                    .await?;
                    counters.transferred.fetch_add(1, Ordering::Relaxed);
                    counters.bytes_transferred.fetch_add(blob.encoded_len(), Ordering::Relaxed);
                    sink.put_chunk(handle, chunk, blob).await?;
                }
                monitor.advanced(len);
                Ok::<(), BackupError>(())
            }
        })
        .try_buffer_unordered(CHUNKS_IN_FLIGHT)
        .try_collect::<()>()
        .await?;

    let index = write_index(&name, size, &digests)?;
    let info = FileInfo { filename: name, crypt_mode: mode, size, csum: index.csum };
    sink.finish_archive(handle, index.bytes.into()).await?;
    Ok(info)
}

/// Reads `size` bytes of `file` in chunks and hashes them; yields them in order.
fn pieces(
    file: File,
    size: u64,
    described: String,
    key: Option<Arc<CryptKey>>,
) -> impl stream::Stream<Item = Result<Piece, BackupError>> + Unpin {
    let (sender, receiver) = mpsc::channel(HASHERS);
    tokio::task::spawn_blocking(move || {
        let mut file = file;
        let mut position = 0;
        while position < size {
            let read = read_chunk(&mut file, FIXED_CHUNK_SIZE.min(size - position));
            let ended = read.is_err();
            let item = read
                .map(|plain| (position, plain))
                .map_err(|source| BackupError::Input { what: described.clone(), source });
            if sender.blocking_send(item).is_err() || ended {
                return;
            }
            position += FIXED_CHUNK_SIZE;
        }
    });
    let read = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let hashed = read
        .map_ok(move |(position, plain)| {
            let key = key.clone();
            blocking(move || {
                let digest = key.map_or_else(|| ChunkDigest::of(&plain), |key| key.digest(&plain));
                Ok(Piece { position, digest, plain })
            })
        })
        .try_buffered(HASHERS);
    Box::pin(hashed)
}

fn read_chunk(file: &mut File, len: u64) -> io::Result<Bytes> {
    let mut plain = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact(&mut plain).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it became shorter while it was read"),
        _ => error,
    })?;
    Ok(plain.into())
}

/// The length of a regular file or of a block device; the file is at its start afterwards.
fn length(file: &mut File) -> io::Result<u64> {
    let meta = file.metadata()?;
    if !meta.is_file() && !meta.file_type().is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a block device"));
    }
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(end)
}

fn seal(manifest: &mut Manifest, key: Option<&CryptKey>) -> Result<DataBlob, BackupError> {
    if let Some(key) = key {
        manifest.sign(key);
    }
    manifest.to_blob().map_err(|source| BackupError::Encode { what: "the manifest".into(), source: source.into() })
}

/// The index over the chunks, digest and length each, in order.
fn write_index(name: &ArchiveName, size: u64, chunks: &[(ChunkDigest, u64)]) -> Result<IndexBytes, BackupError> {
    let failed = |source: IndexError| BackupError::Encode { what: name.to_string(), source: source.into() };
    let uuid = uuid::Uuid::new_v4().into_bytes();
    let mut writer = FixedIndexWriter::new(uuid, now(), Some(size), FIXED_CHUNK_SIZE).map_err(failed)?;
    for (position, (digest, len)) in (0..).zip(chunks) {
        writer.set(position, *digest, *len).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BackupError::Encode { what: "data".into(), source: error.into() }),
    }
}
