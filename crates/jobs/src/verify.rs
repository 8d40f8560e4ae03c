//! Verifying snapshots of a datastore, one after the other, each chunk once.

use datastore::{Datastore, VerifyCache};
use formats::{CryptKey, Namespace, SnapshotId};
use serde::Serialize;

use crate::error::JobError;
use crate::task::{new_upid, superuser};

/// What verifying one snapshot found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyRow {
    /// Its namespace.
    pub ns: Namespace,
    /// Its name.
    pub snapshot: SnapshotId,
    /// How it is.
    pub state: VerifyOutcome,
    /// Chunks read for it; those that an earlier snapshot shared are not read again.
    pub chunks: u64,
    /// What is wrong, or why it was skipped.
    pub errors: Vec<String>,
    /// What was not checked, although keys were given.
    pub notes: Vec<String>,
}

/// How a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyOutcome {
    /// Whole.
    Ok,
    /// Damaged.
    Failed,
    /// In use, or gone meanwhile.
    Skipped,
}

/// Lists what is to be verified: one snapshot, or the finished ones of `ns` and below, at most `max_depth` levels deep.
///
/// # Errors
/// A listing fails, or there is no such namespace.
pub fn snapshots_to_verify(
    store: &Datastore,
    ns: &Namespace,
    only: Option<SnapshotId>,
    max_depth: Option<usize>,
) -> Result<Vec<(Namespace, SnapshotId)>, JobError> {
    if let Some(snapshot) = only {
        // A missing one must be an error, not a snapshot that was skipped because it vanished.
        match store.manifest(ns, &snapshot) {
            Err(error) if error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        return Ok(vec![(ns.clone(), snapshot)]);
    }
    let mut wanted = Vec::new();
    for ns in store.namespaces(ns, max_depth)? {
        let mut groups = store.groups(&ns)?;
        groups.sort();
        for group in groups {
            let mut snapshots = store.snapshots(&ns, &group)?;
            snapshots.sort_by_key(|entry| entry.id.time);
            let finished = snapshots.into_iter().filter(|entry| entry.finished);
            wanted.extend(finished.map(|entry| (ns.clone(), entry.id)));
        }
    }
    Ok(wanted)
}

/// Verifies `snapshots` and stores the result in each manifest; `each` hears of every one as it is done. Those under one of
/// `keys` are decrypted for that, others that are encrypted are checked by CRC.
///
/// # Errors
/// A result cannot be stored. Damage is no error but a row.
pub async fn verify(
    store: &Datastore,
    snapshots: Vec<(Namespace, SnapshotId)>,
    keys: Vec<CryptKey>,
    each: &mut (dyn FnMut(&VerifyRow) + Send),
) -> Result<Vec<VerifyRow>, JobError> {
    let upid = new_upid("verify", Some(store.name().to_string()), superuser());
    let cache = VerifyCache::new().with_keys(keys);
    let mut rows = Vec::with_capacity(snapshots.len());
    for (ns, snapshot) in snapshots {
        let report = store.verify_snapshot(&ns, &snapshot, &cache, upid.clone()).await?;
        let state = match (&report.skipped, report.is_ok()) {
            (Some(_), _) => VerifyOutcome::Skipped,
            (None, true) => VerifyOutcome::Ok,
            (None, false) => VerifyOutcome::Failed,
        };
        let problems = report.problems.into_iter().map(|problem| format!("{}: {}", problem.file, problem.message));
        let errors = report.skipped.into_iter().chain(problems).collect();
        let row = VerifyRow { ns, snapshot, state, chunks: report.chunks, errors, notes: report.notes };
        each(&row);
        rows.push(row);
    }
    Ok(rows)
}
