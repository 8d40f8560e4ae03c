//! What is kept of the last run of a job, for those who watch it: `syncjob-ID.last.json`.
//!
//! A job's state says when it ran and how that ended; this is the rest of the closing object, what adds up over all runs,
//! and what somebody was told of.

use std::collections::BTreeMap;

use config::ConfigError;
use formats::{JobId, Upid};
use replication::RunResult;
use serde::{Deserialize, Serialize};

use crate::report::JobReport;
use crate::state::JobStates;

/// The file beside a job's state.
const SUFFIX: &str = "last.json";

/// How a job stands after a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It does what it should.
    #[default]
    Good,
    /// It removes nothing, because it would remove too much.
    Held,
    /// It fails.
    Failing,
}

/// The last run of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RunRecord {
    /// Name of the run.
    pub upid: Option<Upid>,
    /// When it ended, Unix seconds.
    pub ended: i64,
    /// Seconds from start to end.
    pub elapsed_seconds: f64,
    /// How the job stands.
    pub standing: Standing,
    /// Since when.
    pub since: i64,
    /// What was not done, as text; the first few.
    pub errors: Vec<String>,
    /// What should be looked at; the first few.
    pub warnings: Vec<String>,
    /// Snapshots copied.
    pub snapshots_copied: u64,
    /// Snapshots removed at the target.
    pub snapshots_removed: u64,
    /// Snapshots that the deletion brake kept.
    pub removals_held: u64,
    /// Encoded bytes of chunks and files moved.
    pub bytes_transferred: u64,
    /// Bytes received on the wire.
    pub bytes_on_wire_in: u64,
    /// Bytes sent on the wire.
    pub bytes_on_wire_out: u64,
    /// What adds up.
    pub totals: Totals,
    /// How the job stood when somebody was told last, by the way they were told.
    pub told: BTreeMap<String, Standing>,
}

/// What adds up over the runs of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Totals {
    /// Runs that ended.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// Snapshots copied.
    pub snapshots_copied: u64,
    /// Encoded bytes of chunks and files moved.
    pub bytes_transferred: u64,
    /// Bytes received on the wire.
    pub bytes_on_wire_in: u64,
    /// Bytes sent on the wire.
    pub bytes_on_wire_out: u64,
}

/// Errors and warnings kept of a run.
const KEPT: usize = 10;

impl Default for RunRecord {
    fn default() -> Self {
        Self {
            upid: None,
            ended: 0,
            elapsed_seconds: 0.0,
            standing: Standing::Good,
            since: 0,
            errors: Vec::new(),
            warnings: Vec::new(),
            snapshots_copied: 0,
            snapshots_removed: 0,
            removals_held: 0,
            bytes_transferred: 0,
            bytes_on_wire_in: 0,
            bytes_on_wire_out: 0,
            totals: Totals::default(),
            told: BTreeMap::new(),
        }
    }
}

impl RunRecord {
    /// The record after a run that ended at `now`. A run that was stopped on request says nothing about the job.
    pub(crate) fn after(&self, job: &JobReport, now: i64) -> Self {
        let report = &job.report;
        let standing = match report.result {
            _ if report.cancelled => self.standing,
            RunResult::Error => Standing::Failing,
            _ if report.removals_held > 0 => Standing::Held,
            _ => Standing::Good,
        };
        let texts = |problems: &[replication::Problem]| problems.iter().take(KEPT).map(ToString::to_string).collect();
        let failed = u64::from(report.result == RunResult::Error && !report.cancelled);
        Self {
            upid: Some(job.upid.clone()),
            ended: now,
            elapsed_seconds: job.elapsed.as_secs_f64(),
            standing,
            since: self.since_when(standing, now),
            errors: texts(&report.errors),
            warnings: texts(&report.warnings),
            snapshots_copied: report.snapshots_copied,
            snapshots_removed: report.snapshots_removed,
            removals_held: report.removals_held,
            bytes_transferred: report.bytes_transferred,
            bytes_on_wire_in: job.bytes_on_wire_in,
            bytes_on_wire_out: job.bytes_on_wire_out,
            totals: Totals {
                runs: self.totals.runs + 1,
                failures: self.totals.failures + failed,
                snapshots_copied: self.totals.snapshots_copied + report.snapshots_copied,
                bytes_transferred: self.totals.bytes_transferred + report.bytes_transferred,
                bytes_on_wire_in: self.totals.bytes_on_wire_in + job.bytes_on_wire_in,
                bytes_on_wire_out: self.totals.bytes_on_wire_out + job.bytes_on_wire_out,
            },
            told: self.told.clone(),
        }
    }

    /// The record after a run that died, which was found at `now`.
    pub(crate) fn after_death(&self, upid: &Upid, now: i64) -> Self {
        let standing = Standing::Failing;
        Self {
            upid: Some(upid.clone()),
            ended: now,
            standing,
            since: self.since_when(standing, now),
            errors: vec!["the run died before it could say how it ended".to_owned()],
            totals: Totals { runs: self.totals.runs + 1, failures: self.totals.failures + 1, ..self.totals },
            told: self.told.clone(),
            ..Self::default()
        }
    }

    fn since_when(&self, standing: Standing, now: i64) -> i64 {
        if self.standing == standing && self.since != 0 { self.since } else { now }
    }
}

impl JobStates {
    /// Reads what is kept of the last run of a job; `None` if there was none.
    ///
    /// # Errors
    /// The file cannot be read or understood; then it is as good as none.
    pub fn record(&self, id: &JobId) -> Result<Option<RunRecord>, ConfigError> {
        self.load_as(id, SUFFIX)
    }

    /// Replaces what is kept of the last run of a job.
    ///
    /// # Errors
    /// The file cannot be written; then it is as it was.
    pub fn save_record(&self, id: &JobId, record: &RunRecord) -> Result<(), ConfigError> {
        self.save_as(id, SUFFIX, record)
    }
}
