//! What a dry run tells.

use std::time::Duration;

use replication::{Forecast, Outline, Problem, RunResult};
use serde::Serialize;

/// A forecast and how long it took.
#[derive(Clone, Debug)]
pub struct JobForecast {
    /// What a run would do.
    pub forecast: Forecast,
    /// How long it took to find out.
    pub elapsed: Duration,
}

/// The closing object of a dry run: the keys of a run where they make sense, and the plan.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForecastSummary {
    /// Always true.
    pub dry_run: bool,
    /// How a run would end.
    pub result: RunResult,
    /// Snapshots it would copy.
    pub snapshots_copied: u64,
    /// Snapshots already there that it would bring up to date.
    pub snapshots_refreshed: u64,
    /// Snapshots it would look at again and find equal.
    pub snapshots_unchanged: u64,
    /// Snapshots it would leave alone.
    pub snapshots_skipped: u64,
    /// Snapshots it would remove at the target.
    pub snapshots_removed: u64,
    /// Snapshots it would remove at the source, once their copies were read back.
    pub snapshots_moved: u64,
    /// Groups whose notes it would set.
    pub groups_updated: u64,
    /// Groups it would remove at the target.
    pub groups_removed: u64,
    /// Namespaces it would remove at the target.
    pub namespaces_removed: u64,
    /// Chunks it would move.
    pub chunks_transferred: u64,
    /// Whether that, and the number of bytes in them, is exact; otherwise it is an upper bound, since some snapshots are
    /// decrypted and others copied as they are.
    pub chunks_exact: bool,
    /// Chunks that are there already.
    pub chunks_reused: u64,
    /// Plain bytes of the chunks it would move.
    pub logical_bytes_transferred: u64,
    /// Encoded bytes of chunks and files it would move.
    pub bytes_transferred: u64,
    /// Whether these are exact; otherwise they are an upper bound, since the source is remote or the chunks are a bound.
    pub bytes_exact: bool,
    /// Seconds the dry run took.
    pub elapsed_seconds: f64,
    /// What would be done in each namespace and group.
    pub plan: Outline,
    /// What would not be done and why.
    pub errors: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

impl JobForecast {
    /// Returns the closing object.
    pub fn summary(&self) -> ForecastSummary {
        let report = &self.forecast.report;
        ForecastSummary {
            dry_run: true,
            result: report.result,
            snapshots_copied: report.snapshots_copied,
            snapshots_refreshed: report.snapshots_refreshed,
            snapshots_unchanged: report.snapshots_unchanged,
            snapshots_skipped: report.snapshots_skipped,
            snapshots_removed: report.snapshots_removed,
            snapshots_moved: report.snapshots_moved,
            groups_updated: report.groups_updated,
            groups_removed: report.groups_removed,
            namespaces_removed: report.namespaces_removed,
            chunks_transferred: report.chunks_transferred,
            chunks_exact: self.forecast.chunks_exact,
            chunks_reused: report.chunks_reused,
            logical_bytes_transferred: report.logical_bytes_transferred,
            bytes_transferred: report.bytes_transferred,
            bytes_exact: self.forecast.exact,
            elapsed_seconds: (self.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            plan: self.forecast.outline(),
            errors: report.errors.clone(),
            warnings: report.warnings.clone(),
        }
    }
}
