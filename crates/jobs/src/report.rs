//! What a run tells at its end, in the words scripts rely on.

use std::time::Duration;

use client::Traffic;
use formats::Upid;
use replication::{Problem, Report, RunResult};
use serde::Serialize;

/// A finished run: what the engine did, and what only its surroundings know.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// Name of the run.
    pub upid: Upid,
    /// What the engine did.
    pub report: Report,
    /// Bytes received on the wire, TLS included; 0 between two datastores of this host.
    pub bytes_on_wire_in: u64,
    /// Bytes sent on the wire.
    pub bytes_on_wire_out: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The closing object of a run, exactly the keys scripts rely on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobSummary {
    /// How it ended.
    pub result: RunResult,
    /// Name of the run.
    pub upid: Upid,
    /// Snapshots copied.
    pub snapshots_copied: u64,
    /// Snapshots already there that were brought up to date.
    pub snapshots_refreshed: u64,
    /// Snapshots left alone.
    pub snapshots_skipped: u64,
    /// Snapshots removed at the target.
    pub snapshots_removed: u64,
    /// Snapshots removed at the source after their copy was read back.
    pub snapshots_moved: u64,
    /// Chunks moved.
    pub chunks_transferred: u64,
    /// Chunks that were there already.
    pub chunks_reused: u64,
    /// Encoded bytes of chunks and files moved.
    pub bytes_transferred: u64,
    /// Bytes received on the wire.
    pub bytes_on_wire_in: u64,
    /// Bytes sent on the wire.
    pub bytes_on_wire_out: u64,
    /// Seconds from start to end.
    pub elapsed_seconds: f64,
    /// What was not done and why.
    pub errors: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

impl JobReport {
    /// Completes the engine's report.
    pub(crate) fn new(upid: Upid, mut report: Report, traffic: Option<&Traffic>, elapsed: Duration) -> Self {
        report.elapsed = elapsed;
        Self {
            upid,
            report,
            bytes_on_wire_in: traffic.map_or(0, Traffic::bytes_in),
            bytes_on_wire_out: traffic.map_or(0, Traffic::bytes_out),
            elapsed,
        }
    }

    /// Returns the closing object.
    pub fn summary(&self) -> JobSummary {
        let report = &self.report;
        JobSummary {
            result: report.result,
            upid: self.upid.clone(),
            snapshots_copied: report.snapshots_copied,
            snapshots_refreshed: report.snapshots_refreshed,
            snapshots_skipped: report.snapshots_skipped,
            snapshots_removed: report.snapshots_removed,
            snapshots_moved: report.snapshots_moved,
            chunks_transferred: report.chunks_transferred,
            chunks_reused: report.chunks_reused,
            bytes_transferred: report.bytes_transferred,
            bytes_on_wire_in: self.bytes_on_wire_in,
            bytes_on_wire_out: self.bytes_on_wire_out,
            elapsed_seconds: (self.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            errors: report.errors.clone(),
            warnings: report.warnings.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_object_has_exactly_the_agreed_keys() {
        let upid = tasks::new_upid("sync", Some("store".into()), "root@pam".parse().unwrap());
        let report = Report { errors: vec![Problem::new("host/a", "gone")], ..Report::default() };

        let summary = JobReport::new(upid, report, None, Duration::from_millis(1500)).summary();

        let value = serde_json::to_value(&summary).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let agreed = [
            "result",
            "upid",
            "snapshots-copied",
            "snapshots-refreshed",
            "snapshots-skipped",
            "snapshots-removed",
            "snapshots-moved",
            "chunks-transferred",
            "chunks-reused",
            "bytes-transferred",
            "bytes-on-wire-in",
            "bytes-on-wire-out",
            "elapsed-seconds",
            "errors",
            "warnings",
        ];
        assert_eq!(keys, agreed);
        assert_eq!(value["elapsed-seconds"], 1.5);
        assert_eq!(value["errors"][0], serde_json::json!({"where": "host/a", "message": "gone", "hint": null}));
    }
}
