//! What a run tells: counters and problems as plain data, and events while it goes on.

use std::time::Duration;

use formats::{ArchiveName, GroupId, Namespace, SnapshotId};
use serde::Serialize;

use crate::error::{EndError, ErrorClass};
use crate::inventory::place;
use crate::plan::Brake;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// All done.
    #[default]
    Ok,
    /// Done, but something should be looked at.
    Warnings,
    /// Something was not done.
    Error,
}

/// One thing that went wrong or looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Group, snapshot, namespace or end it is about.
    #[serde(rename = "where")]
    pub where_: String,
    /// What happened.
    pub message: String,
    /// What to do about it, where something can be said.
    pub hint: Option<String>,
    /// What it means for who would try again.
    #[serde(skip)]
    pub class: ErrorClass,
}

impl Problem {
    /// Makes a problem without a hint, one that trying again does not mend.
    pub fn new(where_: impl Into<String>, message: impl Into<String>) -> Self {
        Self { where_: where_.into(), message: message.into(), hint: None, class: ErrorClass::Skip }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes the problem that `error` is at a place: its whole chain and its hint.
    pub fn from_error(where_: impl Into<String>, error: &EndError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { where_: where_.into(), message: error.chain(), hint, class: error.class() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.where_, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// What a run did.
///
/// Bytes on the wire are the connection's affair: the caller adds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// How it ended; [`Report::settle`] computes it.
    pub result: RunResult,
    /// Whether it was stopped on request.
    pub cancelled: bool,
    /// Snapshots copied.
    pub snapshots_copied: u64,
    /// Snapshots already there whose manifest, log or files were brought up to date.
    pub snapshots_refreshed: u64,
    /// Snapshots looked at again and found equal.
    pub snapshots_unchanged: u64,
    /// Snapshots removed at the source after their copy was read back.
    pub snapshots_moved: u64,
    /// Groups whose notes were set at the target.
    pub groups_updated: u64,
    /// Source snapshots that were left alone, for whatever reason.
    pub snapshots_skipped: u64,
    /// Snapshots removed at the target, those of removed groups included.
    pub snapshots_removed: u64,
    /// Snapshots that would have been removed, had the deletion brake not held.
    pub removals_held: u64,
    /// Groups removed at the target.
    pub groups_removed: u64,
    /// Namespaces removed at the target.
    pub namespaces_removed: u64,
    /// Source groups the run was about.
    pub groups_matched: u64,
    /// Source groups there are.
    pub groups_total: u64,
    /// Chunks fetched and stored, each counted once.
    pub chunks_transferred: u64,
    /// Distinct chunks of copied archives that were already at the target.
    pub chunks_reused: u64,
    /// Plain bytes of transferred chunks.
    pub logical_bytes_transferred: u64,
    /// Encoded bytes of transferred chunks, indexes, blobs and manifests.
    pub bytes_transferred: u64,
    /// Plain bytes of reused chunks.
    pub bytes_reused: u64,
    /// The brake that held removals back, if it did.
    #[serde(skip)]
    pub brake: Option<Brake>,
    /// Time the run took; the caller sets it.
    #[serde(rename = "elapsed-seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// What was not done and why.
    pub errors: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

impl Report {
    /// Adds counters and problems of a part of the run.
    pub fn absorb(&mut self, part: Report) {
        self.cancelled |= part.cancelled;
        self.brake = self.brake.or(part.brake);
        self.snapshots_copied += part.snapshots_copied;
        self.snapshots_refreshed += part.snapshots_refreshed;
        self.snapshots_unchanged += part.snapshots_unchanged;
        self.snapshots_moved += part.snapshots_moved;
        self.groups_updated += part.groups_updated;
        self.snapshots_skipped += part.snapshots_skipped;
        self.snapshots_removed += part.snapshots_removed;
        self.removals_held += part.removals_held;
        self.groups_removed += part.groups_removed;
        self.namespaces_removed += part.namespaces_removed;
        self.groups_matched += part.groups_matched;
        self.groups_total += part.groups_total;
        self.chunks_transferred += part.chunks_transferred;
        self.chunks_reused += part.chunks_reused;
        self.logical_bytes_transferred += part.logical_bytes_transferred;
        self.bytes_transferred += part.bytes_transferred;
        self.bytes_reused += part.bytes_reused;
        self.errors.extend(part.errors);
        self.warnings.extend(part.warnings);
    }

    /// Sets the result from what was noted.
    pub fn settle(&mut self) {
        self.result = if !self.errors.is_empty() || self.cancelled {
            RunResult::Error
        } else if !self.warnings.is_empty() {
            RunResult::Warnings
        } else {
            RunResult::Ok
        };
    }

    /// Whether the same run, started again, may do what this one could not: something failed that may work later, and
    /// nothing that will not.
    pub fn is_worth_another_try(&self) -> bool {
        let of = |class| self.errors.iter().any(|problem| problem.class == class);
        !self.cancelled && of(ErrorClass::Retry) && !of(ErrorClass::Stop)
    }

    /// Whether the run changed nothing at either end.
    pub fn moved_nothing(&self) -> bool {
        self.snapshots_copied == 0
            && self.snapshots_moved == 0
            && self.groups_updated == 0
            && self.snapshots_refreshed == 0
            && self.snapshots_removed == 0
            && self.groups_removed == 0
            && self.namespaces_removed == 0
            && self.chunks_transferred == 0
    }
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The plan is made; this much will be looked at.
    Planned {
        /// Groups with something to do.
        groups: u64,
        /// Snapshots to copy or to look at again.
        snapshots: u64,
        /// Logical bytes of the snapshots to copy, where the source's listing tells.
        logical_bytes: u64,
    },
    /// A pair of namespaces is next.
    Namespace {
        /// At the source.
        source: Namespace,
        /// At the target.
        target: Namespace,
        /// Groups that pass the filter.
        matched: usize,
        /// Groups there are.
        total: usize,
    },
    /// Work on a group starts.
    GroupStarted {
        /// Namespace at the target.
        namespace: Namespace,
        /// The group.
        group: GroupId,
    },
    /// Work on a group is over, well or not.
    GroupFinished {
        /// Namespace at the target.
        namespace: Namespace,
        /// The group.
        group: GroupId,
    },
    /// A snapshot is being copied or looked at again.
    SnapshotStarted {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
        /// Whether the target had it already.
        again: bool,
    },
    /// A snapshot is complete.
    SnapshotFinished {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
        /// What came of it.
        outcome: SnapshotOutcome,
    },
    /// Snapshots of a group are left alone.
    Skipped {
        /// Namespace at the target.
        namespace: Namespace,
        /// The oldest of them.
        first: SnapshotId,
        /// The newest of them.
        last: SnapshotId,
        /// How many.
        count: usize,
        /// Why, as a clause.
        reason: &'static str,
    },
    /// A namespace was made at the target.
    NamespaceCreated {
        /// The namespace.
        namespace: Namespace,
    },
    /// A file of a snapshot is next.
    ArchiveStarted {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
        /// The file.
        archive: ArchiveName,
    },
    /// An archive is complete with all its chunks.
    ArchiveFinished {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
        /// The file.
        archive: ArchiveName,
        /// Encoded bytes of the chunks that were moved for it.
        moved_bytes: u64,
    },
    /// The copy of a snapshot is being read back, before it is removed at the source.
    ReadingBack {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// A snapshot was removed at the source after its copy was read back.
    Moved {
        /// Namespace at the target.
        namespace: Namespace,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// A snapshot, group or namespace was removed at the target.
    Removed {
        /// What it was.
        what: Removal,
    },
    /// Something else worth a line.
    Note(String),
    /// Chunks arrived or were found at the target.
    Progress {
        /// Encoded bytes that were moved.
        transferred_bytes: u64,
        /// Plain bytes of the archive that these cover, moved or found.
        logical_bytes: u64,
        /// Chunks moved.
        chunks_transferred: u64,
        /// Chunks found.
        chunks_reused: u64,
    },
    /// A connection broke; the work goes on after a pause.
    Retrying {
        /// Where, and how it broke.
        problem: Problem,
        /// How long the pause is.
        pause: Duration,
    },
    /// Something should be looked at.
    Warning(Problem),
    /// Something was not done.
    Failed(Problem),
}

/// Something that was removed at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// One snapshot.
    Snapshot(Namespace, SnapshotId),
    /// A group, but for protected snapshots.
    Group(Namespace, GroupId),
    /// A namespace.
    Namespace(Namespace),
}

impl std::fmt::Display for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(namespace, snapshot) => f.write_str(&place(namespace, snapshot)),
            Self::Group(namespace, group) => f.write_str(&place(namespace, group)),
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
        }
    }
}

/// What came of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotOutcome {
    /// It is now at the target.
    Copied,
    /// It was there and has been brought up to date.
    Refreshed,
    /// It was there and is equal.
    Unchanged,
    /// It is gone at the source.
    Vanished,
}

/// Whoever wants to know what happens. Called from several tasks; must not block.
pub trait Monitor: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: Event);
}

/// A monitor that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: Event) {}
}
