//! Verifying snapshots of a datastore, one after the other, each chunk once.

use datastore::{Datastore, VerifyCache};
use formats::{CryptKey, Manifest, Namespace, SnapshotId, Upid};
use serde::Serialize;

use crate::error::JobError;

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

/// Which snapshots need verifying, of those that were verified before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// All of them.
    #[default]
    Always,
    /// None, however they were.
    Never,
    /// Those whose verification is longer ago than so many days.
    OlderThan(u64),
}

impl Again {
    /// Whether a snapshot with this manifest is to be verified at the moment `now`.
    pub fn wants(self, manifest: &Manifest, now: i64) -> bool {
        const DAY: i64 = 24 * 60 * 60;
        let Some(last) = manifest.verify_state() else { return true };
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::OlderThan(days) => {
                let age = (now - last.upid.start_time) / DAY;
                u64::try_from(age).is_ok_and(|age| age > days)
            }
        }
    }
}

/// Verifies `snapshots` as the task `upid` and stores the result in each manifest; `each` hears of every one as it is done.
/// Those under one of `keys` are decrypted for that, others that are encrypted are checked by CRC.
///
/// # Errors
/// A result cannot be stored. Damage is no error but a row.
pub async fn verify(
    store: &Datastore,
    snapshots: Vec<(Namespace, SnapshotId)>,
    upid: &Upid,
    keys: Vec<CryptKey>,
    each: &mut (dyn FnMut(&VerifyRow) + Send),
) -> Result<Vec<VerifyRow>, JobError> {
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

#[cfg(test)]
mod tests {
    use formats::{VerifyResult, VerifyState};

    use super::*;

    #[test]
    fn snapshots_that_were_verified_are_verified_again_when_that_is_long_enough_ago() {
        let mut manifest = Manifest::new("host/a/2026-01-01T00:00:00Z".parse().unwrap());
        let upid = tasks::new_upid("verify", None, tasks::superuser());
        let day = |days: i64| upid.start_time + days * 24 * 60 * 60;

        assert!(Again::Never.wants(&manifest, day(0)), "never verified");
        manifest.set_verify_state(&VerifyState { upid: upid.clone(), state: VerifyResult::Failed });

        assert!(Again::Always.wants(&manifest, day(0)));
        assert!(!Again::Never.wants(&manifest, day(1000)));
        assert!(!Again::OlderThan(30).wants(&manifest, day(30)));
        assert!(Again::OlderThan(30).wants(&manifest, day(31)));
        assert!(!Again::OlderThan(0).wants(&manifest, day(-1)), "the clock was set back");
    }
}
