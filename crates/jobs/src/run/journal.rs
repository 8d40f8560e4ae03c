//! What a run writes into its task log: the lines a stock server writes, with real numbers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{SyncDirection, SyncJobConfig};
use formats::{ArchiveName, Namespace, RemoteName, SnapshotId, Upid};
use replication::{Event, Monitor, Removal, SnapshotOutcome};
use tasks::{TaskEnd, TaskLog};
use tokio::time::Instant;

use crate::report::JobReport;

/// Whoever hears the lines of the log as they are written, each with the name of the run.
pub type Echo = Arc<dyn Fn(&Upid, &str) + Send + Sync>;

/// The log of a run. It takes events from the engine and passes them on to the monitor of the caller.
pub(crate) struct Journal {
    log: TaskLog,
    monitor: Arc<dyn Monitor>,
    echo: Option<Echo>,
    names: Names,
    state: Mutex<State>,
}

/// What the ends are called.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Where snapshots come from: `store`, or `remote/store`.
    pub(crate) source: String,
    /// Where they go to.
    pub(crate) target: String,
    /// The datastore they come from, without the remote.
    pub(crate) source_store: String,
    /// The datastore they go to.
    pub(crate) target_store: String,
    /// What the run does with data: `pulled` or `pushed`.
    pub(crate) verb: &'static str,
    /// Whether anything is removed at the target.
    pub(crate) removes: bool,
}

impl Names {
    /// Of a copy between two remotes.
    pub(crate) fn of_relay(from: &RemoteName, job: &SyncJobConfig) -> Self {
        let push = Self::of(job);
        Self { source: format!("{from}/{}", push.source), ..push }
    }

    pub(crate) fn of(job: &SyncJobConfig) -> Self {
        let here = job.store.to_string();
        let there = match &job.remote {
            Some(remote) => format!("{remote}/{}", job.remote_store),
            None => job.remote_store.to_string(),
        };
        let removes = job.mode() == config::TransferMode::Sync;
        let (store, remote_store) = (job.store.to_string(), job.remote_store.to_string());
        match job.direction() {
            SyncDirection::Pull => Self {
                source: there,
                target: here,
                source_store: remote_store,
                target_store: store,
                verb: "pulled",
                removes,
            },
            SyncDirection::Push => Self {
                source: here,
                target: there,
                source_store: store,
                target_store: remote_store,
                verb: "pushed",
                removes,
            },
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) groups: u64,
    pub(crate) groups_done: u64,
    pub(crate) snapshots: u64,
    pub(crate) snapshots_done: u64,
    /// Encoded bytes moved, over all tries.
    pub(crate) moved_bytes: u64,
    /// Chunks moved.
    pub(crate) moved_chunks: u64,
}

#[derive(Debug, Default)]
struct State {
    standing: Standing,
    /// Namespaces at the target with what was done in them, in their order.
    namespaces: Vec<(Namespace, u64, u64)>,
    archives: HashMap<(Namespace, SnapshotId, ArchiveName), Instant>,
}

impl Journal {
    pub(crate) fn new(log: TaskLog, names: Names, monitor: Arc<dyn Monitor>, echo: Option<Echo>) -> Self {
        Self { log, monitor, echo, names, state: Mutex::default() }
    }

    /// Writes a line.
    pub(crate) fn info(&self, text: impl AsRef<str>) {
        self.log.info(text.as_ref());
        self.echo(text.as_ref());
    }

    /// Writes a line that counts as a warning.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.log.warn(text.as_ref());
        self.echo(text.as_ref());
    }

    /// Writes a line that whoever watches the run sees too.
    pub(crate) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        self.info(&text);
        self.monitor.event(Event::Note(text));
    }

    /// Ends the task.
    pub(crate) fn finish(&self, end: TaskEnd) -> TaskEnd {
        let end = self.log.finish(end);
        self.echo(&match &end {
            TaskEnd::Error(text) => format!("TASK ERROR: {text}"),
            end => format!("TASK {end}"),
        });
        end
    }

    /// How far the run is.
    pub(crate) fn standing(&self) -> Standing {
        self.state().standing
    }

    fn echo(&self, text: &str) {
        if let Some(echo) = &self.echo {
            echo(self.log.upid(), text);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the first lines: what runs, and why.
    pub(crate) fn opening(&self, what: &str, reason: Option<String>) {
        self.info(format!("Starting datastore sync job '{what}'"));
        if let Some(reason) = reason {
            self.info(reason);
        }
        let Names { source, target, verb, .. } = &self.names;
        match *verb {
            "pushed" => self.info(format!("sync datastore '{source}' to '{target}'")),
            _ => self.info(format!("sync datastore '{target}' from '{source}'")),
        }
    }

    /// Writes the last lines but one, after good and after failed runs.
    pub(crate) fn closing(&self, job: &JobReport) {
        let namespaces = std::mem::take(&mut self.state().namespaces);
        for (namespace, groups, snapshots) in namespaces {
            self.info(format!("Finished syncing {}: {groups} groups, {snapshots} snapshots", named(&namespace)));
        }
        let report = &job.report;
        let verb = self.names.verb;
        if report.chunks_transferred == 0 {
            self.info(format!("Summary: sync job found no new data to {}", verb.trim_end_matches("ed")));
        } else {
            self.info(format!(
                "Summary: sync job {verb} {} in {} chunks (average rate: {})",
                amount(report.bytes_transferred),
                report.chunks_transferred,
                rate(report.bytes_transferred, job.elapsed.as_secs_f64()),
            ));
        }
        self.info(format!(
            "Summary: snapshots: {} copied, {} brought up to date, {} skipped",
            report.snapshots_copied, report.snapshots_refreshed, report.snapshots_skipped
        ));
        if job.bytes_on_wire_in + job.bytes_on_wire_out > 0 {
            let (received, sent) = (amount(job.bytes_on_wire_in), amount(job.bytes_on_wire_out));
            self.info(format!("Summary: on the wire: received {received}, sent {sent}"));
        }
        if self.names.removes {
            self.info(format!(
                "Summary: removed vanished: snapshots: {}, groups: {}, namespaces: {}",
                report.snapshots_removed, report.groups_removed, report.namespaces_removed
            ));
        }
    }

    /// The front of every line about a snapshot. Only a run over several namespaces has to name them.
    fn front(&self, namespace: &Namespace, group: impl fmt::Display) -> String {
        let several = self.state().namespaces.len() > 1;
        if several && !namespace.is_root() { format!("[{namespace}: {group}]") } else { format!("[{group}]") }
    }

    fn about(&self, namespace: &Namespace, snapshot: &SnapshotId, text: impl fmt::Display) {
        self.info(format!("{}: {text}", self.front(namespace, &snapshot.group)));
    }

    fn planned(&self, groups: u64, snapshots: u64) {
        let mut state = self.state();
        state.namespaces.clear();
        state.archives.clear();
        let Standing { moved_bytes, moved_chunks, .. } = state.standing;
        state.standing = Standing { groups, snapshots, moved_bytes, moved_chunks, ..Standing::default() };
    }

    fn namespace(&self, source: &Namespace, target: &Namespace, matched: usize, total: usize) {
        self.state().namespaces.push((target.clone(), 0, 0));
        let Names { source_store: from, target_store: into, .. } = &self.names;
        self.info("----");
        self.info(format!("Syncing datastore '{from}', {} into datastore '{into}', {}", named(source), named(target)));
        self.info(format!("Found {matched} groups to sync (out of {total} total)"));
    }

    fn archive_finished(&self, namespace: &Namespace, snapshot: &SnapshotId, archive: &ArchiveName, moved: u64) {
        let began = self.state().archives.remove(&(namespace.clone(), snapshot.clone(), archive.clone()));
        let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let verb = if self.names.verb == "pushed" { "uploaded" } else { "downloaded" };
        let (amount, rate) = (amount(moved), rate(moved, seconds));
        self.about(namespace, snapshot, format_args!("{}/{archive}: {verb} {amount} ({rate})", snapshot.time));
    }

    fn snapshot_finished(&self, namespace: &Namespace, snapshot: &SnapshotId, outcome: SnapshotOutcome) {
        let outcome = match outcome {
            SnapshotOutcome::Copied | SnapshotOutcome::Refreshed => "sync done",
            SnapshotOutcome::Unchanged => "no data changes",
            SnapshotOutcome::Vanished => "vanished at the source",
        };
        self.about(namespace, snapshot, format_args!("{}: {outcome}", snapshot.time));
        let mut state = self.state();
        state.standing.snapshots_done += 1;
        if let Some(entry) = state.namespaces.iter_mut().find(|(name, ..)| name == namespace) {
            entry.2 += 1;
        }
        let standing = state.standing;
        drop(state);
        self.info(format!("percentage done: {}", percentage(standing)));
    }

    fn group_finished(&self, namespace: &Namespace) {
        let mut state = self.state();
        state.standing.groups_done += 1;
        if let Some(entry) = state.namespaces.iter_mut().find(|(name, ..)| name == namespace) {
            entry.1 += 1;
        }
    }
}

impl Monitor for Journal {
    fn event(&self, event: Event) {
        match &event {
            Event::Planned { groups, snapshots, .. } => self.planned(*groups, *snapshots),
            Event::Namespace { source, target, matched, total } => self.namespace(source, target, *matched, *total),
            Event::NamespaceCreated { namespace } => self.info(format!("Created namespace {namespace}")),
            Event::Skipped { namespace, first, last, count, reason } => {
                let times =
                    if *count == 1 { first.time.to_string() } else { format!("{} .. {}", first.time, last.time) };
                self.about(namespace, first, format_args!("skipped: {count} snapshot(s) ({times}) - {reason}"));
            }
            Event::SnapshotStarted { namespace, snapshot, again: false } => {
                self.about(namespace, snapshot, format_args!("{}: start sync", snapshot.time));
            }
            Event::SnapshotStarted { namespace, snapshot, again: true } => {
                self.about(namespace, snapshot, format_args!("re-sync snapshot {}", snapshot.time));
            }
            Event::ArchiveStarted { namespace, snapshot, archive } => {
                let name = (namespace.clone(), snapshot.clone(), archive.clone());
                self.state().archives.insert(name, Instant::now());
                self.about(namespace, snapshot, format_args!("{}/{archive}: sync archive", snapshot.time));
            }
            Event::ArchiveFinished { namespace, snapshot, archive, moved_bytes } => {
                self.archive_finished(namespace, snapshot, archive, *moved_bytes);
            }
            Event::SnapshotFinished { namespace, snapshot, outcome } => {
                self.snapshot_finished(namespace, snapshot, *outcome);
            }
            Event::GroupFinished { namespace, .. } => self.group_finished(namespace),
            Event::ReadingBack { namespace, snapshot } => {
                self.about(namespace, snapshot, format_args!("{}: reading the copy back", snapshot.time));
            }
            Event::Moved { namespace, snapshot } => {
                self.about(namespace, snapshot, format_args!("{}: moved, removed at the source", snapshot.time));
            }
            Event::Removed { what: Removal::Snapshot(namespace, snapshot) } => {
                self.about(namespace, snapshot, format_args!("delete vanished snapshot {}", snapshot.time));
            }
            Event::Removed { what: Removal::Group(_, group) } => self.info(format!("Delete vanished group '{group}'")),
            Event::Removed { what: Removal::Namespace(namespace) } => {
                self.info(format!("Removed namespace {namespace}"))
            }
            Event::Warning(problem) => self.warn(problem.to_string()),
            Event::Failed(problem) => self.info(format!("error: {problem}")),
            Event::Note(text) => self.info(text),
            Event::Retrying { problem, pause } => {
                self.info(format!("broken off: {problem}; going on in {:.1} s", pause.as_secs_f64()));
            }
            Event::Progress { transferred_bytes, chunks_transferred, .. } => {
                let mut state = self.state();
                state.standing.moved_bytes += transferred_bytes;
                state.standing.moved_chunks += chunks_transferred;
            }
            Event::GroupStarted { .. } => {}
        }
        self.monitor.event(event);
    }
}

fn named(namespace: &Namespace) -> String {
    if namespace.is_root() { "root namespace".to_owned() } else { format!("namespace '{namespace}'") }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn percentage(standing: Standing) -> String {
    let Standing { groups, groups_done, snapshots, snapshots_done, .. } = standing;
    let percent = if snapshots == 0 { 100.0 } else { snapshots_done as f64 * 100.0 / snapshots as f64 };
    match groups {
        0 | 1 => format!("{percent:.2}% ({snapshots_done}/{snapshots} snapshots)"),
        _ => format!("{percent:.2}% ({groups_done}/{groups} groups, {snapshots_done}/{snapshots} snapshots)"),
    }
}

/// An amount of bytes as stock logs have it: `135 B`, `22.862 MiB`.
#[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.3} {unit}") }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rounded rate"
)]
fn rate(bytes: u64, seconds: f64) -> String {
    format!("{}/s", amount((bytes as f64 / seconds.max(0.001)) as u64))
}

#[cfg(test)]
mod tests {
    use config::Paths;
    use replication::{Problem, Silent};
    use tasks::TaskStore;

    use super::*;

    #[test]
    fn amounts_are_written_as_a_stock_server_writes_them() {
        let texts = [135, 1024, 23_972_545, 10_414_457, 5 << 40].map(amount);
        assert_eq!(texts, ["135 B", "1.000 KiB", "22.862 MiB", "9.932 MiB", "5.000 TiB"]);
        assert_eq!(rate(2048, 2.0), "1.000 KiB/s");
    }

    fn job() -> SyncJobConfig {
        let mut job = SyncJobConfig::new(
            "svj1".parse().unwrap(),
            "svtest".parse().unwrap(),
            Some("svr1".parse().unwrap()),
            "svB".parse().unwrap(),
        );
        job.remove_vanished = Some(true);
        job
    }

    #[test]
    fn a_run_is_told_in_the_lines_of_a_stock_server() {
        let root = tempfile::tempdir().unwrap();
        let store = TaskStore::new(&Paths::under_root(root.path()));
        let upid = tasks::new_upid("syncjob", Some("svr1:svB:svtest:z:svj1".to_owned()), tasks::superuser());
        let names = Names::of(&job());
        let journal = Journal::new(store.start(upid.clone()), names, Arc::new(Silent), None);
        let (source, target): (Namespace, Namespace) = ("team".parse().unwrap(), "z".parse().unwrap());
        let snapshot: SnapshotId = "host/sig/2023-11-14T22:13:21Z".parse().unwrap();
        let archive: ArchiveName = "root.pxar.didx".parse().unwrap();
        let at = || (target.clone(), snapshot.clone());

        journal.opening("svr1:svB:svtest:z:svj1", Some("task triggered by schedule 'daily'".to_owned()));
        journal.event(Event::Planned { groups: 1, snapshots: 1, logical_bytes: 0 });
        journal.event(Event::Namespace { source, target: target.clone(), matched: 1, total: 3 });
        let (namespace, first) = at();
        let last = "host/sig/2023-11-14T22:13:20Z".parse().unwrap();
        journal.event(Event::Skipped {
            namespace,
            first: last,
            last: first,
            count: 2,
            reason: "already at the target",
        });
        let (namespace, snapshot) = at();
        journal.event(Event::SnapshotStarted { namespace, snapshot, again: false });
        let (namespace, snapshot) = at();
        journal.event(Event::ArchiveStarted { namespace, snapshot, archive: archive.clone() });
        let (namespace, snapshot) = at();
        journal.event(Event::ArchiveFinished { namespace, snapshot, archive, moved_bytes: 0 });
        let (namespace, snapshot) = at();
        journal.event(Event::SnapshotFinished { namespace, snapshot, outcome: SnapshotOutcome::Copied });
        let (namespace, snapshot) = at();
        journal.event(Event::GroupFinished { namespace, group: snapshot.group });
        let (namespace, snapshot) = at();
        journal.event(Event::Removed { what: Removal::Snapshot(namespace, snapshot) });
        journal.event(Event::Warning(Problem::new("host/sig", "look at it")));
        journal.event(Event::Failed(Problem::new("host/sig", "gone")));
        let report = replication::Report { snapshots_copied: 1, ..replication::Report::default() };
        journal.closing(&JobReport::new(upid.clone(), report, None, std::time::Duration::from_secs(1)));
        journal.finish(TaskEnd::Ok);

        let page = store.log_page(&upid, 0, 0).unwrap();
        let lines: Vec<&str> = page.lines.iter().map(|(_, line)| &line[27..]).collect();
        assert_eq!(
            lines,
            [
                "Starting datastore sync job 'svr1:svB:svtest:z:svj1'",
                "task triggered by schedule 'daily'",
                "sync datastore 'svtest' from 'svr1/svB'",
                "----",
                "Syncing datastore 'svB', namespace 'team' into datastore 'svtest', namespace 'z'",
                "Found 1 groups to sync (out of 3 total)",
                "[host/sig]: skipped: 2 snapshot(s) (2023-11-14T22:13:20Z .. 2023-11-14T22:13:21Z) - already at the target",
                "[host/sig]: 2023-11-14T22:13:21Z: start sync",
                "[host/sig]: 2023-11-14T22:13:21Z/root.pxar.didx: sync archive",
                "[host/sig]: 2023-11-14T22:13:21Z/root.pxar.didx: downloaded 0 B (0 B/s)",
                "[host/sig]: 2023-11-14T22:13:21Z: sync done",
                "percentage done: 100.00% (1/1 snapshots)",
                "[host/sig]: delete vanished snapshot 2023-11-14T22:13:21Z",
                "host/sig: look at it",
                "error: host/sig: gone",
                "Finished syncing namespace 'z': 1 groups, 1 snapshots",
                "Summary: sync job found no new data to pull",
                "Summary: snapshots: 1 copied, 0 brought up to date, 0 skipped",
                "Summary: removed vanished: snapshots: 0, groups: 0, namespaces: 0",
                "TASK WARNINGS: 1",
            ]
        );
    }
}
