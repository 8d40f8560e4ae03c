//! One snapshot: its files in the manifest's order, the manifest last.

use std::collections::BTreeSet;

use bytes::Bytes;
use formats::{
    ArchiveKind, CryptMode, DataBlob, FileInfo, Index, MAX_BLOB_PLAIN, Manifest, SnapshotId, VerifyResult, sha256,
};

use super::ledger::Ledger;
use super::{Engine, GroupJob, Slot};
use crate::error::{EndError, ErrorClass};
use crate::inventory::place;
use crate::report::{Event, Problem, SnapshotOutcome};
use crate::traits::{ArchiveLayout, CHUNK_OVERHEAD, Expectation, OpenSnapshot, SnapshotSink, max_file_len};

impl Engine {
    /// Copies a snapshot the target lacks, or goes on with one it has in part.
    pub(super) async fn copy(
        &self,
        job: &GroupJob,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        slot: &Slot,
    ) -> Result<SnapshotOutcome, EndError> {
        let Some(open) = self.open(job, snapshot, slot).await? else { return Ok(SnapshotOutcome::Vanished) };
        if !self.still_wanted(open.original()) {
            return Ok(SnapshotOutcome::Vanished);
        }
        self.copy_open(job, snapshot, base, open.as_ref(), slot).await
    }

    pub(super) async fn copy_open(
        &self,
        job: &GroupJob,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        open: &dyn OpenSnapshot,
        slot: &Slot,
    ) -> Result<SnapshotOutcome, EndError> {
        let sink = self.target.begin(&job.target_ns, snapshot, base, &self.options.owner).await?;
        let filled = async {
            let expected = self.expect(job, open, sink.as_ref(), true, slot).await?;
            let ledger = self.ledger_for(&self.ledger, &expected);
            self.fill(job, open, sink.as_ref(), &ledger, slot).await
        };
        match filled.await {
            Ok(()) => {
                // Every byte has just been looked at: what the source says of its own is no reason to copy it again.
                let failed = self.options.resync_corrupt && has_failed(open.manifest());
                let (manifest, blob) = changed(open, |manifest| {
                    if failed {
                        manifest.clear_verify_state();
                    }
                })?;
                self.commit(&manifest, &blob, sink, slot).await?;
                Ok(SnapshotOutcome::Copied)
            }
            Err(error) => {
                // A source that lies leaves no trace; what broke off goes on from here next time.
                if error.class() == ErrorClass::Skip {
                    sink.abandon().await;
                }
                Err(error)
            }
        }
    }

    /// Copies a snapshot again whose copy at the target is damaged. Nothing at the target is trusted unread, nor what
    /// other snapshots of this run trusted so.
    ///
    /// A failed verification at the source is not taken over: every chunk has just been looked at.
    pub(super) async fn mend(
        &self,
        job: &GroupJob,
        snapshot: &SnapshotId,
        slot: &Slot,
    ) -> Result<SnapshotOutcome, EndError> {
        let Some(open) = self.open(job, snapshot, slot).await? else { return Ok(SnapshotOutcome::Vanished) };
        let Some(sink) = self.target.reopen(&job.target_ns, snapshot, None, &self.options.owner).await? else {
            return self.copy_open(job, snapshot, None, open.as_ref(), slot).await;
        };
        let expected = self.expect(job, open.as_ref(), sink.as_ref(), true, slot).await?;
        let ledger = if expected.rewritten { Ledger::default() } else { self.ledger_for(&self.read_ledger, &expected) };
        self.fill(job, open.as_ref(), sink.as_ref(), &ledger, slot).await?;
        // Notes written at the target stay with the snapshot, as on a refresh.
        let there = sink.existing().and_then(|blob| Manifest::parse_blob(blob).ok());
        let notes = there.as_ref().and_then(Manifest::notes);
        let notes = notes.filter(|notes| !notes.is_empty() && !self.options.sync_metadata);
        let (manifest, blob) = changed(open.as_ref(), |manifest| {
            if has_failed(manifest) {
                manifest.clear_verify_state();
            }
            if let Some(notes) = notes {
                manifest.set_notes(notes);
            }
        })?;
        self.commit(&manifest, &blob, sink, slot).await?;
        Ok(SnapshotOutcome::Copied)
    }

    /// Opens a snapshot at the source and checks that its manifest is one to go by. `None` for one that is gone, or
    /// that is to be left alone.
    pub(super) async fn open(
        &self,
        job: &GroupJob,
        snapshot: &SnapshotId,
        slot: &Slot,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        let Some(open) = self.source.open(&job.source_ns, snapshot).await? else { return Ok(None) };
        check_manifest(open.manifest(), snapshot)?;
        if let Some(why) = open.objection() {
            self.warn(slot, place(&job.target_ns, snapshot), why);
            return Ok(None);
        }
        Ok(Some(open))
    }

    /// Tells the target what comes.
    pub(super) async fn expect(
        &self,
        job: &GroupJob,
        open: &dyn OpenSnapshot,
        sink: &dyn SnapshotSink,
        anew: bool,
        slot: &Slot,
    ) -> Result<Expectation, EndError> {
        let expected = sink.expect(open.manifest(), anew).await?;
        if let Some(warning) = &expected.warning {
            self.warn(slot, place(&job.target_ns, open.manifest().snapshot()), warning);
        }
        Ok(expected)
    }

    fn warn(&self, slot: &Slot, at: String, message: &str) {
        let problem = Problem::new(at, message);
        self.monitor.event(Event::Warning(problem.clone()));
        slot.lock().warnings.push(problem);
    }

    /// The list-based filters once more, on the manifest: it may have changed since it was listed.
    fn still_wanted(&self, manifest: &Manifest) -> bool {
        let verified = manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Ok);
        (!self.options.verified_only || verified) && (!self.options.encrypted_only || manifest.is_fully_encrypted())
    }

    /// Brings every file of the manifest, with its chunks, and the log.
    async fn fill(
        &self,
        job: &GroupJob,
        open: &dyn OpenSnapshot,
        sink: &dyn SnapshotSink,
        ledger: &Ledger,
        slot: &Slot,
    ) -> Result<(), EndError> {
        for info in &open.manifest().files {
            self.control.ready().await?;
            let there = sink.has_file(info).await?;
            self.archive_started(job, open, info);
            let moved = self.file(open, sink, info, there, ledger, slot).await?;
            self.archive_finished(job, open, info, moved);
        }
        self.client_log(open, sink, slot).await?;
        Ok(())
    }

    pub(super) fn archive_started(&self, job: &GroupJob, open: &dyn OpenSnapshot, info: &FileInfo) {
        self.monitor.event(Event::ArchiveStarted {
            namespace: job.target_ns.clone(),
            snapshot: open.manifest().snapshot(),
            archive: info.filename.clone(),
        });
    }

    pub(super) fn archive_finished(&self, job: &GroupJob, open: &dyn OpenSnapshot, info: &FileInfo, moved: u64) {
        if info.filename.kind() == ArchiveKind::Blob {
            return;
        }
        self.monitor.event(Event::ArchiveFinished {
            namespace: job.target_ns.clone(),
            snapshot: open.manifest().snapshot(),
            archive: info.filename.clone(),
            moved_bytes: moved,
        });
    }

    /// The ledger `of_run` where chunks are shared, a fresh one otherwise; one that minds the other where they are lent.
    /// Chunks that are stored under other names have a ledger of their own.
    pub(super) fn ledger_for(&self, of_run: &Ledger, expected: &Expectation) -> Ledger {
        if self.target.shares_chunks() {
            if expected.rewritten { self.rewritten_ledger.clone() } else { of_run.clone() }
        } else if self.target.lends_chunks() {
            Ledger::beside(of_run)
        } else {
            Ledger::default()
        }
    }

    /// Brings one file. `there` says that the target has it already: of an index then only the chunks are looked at.
    ///
    /// Returns the encoded bytes of the chunks that were moved for it.
    pub(super) async fn file(
        &self,
        open: &dyn OpenSnapshot,
        sink: &dyn SnapshotSink,
        info: &FileInfo,
        there: bool,
        ledger: &Ledger,
        slot: &Slot,
    ) -> Result<u64, EndError> {
        let named = |error: EndError| error.while_doing(&info.filename);
        if info.filename.kind() == ArchiveKind::Blob {
            if there {
                return Ok(0);
            }
            if self.rehearsal.is_some() {
                slot.lock().bytes_transferred += info.size;
                return Ok(0);
            }
            let Some(_room) = self.admission.bytes(info.size).await else {
                return Err(EndError::stop("the run is over"));
            };
            let bytes = open.file(&info.filename).await.map_err(named)?;
            check_blob(info, &bytes)?;
            slot.lock().bytes_transferred += bytes.len() as u64;
            sink.put_blob(&info.filename, bytes).await.map_err(named)?;
            return Ok(0);
        }
        let bytes = open.file(&info.filename).await.map_err(named)?;
        let index = check_index(info, &bytes)?;
        slot.lock().bytes_transferred += bytes.len() as u64;
        let layout = ArchiveLayout::of(&index);
        let archive = sink.begin_archive(&info.filename, layout).await.map_err(named)?;
        let before = slot.lock().bytes_transferred;
        self.chunks(open, sink, &archive, info, &index, ledger, slot).await.map_err(named)?;
        let moved = slot.lock().bytes_transferred - before;
        drop(index);
        if !there {
            sink.finish_archive(archive, bytes).await.map_err(named)?;
        }
        Ok(moved)
    }

    /// Brings the client's log where the target lacks it. Returns whether it did.
    ///
    /// The log is no part of the manifest: one that cannot be had is passed over.
    pub(super) async fn client_log(
        &self,
        open: &dyn OpenSnapshot,
        sink: &dyn SnapshotSink,
        slot: &Slot,
    ) -> Result<bool, EndError> {
        if sink.has_client_log().await? {
            return Ok(false);
        }
        let log = match open.client_log().await {
            Ok(Some(log)) => log,
            Ok(None) => return Ok(false),
            Err(error) if error.class() == ErrorClass::Skip => return Ok(false),
            Err(error) => return Err(error),
        };
        if log.len() as u64 > MAX_BLOB_PLAIN as u64 + CHUNK_OVERHEAD
            || DataBlob::parse(log.clone()).and_then(|blob| blob.verify_crc()).is_err()
        {
            return Ok(false);
        }
        slot.lock().bytes_transferred += log.len() as u64;
        sink.put_client_log(log).await?;
        Ok(true)
    }

    pub(super) async fn commit(
        &self,
        manifest: &Manifest,
        blob: &DataBlob,
        sink: Box<dyn SnapshotSink>,
        slot: &Slot,
    ) -> Result<(), EndError> {
        sink.commit(manifest, blob).await?;
        slot.lock().bytes_transferred += blob.encoded_len();
        Ok(())
    }
}

fn has_failed(manifest: &Manifest) -> bool {
    manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Failed)
}

/// Returns the manifest of `open` as `change` leaves it; byte for byte what it was if that changes nothing.
fn changed(open: &dyn OpenSnapshot, change: impl FnOnce(&mut Manifest)) -> Result<(Manifest, DataBlob), EndError> {
    let mut manifest = open.manifest().clone();
    change(&mut manifest);
    let blob = if manifest == *open.manifest() { open.manifest_blob().clone() } else { to_blob(&manifest)? };
    Ok((manifest, blob))
}

/// Writes a manifest that was changed on the way.
pub(super) fn to_blob(manifest: &Manifest) -> Result<DataBlob, EndError> {
    manifest.to_blob().map_err(|error| EndError::skip("its changed manifest cannot be written").caused_by(error))
}

/// Checks what a manifest says about itself.
fn check_manifest(manifest: &Manifest, snapshot: &SnapshotId) -> Result<(), EndError> {
    let says = manifest.snapshot();
    if says != *snapshot {
        return Err(EndError::skip(format!("the source sent the manifest of `{says}` for it")));
    }
    let mut seen = BTreeSet::new();
    for info in &manifest.files {
        let name = &info.filename;
        if name.is_manifest() || name.is_client_log() {
            return Err(EndError::skip(format!("its manifest names `{name}`, which no manifest may")));
        }
        if !seen.insert(name) {
            return Err(EndError::skip(format!("its manifest names `{name}` twice")));
        }
    }
    Ok(())
}

/// Checks a blob file against the manifest: length, checksum, CRC, and whether it is encrypted as it must be.
pub(crate) fn check_blob(info: &FileInfo, bytes: &Bytes) -> Result<(), EndError> {
    let name = &info.filename;
    if bytes.len() as u64 != info.size {
        return Err(EndError::skip(format!("`{name}` has {} bytes, but the manifest says {}", bytes.len(), info.size)));
    }
    if sha256(bytes) != info.csum {
        return Err(EndError::skip(format!("`{name}` has another checksum than the manifest says")));
    }
    let blob = DataBlob::parse(bytes.clone())
        .and_then(|blob| blob.verify_crc().map(|()| blob))
        .map_err(|error| EndError::skip(format!("`{name}` is damaged")).caused_by(error))?;
    // A key encrypted for a master key counts as encrypted but is stored as a plain blob, so only the other way round
    // is a contradiction.
    if blob.kind().is_encrypted() && info.crypt_mode != CryptMode::Encrypt {
        return Err(EndError::skip(format!("`{name}` is encrypted, but the manifest says it is not")));
    }
    Ok(())
}

/// Parses an index file and checks its checksum and length against the manifest.
pub(crate) fn check_index(info: &FileInfo, bytes: &Bytes) -> Result<Index, EndError> {
    let name = &info.filename;
    if bytes.len() as u64 > max_file_len(info) {
        return Err(EndError::skip(format!("`{name}` is longer than its {} bytes can need", info.size)));
    }
    let index = Index::parse(name.kind(), bytes.clone())
        .map_err(|error| EndError::skip(format!("`{name}` is no index")).caused_by(error))?;
    if index.size() != info.size {
        return Err(EndError::skip(format!(
            "`{name}` is about {} bytes, but the manifest says {}",
            index.size(),
            info.size
        )));
    }
    if index.csum() != info.csum {
        return Err(EndError::skip(format!("`{name}` has another checksum than the manifest says")));
    }
    Ok(index)
}
