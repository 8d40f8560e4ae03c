//! Whether every job does what it is for: the age of what it copied, not the colour of its last run.
//!
//! [`survey`] looks at state, tasks and targets; [`judge`] makes a verdict of what was seen, and is a pure function.

mod judge;
mod survey;

use config::SyncJobConfig;
use config::check::Finding;
use formats::{GroupId, Namespace};
use serde::Serialize;

use crate::record::RunRecord;
use crate::state::JobState;

pub use self::judge::judge;
pub(crate) use self::judge::way;
pub use self::survey::{Look, survey};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something should be looked at, and no objective is missed yet.
    Warning,
    /// An objective is missed, or nothing shows that it is met.
    Critical,
}

/// What was seen of all jobs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The jobs.
    pub jobs: Vec<JobFacts>,
    /// Sections of `sync.cfg` that are no jobs because something in them is broken.
    pub broken: Vec<Finding>,
}

/// What was seen of one job.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// Its settings.
    pub config: SyncJobConfig,
    /// Its state.
    pub state: Option<JobState>,
    /// Whether a run of it is alive.
    pub running: bool,
    /// Runs that failed since the last good one.
    pub failures: u32,
    /// When it is tried again after a failure.
    pub retry_at: Option<i64>,
    /// When the last good run ended.
    pub last_good: Option<i64>,
    /// What is kept of its last run.
    pub record: Option<RunRecord>,
    /// When its schedule says it runs next, counted from its last run; in the past if that was missed.
    pub due: Option<i64>,
    /// What is at its target.
    pub copies: Copies,
}

/// What is at the target of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copies {
    /// The groups of the job.
    Listed(Vec<GroupCopies>),
    /// Nobody looked; the last good run has to stand for them.
    NotAsked,
    /// They could not be listed: why.
    Failed(String),
}

/// The copies of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCopies {
    /// Namespace at the target.
    pub ns: Namespace,
    /// The group.
    pub group: GroupId,
    /// Time of the newest snapshot that is complete and did not fail verification.
    pub newest: Option<i64>,
    /// Whether there is a newer one that failed it.
    pub newest_is_bad: bool,
}

/// The verdict on everything.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// The worst of all.
    pub status: Level,
    /// When this was found, Unix seconds.
    pub time: i64,
    /// The jobs.
    pub jobs: Vec<JobHealth>,
    /// Sections that are no jobs because something in them is broken.
    pub broken: Vec<Finding>,
}

/// The verdict on one job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobHealth {
    /// Its name.
    pub job: String,
    /// How it is.
    pub status: Level,
    /// Whether it is disabled, and so left alone.
    pub disabled: bool,
    /// Why it is not ok.
    pub reasons: Vec<Reason>,
    /// Greatest age that the newest good copy of a group may have, in seconds.
    pub objective: Option<u64>,
    /// Age of the newest good copy of the group that is furthest behind, in seconds.
    pub age: Option<u64>,
    /// What the age was taken from.
    pub judged_by: JudgedBy,
    /// The groups.
    pub groups: Vec<GroupHealth>,
    /// How the last run ended: `ok`, `warnings`, `error` or `unknown`.
    pub last_result: Option<&'static str>,
    /// When the last run started, Unix seconds.
    pub last_start: Option<i64>,
    /// When it ended.
    pub last_end: Option<i64>,
    /// When the last good run ended.
    pub last_good: Option<i64>,
    /// Runs that failed since.
    pub failures: u32,
    /// When it is tried again after a failure.
    pub retry_at: Option<i64>,
    /// When the schedule wants it next.
    pub next_run: Option<i64>,
    /// Since when it runs, if it does.
    pub running_since: Option<i64>,
    /// Snapshots that the deletion brake keeps from being removed.
    pub removals_held: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// How bad.
    pub level: Level,
    /// What, as a sentence without a full stop.
    pub message: String,
}

/// What the age of copies was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedBy {
    /// The snapshots at the target.
    Copies,
    /// The end of the last good run.
    LastGoodRun,
}

/// The verdict on one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupHealth {
    /// Namespace at the target.
    pub ns: String,
    /// The group.
    pub group: String,
    /// How it is.
    pub status: Level,
    /// Time of the newest good copy, Unix seconds.
    pub newest: Option<i64>,
    /// Its age in seconds.
    pub age: Option<u64>,
}
