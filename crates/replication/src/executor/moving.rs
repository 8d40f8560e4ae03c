//! Moving: what was copied is read back, and only then removed at the source.
//!
//! ```text
//! read back   every file and every chunk of the copy, decoded and hashed (each chunk once in a run)
//! compare     the source's snapshot, opened again, is the one that was copied
//! take along  a log or notes that came late
//! remove      at the source, with the group when it was the last one
//! ```
//!
//! A run that dies at any of these leaves the snapshot at both ends, and the next one begins again with reading back.

use std::collections::HashSet;

use formats::{
    ArchiveKind, CryptKey, CryptMode, FileInfo, Fingerprint, Index, Manifest, Namespace, SignatureState, SnapshotId,
};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::refresh::{other_notes, refuse_difference};
use super::snapshot::{check_blob, check_index};
use super::{Engine, GroupJob, Slot};
use crate::error::{EndError, ErrorClass};
use crate::inventory::place;
use crate::plan::{Action, Step};
use crate::report::Event;
use crate::traits::{ChunkRef, OpenSnapshot};
use crate::verify;

const READ_HINT: &str = "it stays at the source; check the disk of the target, then copy it again with resync-corrupt, or \
                         remove it at the target";

impl Engine {
    /// Moves the snapshots of `steps`, which are at the target, one by one. One that fails stays at the source, and the
    /// others go on unless nothing else can succeed.
    pub(super) async fn move_away(&self, job: &GroupJob, steps: &[&Step], slot: &Slot) {
        if steps.is_empty() || self.is_over() {
            return;
        }
        if let Err(error) = self.source.may_remove(&job.source_ns, &job.plan.id).await {
            return self.fail(slot, place(&job.target_ns, &job.plan.id), &error);
        }
        for step in steps {
            if self.is_over() || self.control.ready().await.is_err() {
                return;
            }
            let (namespace, snapshot) = (job.target_ns.clone(), step.snapshot.clone());
            let moved = match (&self.rehearsal, step.action) {
                (None, _) => self.move_one(job, &snapshot, slot).await,
                // It would come first.
                (Some(_), Action::Copy(_)) => Ok(()),
                (Some(_), _) => self.copy_of(&job.target_ns, &snapshot).await.map(drop),
            };
            if let Err(error) = moved {
                let error = error.while_doing("it was not moved");
                self.fail(slot, place(&namespace, &snapshot), &error);
                if error.class() != ErrorClass::Skip {
                    return;
                }
                continue;
            }
            slot.lock().snapshots_moved += 1;
            self.monitor.event(Event::Moved { namespace, snapshot });
        }
    }

    async fn move_one(&self, job: &GroupJob, snapshot: &SnapshotId, slot: &Slot) -> Result<(), EndError> {
        let target_ns = &job.target_ns;
        self.monitor.event(Event::ReadingBack { namespace: target_ns.clone(), snapshot: snapshot.clone() });
        let copy = self.copy_of(target_ns, snapshot).await?;
        self.read_back(copy.as_ref()).await.map_err(|error| match error.hint() {
            None => error.with_hint(READ_HINT),
            Some(_) => error,
        })?;
        // Opened after the long reading, so that nothing changed since is overlooked.
        let Some(origin) = self.open(job, snapshot, slot).await? else { return Ok(()) };
        self.check_copy(origin.as_ref(), copy.manifest())?;
        let log = if copy.client_log().await?.is_none() { origin.client_log().await? } else { None };
        let notes = other_notes(origin.original(), copy.manifest(), self.options.sync_metadata);
        // Whoever has it open keeps it from being changed or removed.
        drop((copy, origin));
        if let Some(log) = log {
            self.target.add_client_log(target_ns, snapshot, log).await?;
        }
        if let Some(notes) = notes {
            self.target.set_notes(target_ns, snapshot, &notes).await?;
        }
        self.remove_origin(&job.source_ns, snapshot).await
    }

    async fn copy_of(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<Box<dyn OpenSnapshot>, EndError> {
        let found = self.target.read_back(namespace, snapshot).await?;
        found.ok_or_else(|| EndError::skip("its copy is gone from the target"))
    }

    async fn remove_origin(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        self.source
            .remove_moved(namespace, snapshot)
            .await
            .map_err(|error| error.while_doing("removing it at the source"))
    }

    /// Reads every file and chunk of a snapshot at the target.
    async fn read_back(&self, copy: &dyn OpenSnapshot) -> Result<(), EndError> {
        let manifest = copy.manifest();
        let key = self.key_of(manifest);
        for info in &manifest.files {
            let named = |error: EndError| error.while_doing(format!("reading back `{}`", info.filename));
            self.control.ready().await?;
            let bytes = copy.file(&info.filename).await.map_err(named)?;
            if info.filename.kind() == ArchiveKind::Blob {
                check_blob(info, &bytes).map_err(named)?;
            } else {
                let index = check_index(info, &bytes).map_err(named)?;
                self.read_chunks(copy, info, &index, key).await.map_err(named)?;
            }
        }
        Ok(())
    }

    /// The key at hand under which a snapshot is encrypted.
    fn key_of(&self, manifest: &Manifest) -> Option<&CryptKey> {
        let named = manifest.key_fingerprint().ok().flatten()?;
        self.options.keys.iter().find(|key| key.fingerprint() == named)
    }

    async fn read_chunks(
        &self,
        copy: &dyn OpenSnapshot,
        info: &FileInfo,
        index: &Index,
        key: Option<&CryptKey>,
    ) -> Result<(), EndError> {
        let unread: HashSet<ChunkRef> = {
            let read = self.read_back.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            ChunkRef::of_index(index, info.crypt_mode).filter(|chunk| !read.contains(chunk)).collect()
        };
        // In the order of the index, which is that of the disk more often than not.
        let mut left = unread.clone();
        let chunks = ChunkRef::of_index(index, info.crypt_mode).filter(|chunk| left.remove(chunk));
        let mut reading = stream::iter(chunks)
            .map(|chunk| async move {
                self.control.ready().await?;
                let over = || EndError::stop("the run is over");
                let _room = self.admission.chunk(&chunk).await.ok_or_else(over)?;
                let lost = || EndError::retry(format!("chunk {} was not delivered", chunk.digest));
                let (_, blob) = copy.fetch(vec![chunk]).next().await.ok_or_else(lost)?;
                let checked = verify::check_with(chunk, blob?, key.cloned()).await;
                checked
                    .map(|_| chunk)
                    .map_err(|error| EndError::skip(format!("chunk {} is damaged", chunk.digest)).caused_by(error))
            })
            .buffer_unordered(self.options.in_flight_requests.max(1));
        while let Some(chunk) = reading.next().await {
            let chunk = chunk?;
            self.read_back.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(chunk);
        }
        Ok(())
    }

    /// Checks that what is at the target is the source's snapshot: the same files, or those files encrypted or decrypted
    /// on the way there.
    fn check_copy(&self, origin: &dyn OpenSnapshot, copy: &Manifest) -> Result<(), EndError> {
        let manifest = origin.manifest();
        let made_of = copy.source_signature();
        if made_of.is_some() && is_decrypted_from(manifest, copy, made_of) {
            return Ok(());
        }
        if made_of.is_some() && made_of == manifest.source_signature() && self.is_encrypted_from(manifest, copy) {
            return Ok(());
        }
        refuse_difference(manifest, copy)
    }

    /// Whether both are the same plain snapshot, encrypted: blobs become other bytes each time, so that the signature of
    /// the copy has to vouch for them.
    fn is_encrypted_from(&self, manifest: &Manifest, copy: &Manifest) -> bool {
        let signed =
            self.key_of(copy).is_some_and(|key| matches!(copy.verify_signature(key), Ok(SignatureState::Valid)));
        let same = |one: &FileInfo, other: &FileInfo| {
            one.filename == other.filename
                && other.crypt_mode == CryptMode::Encrypt
                && (one.filename.kind() == ArchiveKind::Blob || (one.size == other.size && one.csum == other.csum))
        };
        signed
            && manifest.files.len() == copy.files.len()
            && manifest.files.iter().zip(&copy.files).all(|(one, other)| same(one, other))
    }
}

/// Whether `copy` is `manifest` decrypted.
fn is_decrypted_from(manifest: &Manifest, copy: &Manifest, made_of: Option<Fingerprint>) -> bool {
    made_of.is_some_and(|made_of| manifest.signature_bytes() == Some(*made_of.as_bytes()))
        && copy.files.iter().map(|info| &info.filename).eq(manifest.files.iter().map(|info| &info.filename))
}
