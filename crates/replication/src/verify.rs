//! Checking chunks: on the blocking pool, on as many cores as there are.

use std::sync::{Arc, LazyLock};

use formats::{ChunkDigest, CryptKey, DataBlob, MAX_CHUNK_PLAIN};
use tokio::sync::Semaphore;

use crate::error::EndError;
use crate::traits::ChunkRef;

/// Cores that check chunks at the same time, over the whole process.
static CORES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Arc::new(Semaphore::new(cores))
});

/// Why a blob is not the chunk it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadChunk {
    #[error("it has {found} bytes, more than the {most} a chunk of {plain} plain bytes can have")]
    TooLong { found: u64, most: u64, plain: u64 },
    #[error("it is {}, but its file is {}", kind(*.found_encrypted), kind(!*.found_encrypted))]
    Kind { found_encrypted: bool },
    #[error("it does not hold what its digest says")]
    Content(#[source] formats::BlobError),
    /// The chunk is whole, the index that names it is wrong.
    #[error("it is whole, but the index gives it a wrong length")]
    Length,
    #[error("checking it was interrupted")]
    Interrupted,
}

fn kind(encrypted: bool) -> &'static str {
    if encrypted { "encrypted" } else { "not encrypted" }
}

impl BadChunk {
    /// Whether the stored bytes themselves are damaged; otherwise whoever asked for them is wrong.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Content(_))
    }
}

/// Checks a blob against its reference and gives it back.
///
/// Checked are length, CRC and whether it is encrypted as it must be; of a plain chunk also the length of its data and
/// its digest. An encrypted one cannot be checked further without its key.
pub(crate) async fn check(chunk: ChunkRef, blob: DataBlob) -> Result<DataBlob, BadChunk> {
    check_with(chunk, blob, None).await
}

/// As [`check`]; with the `key` of an encrypted chunk that one is decrypted and compared with its digest, too.
pub(crate) async fn check_with(chunk: ChunkRef, blob: DataBlob, key: Option<CryptKey>) -> Result<DataBlob, BadChunk> {
    let Ok(core) = Arc::clone(&CORES).acquire_owned().await else { return Err(BadChunk::Interrupted) };
    let checked = tokio::task::spawn_blocking(move || {
        let _core = core;
        check_now(&chunk, &blob, key.as_ref().filter(|_| chunk.encrypted)).map(|()| blob)
    });
    checked.await.unwrap_or(Err(BadChunk::Interrupted))
}

fn check_now(chunk: &ChunkRef, blob: &DataBlob, key: Option<&CryptKey>) -> Result<(), BadChunk> {
    let most = chunk.max_encoded();
    if blob.encoded_len() > most {
        return Err(BadChunk::TooLong { found: blob.encoded_len(), most, plain: chunk.plain_len });
    }
    let found_encrypted = blob.kind().is_encrypted();
    if found_encrypted != chunk.encrypted {
        return Err(BadChunk::Kind { found_encrypted });
    }
    blob.verify_chunk(&chunk.digest, chunk.plain_len, key).map_err(|error| match blob.decode(None, MAX_CHUNK_PLAIN) {
        Ok(plain) if ChunkDigest::of(&plain) == chunk.digest => BadChunk::Length,
        _ => BadChunk::Content(error),
    })
}

/// Runs work that keeps a core busy on the blocking pool, no more of it at once than there are cores.
pub(crate) async fn on_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EndError> {
    let Ok(core) = Arc::clone(&CORES).acquire_owned().await else { return Err(EndError::stop("the run is over")) };
    blocking(move || {
        let _core = core;
        work()
    })
    .await
}

/// Runs blocking work of an end on the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EndError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| EndError::stop("work on a disk was interrupted").caused_by(error))
}
