//! Looking again at the newest snapshot of a group: its log or notes may have come late.

use formats::{CryptMode, FileInfo, Manifest, SnapshotId};

use super::snapshot::to_blob;
use super::{Engine, GroupJob, Slot};
use crate::error::EndError;
use crate::report::SnapshotOutcome;

impl Engine {
    /// Brings an existing snapshot up to date, or refuses when its contents differ.
    pub(super) async fn refresh(
        &self,
        job: &GroupJob,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        slot: &Slot,
    ) -> Result<SnapshotOutcome, EndError> {
        let Some(open) = self.open(job, snapshot, slot).await? else { return Ok(SnapshotOutcome::Vanished) };
        let Some(sink) = self.target.reopen(&job.target_ns, snapshot, base, &self.options.owner).await? else {
            return self.copy_open(job, snapshot, base, open.as_ref(), slot).await;
        };
        let source = open.manifest();
        let expected = self.expect(job, open.as_ref(), sink.as_ref(), false, slot).await?;
        let existing = sink.existing().cloned();
        if expected.unchanged {
            let log = self.client_log(open.as_ref(), sink.as_ref(), slot).await?;
            let there = existing.and_then(|blob| Manifest::parse_blob(&blob).ok());
            let noted = there.and_then(|there| other_notes(source, &there, self.options.sync_metadata));
            drop(sink);
            if let Some(notes) = &noted {
                self.target.set_notes(&job.target_ns, snapshot, notes).await?;
            }
            return Ok(if log || noted.is_some() { SnapshotOutcome::Refreshed } else { SnapshotOutcome::Unchanged });
        }
        if existing.as_ref().is_some_and(|blob| blob.as_bytes() == open.manifest_blob().as_bytes()) {
            let log = self.client_log(open.as_ref(), sink.as_ref(), slot).await?;
            return Ok(if log { SnapshotOutcome::Refreshed } else { SnapshotOutcome::Unchanged });
        }
        // A manifest that cannot be read says nothing about the files: all of them are looked at.
        let target = existing.and_then(|blob| Manifest::parse_blob(&blob).ok());
        if let Some(target) = &target {
            refuse_difference(source, target)?;
        }

        let ledger = self.ledger_for(&self.ledger, &expected);
        let mut mended = target.is_none();
        for info in &source.files {
            self.control.ready().await?;
            if target.is_some() && sink.has_file(info).await? {
                continue;
            }
            mended = true;
            self.archive_started(job, open.as_ref(), info);
            let moved = self.file(open.as_ref(), sink.as_ref(), info, false, &ledger, slot).await?;
            self.archive_finished(job, open.as_ref(), info, moved);
        }
        let log = self.client_log(open.as_ref(), sink.as_ref(), slot).await?;
        let merged = match &target {
            Some(target) if !mended => merge(source, target, self.options.sync_metadata),
            _ => source.clone(),
        };
        if !mended && target.as_ref().is_some_and(|target| same(&merged, target)) {
            return Ok(if log { SnapshotOutcome::Refreshed } else { SnapshotOutcome::Unchanged });
        }
        let blob = if same(&merged, source) { open.manifest_blob().clone() } else { to_blob(&merged)? };
        self.commit(&merged, &blob, sink, slot).await?;
        Ok(SnapshotOutcome::Refreshed)
    }
}

fn same(one: &Manifest, other: &Manifest) -> bool {
    one.to_json() == other.to_json()
}

/// Two snapshots of equal time must be the same backup: equal files under the same key.
///
/// `sign-only` and `none` count as equal, since some senders turn the one into the other on the way.
pub(super) fn refuse_difference(source: &Manifest, target: &Manifest) -> Result<(), EndError> {
    let refuse = |what: String| {
        EndError::skip(what).with_hint(
            "two different backups have the same time; remove or rename one of them, the copy at the target is untouched",
        )
    };
    let key = |manifest: &Manifest, end: &str| {
        manifest
            .key_fingerprint()
            .map_err(|error| EndError::skip(format!("its manifest at the {end} names a key badly")).caused_by(error))
    };
    let (ours, theirs) = (key(target, "target")?, key(source, "source")?);
    // A signature can be taken over by a copy that lost it, when the files are the same.
    let signature_alone = ours.is_none() && !source.is_fully_encrypted();
    if ours != theirs && !signature_alone {
        let named =
            |key: Option<formats::Fingerprint>| key.map_or("no key".to_owned(), |key| format!("key {}", key.short()));
        return Err(refuse(format!("differs at source ({}) and target ({})", named(theirs), named(ours))));
    }
    for info in &source.files {
        match target.files.iter().find(|other| other.filename == info.filename) {
            None => return Err(refuse(format!("`{}` is at the source alone", info.filename))),
            Some(other) if !equal_file(info, other) => {
                return Err(refuse(format!("`{}` differs at source and target", info.filename)));
            }
            Some(_) => {}
        }
    }
    match target.files.iter().find(|info| !source.files.iter().any(|other| other.filename == info.filename)) {
        Some(info) => Err(refuse(format!("`{}` is at the target alone", info.filename))),
        None => Ok(()),
    }
}

fn equal_file(one: &FileInfo, other: &FileInfo) -> bool {
    let encrypted = |info: &FileInfo| info.crypt_mode == CryptMode::Encrypt;
    one.size == other.size && one.csum == other.csum && encrypted(one) == encrypted(other)
}

/// Joins two manifests of the same backup.
///
/// What the source says holds, and what only the target says stays; of the notes see [`other_notes`]. A verify state tells
/// of the chunks beside it, so the target keeps its own, or none: the source's says nothing about the target.
fn merge(source: &Manifest, target: &Manifest, in_step: bool) -> Manifest {
    let signed = |manifest: &Manifest| manifest.files.iter().any(|info| info.crypt_mode == CryptMode::SignOnly);
    let mut merged = source.clone();
    merged.clear_verify_state();
    if signed(target) && !signed(source) {
        // The source lost its crypt modes on the way there; the target's signature is the valid one.
        merged.files.clone_from(&target.files);
        merged.signature.clone_from(&target.signature);
    }
    for (key, value) in &target.unprotected {
        merged.unprotected.entry(key.clone()).or_insert_with(|| value.clone());
    }
    match (other_notes(source, target, in_step), target.notes()) {
        (Some(notes), _) => merged.set_notes(&notes),
        (None, Some(notes)) => merged.set_notes(notes),
        (None, None) => {}
    }
    merged
}

/// Returns the notes that a snapshot at the target gets instead of those it has; `None` where it keeps them.
///
/// Notes that somebody wrote at the target stay, unless both ends are kept in step: then those of the source hold, also
/// where it has none.
pub(super) fn other_notes(source: &Manifest, target: &Manifest, in_step: bool) -> Option<String> {
    let (theirs, ours) = (source.notes().unwrap_or_default(), target.notes().unwrap_or_default());
    ((in_step || ours.is_empty()) && theirs != ours).then(|| theirs.to_owned())
}
