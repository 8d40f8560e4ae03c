//! The message: as a text for people, and as data for programs.

use chrono::TimeZone;
use chrono_tz::Tz;
use config::SyncJobConfig;
use serde_json::{Value, json};

use super::decide::Event;
use crate::health::way;
use crate::record::{RunRecord, Standing};

/// What is told, of what.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) job: &'a SyncJobConfig,
    pub(super) record: &'a RunRecord,
    pub(super) event: Event,
    pub(super) host: &'a str,
    pub(super) zone: Tz,
}

impl Words<'_> {
    /// One line: host, job, what happened.
    pub(super) fn subject(&self) -> String {
        let what = match self.event {
            Event::Failure => "fails",
            Event::Recovery => "is well again",
            Event::Brake => "removes nothing: the deletion brake holds",
            Event::Run => match self.record.standing {
                Standing::Failing => "still fails",
                Standing::Held => "still removes nothing: the deletion brake holds",
                Standing::Good => "ended well",
            },
        };
        format!("{}: sync job {} {what}", self.host, self.job.id)
    }

    /// The text of a mail.
    pub(super) fn text(&self) -> String {
        let record = self.record;
        let mut text = format!("{}.\n\n", self.subject());
        let mut line = |name: &str, value: String| text.push_str(&format!("{name:<12}{value}\n"));
        line("Job", format!("{} ({})", self.job.id, way(self.job)));
        if let Some(comment) = &self.job.comment {
            line("", comment.clone());
        }
        if let Some(upid) = &record.upid {
            line("Started", self.time(upid.start_time));
        }
        line("Ended", self.time(record.ended));
        if record.standing != Standing::Good {
            line("Since", self.time(record.since));
        }
        line("Copied", format!("{} snapshots, {} bytes", record.snapshots_copied, record.bytes_transferred));
        if record.snapshots_removed > 0 {
            line("Removed", format!("{} snapshots", record.snapshots_removed));
        }
        if record.removals_held > 0 {
            line("Held back", format!("removal of {} snapshots", record.removals_held));
        }
        for (title, list) in [("Errors", &record.errors), ("Warnings", &record.warnings)] {
            if !list.is_empty() {
                text.push_str(&format!("\n{title}:\n"));
                list.iter().for_each(|entry| text.push_str(&format!("  {entry}\n")));
            }
        }
        if let Some(upid) = &record.upid {
            text.push_str(&format!("\nThe whole log: backup-manager task log '{upid}'\n"));
        }
        text
    }

    /// The object that a webhook is sent.
    pub(super) fn data(&self) -> Value {
        let (job, record) = (self.job, self.record);
        json!({
            "event": self.event.name(),
            "message": self.subject(),
            "host": self.host,
            "job": job.id,
            "direction": job.direction(),
            "store": job.store,
            "ns": job.ns(),
            "remote": job.remote,
            "remote-store": job.remote_store,
            "remote-ns": job.remote_ns(),
            "comment": job.comment,
            "result": self.result(),
            "upid": record.upid,
            "started": record.upid.as_ref().map(|upid| upid.start_time),
            "ended": record.ended,
            "elapsed-seconds": record.elapsed_seconds,
            "since": record.since,
            "snapshots-copied": record.snapshots_copied,
            "snapshots-removed": record.snapshots_removed,
            "removals-held": record.removals_held,
            "bytes-transferred": record.bytes_transferred,
            "bytes-on-wire-in": record.bytes_on_wire_in,
            "bytes-on-wire-out": record.bytes_on_wire_out,
            "errors": record.errors,
            "warnings": record.warnings,
        })
    }

    fn result(&self) -> &'static str {
        match (self.record.errors.is_empty(), self.record.warnings.is_empty()) {
            (false, _) => "error",
            (true, false) => "warnings",
            (true, true) => "ok",
        }
    }

    fn time(&self, seconds: i64) -> String {
        let time = self.zone.timestamp_opt(seconds, 0).single();
        time.map_or_else(|| seconds.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S %Z").to_string())
    }
}
