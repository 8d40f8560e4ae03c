//! The end of a session, well or not.

use std::sync::Arc;

use formats::{DataBlob, MAX_BLOB_PLAIN, Manifest, UploadStats};

use super::phase::Phase;
use super::{Staged, Statistics, Writer};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::h2::SessionCall;

/// `POST finish`: makes the snapshot visible and lets go of all locks before it is answered.
///
/// Open indexes, a session without files and a vanished previous snapshot leave the session usable; a missing or bad
/// manifest is found last and ends it.
pub(crate) async fn finish(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.begin_finishing()?;
    let finishing = Arc::clone(&session);
    let result = call.state.blocking(move || finishing.commit()).await?;
    match result {
        Ok(()) => {
            session.phase.set(Phase::Finished);
            tracing::info!(session = session.number, snapshot = %session.snapshot, "backup finished");
            Ok(Reply::null())
        }
        Err((error, repeatable)) => {
            if repeatable {
                session.phase.set(Phase::Open);
            }
            Err(error)
        }
    }
}

impl Writer {
    /// Checks and commits; an error says whether `finish` may be repeated.
    fn commit(&self) -> Result<(), (ApiError, bool)> {
        let again = |text: &str| (ApiError::bad_request(text), true);
        if self.indexes().any_open() {
            return Err(again("found open index writer - unable to finish backup"));
        }
        let statistics = *self.statistics();
        if statistics.files == 0 {
            return Err(again("backup does not contain valid files (file count == 0)"));
        }
        if let Some((previous, _)) = &self.previous {
            match self.store.snapshot_exists(&self.ns, previous) {
                Ok(true) => {}
                Ok(false) => return Err(again("the previous backup was removed meanwhile - unable to finish backup")),
                Err(error) => return Err((error.into(), true)),
            }
        }
        let mut staged = self.staged.blocking_write();
        let manifest = match staged.as_ref() {
            None => return Err((ApiError::bad_request("the session is over"), false)),
            Some(staged) => rewritten(staged, &statistics).map_err(|error| (error, false))?,
        };
        let Some(Staged { snapshot, _guard: guard, .. }) = staged.take() else {
            return Err((ApiError::bad_request("the session is over"), false));
        };
        // A benchmark is never kept.
        let committed = if self.benchmark { snapshot.abandon() } else { snapshot.commit(&manifest) };
        drop(guard);
        self.release_previous();
        committed.map_err(|error| (error.into(), false))
    }

    fn release_previous(&self) {
        if let Some((_, lock)) = &self.previous {
            lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
    }

    /// Ends the session: what was not committed is removed, locks are let go. Returns whether there is a snapshot.
    pub(super) fn end(&self) -> bool {
        let left = self.staged.blocking_write().take();
        if let Some(staged) = left {
            let Staged { snapshot, _guard: guard, .. } = staged;
            if let Err(error) = snapshot.abandon() {
                tracing::error!(snapshot = %self.snapshot, %error, "cannot remove an unfinished backup");
            }
            drop(guard);
        }
        self.release_previous();
        self.phase.get() == Phase::Finished && !self.benchmark
    }
}

/// Reads the uploaded manifest and writes it anew with the statistics of the upload.
fn rewritten(staged: &Staged, statistics: &Statistics) -> Result<DataBlob, ApiError> {
    let refuse =
        |error: &dyn std::fmt::Display| ApiError::bad_request(format!("unable to update manifest blob - {error}"));
    let Some(uploaded) = staged.manifest().clone() else { return Err(refuse(&"no manifest was uploaded")) };
    let blob = DataBlob::parse(uploaded).map_err(|error| refuse(&error))?;
    let plain = blob.decode(None, MAX_BLOB_PLAIN).map_err(|error| refuse(&error))?;
    let mut manifest = Manifest::parse_json(&plain).map_err(|error| refuse(&error))?;
    manifest.set_upload_stats(&UploadStats {
        count: statistics.chunks,
        size: statistics.size,
        compressed_size: statistics.compressed_size,
        duplicates: statistics.duplicates,
    });
    manifest.to_blob().map_err(|error| refuse(&error))
}
