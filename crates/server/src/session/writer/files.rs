//! Blobs, and files of the previous snapshot.

use std::sync::Arc;

use bytes::Bytes;
use formats::{ArchiveKind, DataBlob, Index, MANIFEST_NAME};

use super::{Staged, Writer};
use crate::http::body::read_exact;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::h2::SessionCall;
use crate::session::reader::{file_name, unreadable};

/// `GET previous_backup_time`.
pub(crate) async fn previous_backup_time(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    Reply::json(&call.session.previous.as_ref().map(|(previous, _)| previous.time.unix()))
}

/// `GET previous`: a file of the previous snapshot. The chunks of an index become known to the session.
pub(crate) async fn previous(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    let Some((snapshot, _)) = &session.previous else {
        return Err(ApiError::bad_request("no valid previous backup"));
    };
    let name = file_name(call.params.text("archive-name")?)?;
    let (reading, snapshot) = (Arc::clone(&session), snapshot.clone());
    let bytes = call
        .state
        .blocking(move || {
            let bytes =
                reading.store.read_file(&reading.ns, &snapshot, &name).map_err(|error| unreadable(&name, error))?;
            let bytes = Bytes::from(bytes);
            if name.kind() != ArchiveKind::Blob {
                let index = Index::parse(name.kind(), bytes.clone())
                    .map_err(|error| ApiError::bad_request(format!("previous index {name} is broken: {error}")))?;
                reading.known.add_index(&index);
            }
            Ok::<_, ApiError>(bytes)
        })
        .await??;
    Ok(Reply::file(bytes))
}

/// `POST blob`: stores a blob, replacing one of the same name. The manifest waits for `finish`.
pub(crate) async fn blob(mut call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.require_open()?;
    let name = file_name(call.params.text("file-name")?)?;
    if name.kind() != ArchiveKind::Blob {
        return Err(ApiError::bad_request(format!("wrong blob file extension: '{name}'")));
    }
    let size = call.params.uint("encoded-size")?;
    let share = call.state.uploads.share(session.number, size).await;
    let length = usize::try_from(size).map_err(|_| ApiError::parameter("encoded-size", "too large"))?;
    let body = read_exact(call.take_body()?, length, call.state.settings.upload_stall).await?;
    let writing = Arc::clone(&session);
    call.state
        .blocking(move || {
            let refuse = |error| ApiError::bad_request(format!("blob '{name}' refused: {error}"));
            let blob = DataBlob::parse(body).map_err(refuse)?;
            blob.verify_crc().map_err(refuse)?;
            writing.with_staged(|staged| {
                if name.as_str() == MANIFEST_NAME {
                    *staged.manifest() = Some(blob.into_bytes());
                    return Ok(());
                }
                Ok(staged.snapshot.write_file(&name, blob.as_bytes())?)
            })
        })
        .await??;
    drop(share);
    let mut statistics = session.statistics();
    statistics.files += 1;
    // Blobs count with their encoded length, but not as chunks.
    statistics.size += size;
    Ok(Reply::null())
}

impl Staged {
    /// The manifest as uploaded.
    pub(super) fn manifest(&self) -> std::sync::MutexGuard<'_, Option<Bytes>> {
        self.manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Writer {
    /// Runs work on what the session has made. Only for blocking threads.
    ///
    /// # Errors
    /// 400 when the session is over.
    pub(super) fn with_staged<T>(&self, work: impl FnOnce(&Staged) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let staged = self.staged.blocking_read();
        match &*staged {
            Some(staged) => work(staged),
            None => Err(ApiError::bad_request("the session is over")),
        }
    }
}
