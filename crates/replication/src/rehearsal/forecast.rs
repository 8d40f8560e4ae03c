//! What a rehearsal found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use formats::{Namespace, SnapshotId};
use serde::Serialize;

use crate::plan::Plan;
use crate::report::{Report, SnapshotOutcome};

/// How much is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Amount {
    /// Chunks sent.
    pub chunks: u64,
    /// Plain bytes of these chunks.
    pub logical_bytes: u64,
    /// Encoded bytes of chunks, indexes, blobs and manifests: what a report calls transferred.
    pub bytes: u64,
    /// Chunks that are needed and not sent.
    pub chunks_reused: u64,
    /// Plain bytes of the reused chunks.
    pub bytes_reused: u64,
}

impl Amount {
    /// What `report` counts.
    pub fn of(report: &Report) -> Self {
        Self {
            chunks: report.chunks_transferred,
            logical_bytes: report.logical_bytes_transferred,
            bytes: report.bytes_transferred,
            chunks_reused: report.chunks_reused,
            bytes_reused: report.bytes_reused,
        }
    }

    /// What came since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            chunks: self.chunks.saturating_sub(earlier.chunks),
            logical_bytes: self.logical_bytes.saturating_sub(earlier.logical_bytes),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            chunks_reused: self.chunks_reused.saturating_sub(earlier.chunks_reused),
            bytes_reused: self.bytes_reused.saturating_sub(earlier.bytes_reused),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            chunks: self.chunks + other.chunks,
            logical_bytes: self.logical_bytes + other.logical_bytes,
            bytes: self.bytes + other.bytes,
            chunks_reused: self.chunks_reused + other.chunks_reused,
            bytes_reused: self.bytes_reused + other.bytes_reused,
        }
    }
}

/// What would come of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotForecast {
    /// What would come of it; `None` when it would fail, with the reason among the errors.
    pub outcome: Option<SnapshotOutcome>,
    /// What would be sent for it. A chunk that several snapshots need counts for the one that sends it.
    pub amount: Amount,
}

/// What a run would do.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// What the planner decided.
    pub plan: Plan,
    /// The report that the run would end with. Bytes transferred are as exact as `exact` says.
    pub report: Report,
    /// What would come of the snapshots that are copied or looked at again, by target namespace.
    pub snapshots: BTreeMap<(Namespace, SnapshotId), SnapshotForecast>,
    /// Whether encoded bytes are exact; otherwise they are an upper bound, since the length of a chunk at a remote
    /// shows only when it is fetched.
    pub exact: bool,
    /// Whether the number of chunks is exact; otherwise it is an upper bound: some snapshots are decrypted and others
    /// copied as they are, and a chunk of the latter may come out of the former.
    pub chunks_exact: bool,
}

impl Default for Forecast {
    /// That of a run that does nothing at all.
    fn default() -> Self {
        Self {
            plan: Plan::default(),
            report: Report::default(),
            snapshots: BTreeMap::new(),
            exact: true,
            chunks_exact: true,
        }
    }
}

impl Forecast {
    /// What would come of one snapshot; `None` when the run would not look at it.
    pub fn of(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Option<SnapshotForecast> {
        self.snapshots.get(&(namespace.clone(), snapshot.clone())).copied()
    }

    /// What would be sent in all.
    pub fn total(&self) -> Amount {
        Amount::of(&self.report)
    }
}

/// What the executor notes while it rehearses.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    snapshots: Mutex<BTreeMap<(Namespace, SnapshotId), SnapshotForecast>>,
    inexact: AtomicBool,
    as_they_are: AtomicBool,
    rewritten: AtomicBool,
}

impl Notes {
    pub(crate) fn note(&self, namespace: &Namespace, snapshot: &SnapshotId, forecast: SnapshotForecast) {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.insert((namespace.clone(), snapshot.clone()), forecast);
    }

    /// Some length was not known.
    pub(crate) fn is_bound(&self) {
        self.inexact.store(true, Ordering::Relaxed);
    }

    /// A chunk would be sent, to be stored under another name or as it is.
    pub(crate) fn sent(&self, rewritten: bool) {
        let seen = if rewritten { &self.rewritten } else { &self.as_they_are };
        seen.store(true, Ordering::Relaxed);
    }

    pub(crate) fn forecast(&self, plan: Plan, report: Report) -> Forecast {
        let snapshots = std::mem::take(&mut *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner));
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let chunks_exact = !(is(&self.as_they_are) && is(&self.rewritten));
        Forecast { plan, report, snapshots, exact: !is(&self.inexact) && chunks_exact, chunks_exact }
    }
}
