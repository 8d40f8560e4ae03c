//! Metrics of jobs and datastores, in the text format of Prometheus.

mod text;

use config::{Paths, SyncDirection};

use crate::ends::open_store;
use crate::health::{Facts, Health, JobFacts, JobHealth, Level};
use crate::record::RunRecord;

pub use self::text::{Exposition, Kind};

/// The room that the file system of a datastore has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRoom {
    /// Name of the datastore.
    pub store: String,
    /// Its sizes in bytes: all, used, available; none where it is not there.
    pub room: Option<(u64, u64, u64)>,
}

/// Whether each group gets a series of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// One series per job, whatever the number of groups.
    Jobs,
    /// One per group as well.
    Groups,
}

/// Looks at the room of every datastore of this host.
pub fn rooms(paths: &Paths) -> Vec<StoreRoom> {
    let stores = config::datastores::load(paths).map(|loaded| loaded.entries).unwrap_or_default();
    let room = |store: config::DatastoreConfig| {
        let usage = open_store(paths, &store.name).ok().and_then(|store| store.status().ok());
        StoreRoom { store: store.name.to_string(), room: usage.map(|usage| (usage.total, usage.used, usage.avail)) }
    };
    stores.into_iter().map(room).collect()
}

/// Writes down what was seen and what was made of it. Every name begins with `backup_replicator_`.
pub fn add(text: &mut Exposition, facts: &Facts, health: &Health, rooms: &[StoreRoom], detail: Detail) {
    let jobs: Vec<(&JobFacts, &JobHealth)> = facts.jobs.iter().zip(&health.jobs).collect();
    text.family("status", Kind::Gauge, "Verdict on all jobs: 0 ok, 1 warning, 2 critical")
        .add(&[], level(health.status));
    text.family(
        "broken_sections",
        Kind::Gauge,
        "Sections of sync.cfg that are ignored because something in them is broken",
    )
    .add(&[], number(health.broken.len() as u64));
    let mut info = text.family("job_info", Kind::Gauge, "What a job copies; always 1");
    for (facts, _) in &jobs {
        let job = &facts.config;
        let direction = match job.direction() {
            SyncDirection::Pull => "pull",
            SyncDirection::Push => "push",
        };
        let remote = job.remote.as_ref().map_or("", |name| name.as_str());
        let labels = [
            ("job", job.id.as_str()),
            ("direction", direction),
            ("store", job.store.as_str()),
            ("remote", remote),
            ("remote_store", job.remote_store.as_str()),
        ];
        info.add(&labels, 1.0);
    }
    for gauge in JOB_VALUES {
        let mut family = text.family(gauge.name, gauge.kind, gauge.help);
        for (facts, health) in &jobs {
            if let Some(value) = (gauge.value)(facts, health) {
                family.add(&[("job", &health.job)], value);
            }
        }
    }
    let mut wire = text.family("job_wire_bytes_total", Kind::Counter, "Bytes on the wire in all runs, TLS included");
    for (facts, health) in &jobs {
        let Some(record) = &facts.record else { continue };
        wire.add(&[("job", &health.job), ("direction", "in")], number(record.totals.bytes_on_wire_in));
        wire.add(&[("job", &health.job), ("direction", "out")], number(record.totals.bytes_on_wire_out));
    }
    if detail == Detail::Groups {
        let help = "Time of the newest good copy of a group";
        let mut family = text.family("group_newest_timestamp_seconds", Kind::Gauge, help);
        for job in &health.jobs {
            for group in &job.groups {
                let Some(newest) = group.newest else { continue };
                family.add(&[("job", &job.job), ("ns", &group.ns), ("group", &group.group)], time(newest));
            }
        }
    }
    for (name, help, pick) in ROOM {
        let mut family = text.family(name, Kind::Gauge, help);
        for room in rooms {
            if let Some(sizes) = room.room {
                family.add(&[("store", &room.store)], number(pick(sizes)));
            }
        }
    }
    let mut there = text.family("datastore_available", Kind::Gauge, "Whether the datastore can be used: 1 or 0");
    for room in rooms {
        there.add(&[("store", &room.store)], f64::from(u8::from(room.room.is_some())));
    }
}

type Room = (&'static str, &'static str, fn((u64, u64, u64)) -> u64);

const ROOM: [Room; 3] = [
    ("datastore_size_bytes", "Size of the file system of a datastore", |(total, _, _)| total),
    ("datastore_used_bytes", "Bytes in use on the file system of a datastore", |(_, used, _)| used),
    ("datastore_free_bytes", "Bytes that a datastore may still take", |(_, _, free)| free),
];

/// One series per job.
struct JobValue {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&JobFacts, &JobHealth) -> Option<f64>,
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&JobFacts, &JobHealth) -> Option<f64>) -> JobValue {
    JobValue { name, kind: Kind::Gauge, help, value }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&JobFacts, &JobHealth) -> Option<f64>) -> JobValue {
    JobValue { name, kind: Kind::Counter, help, value }
}

const JOB_VALUES: [JobValue; 21] = [
    gauge("job_status", "Verdict on a job: 0 ok, 1 warning, 2 critical", |_, health| Some(level(health.status))),
    gauge("job_enabled", "Whether the schedule may start a job: 1 or 0", |facts, _| {
        Some(f64::from(u8::from(facts.config.is_enabled())))
    }),
    gauge("job_running", "Whether a job runs: 1 or 0", |_, health| {
        Some(f64::from(u8::from(health.running_since.is_some())))
    }),
    gauge("job_last_result", "How the last run ended: 0 ok, 1 warnings, 2 failed", |_, health| {
        health.last_result.map(|result| match result {
            "ok" => 0.0,
            "warnings" => 1.0,
            _ => 2.0,
        })
    }),
    gauge("job_last_start_timestamp_seconds", "When the last run started", |_, health| health.last_start.map(time)),
    gauge("job_last_end_timestamp_seconds", "When the last run ended", |_, health| health.last_end.map(time)),
    gauge("job_last_good_timestamp_seconds", "When the last good run ended", |_, health| health.last_good.map(time)),
    gauge("job_next_run_timestamp_seconds", "When the schedule wants the next run", |_, health| {
        health.next_run.map(time)
    }),
    gauge("job_retry_timestamp_seconds", "When a failed run is tried again", |_, health| health.retry_at.map(time)),
    gauge("job_last_duration_seconds", "How long the last run took", |facts, _| {
        of_record(facts, |record| record.elapsed_seconds)
    }),
    gauge("job_last_snapshots_copied", "Snapshots that the last run copied", |facts, _| {
        of_record(facts, |record| number(record.snapshots_copied))
    }),
    gauge("job_last_snapshots_removed", "Snapshots that the last run removed at the target", |facts, _| {
        of_record(facts, |record| number(record.snapshots_removed))
    }),
    gauge("job_last_transferred_bytes", "Bytes of chunks and files that the last run moved", |facts, _| {
        of_record(facts, |record| number(record.bytes_transferred))
    }),
    gauge("job_failures", "Runs that failed since the last good one", |_, health| Some(f64::from(health.failures))),
    gauge("job_removals_held", "Snapshots that the deletion brake keeps from being removed", |_, health| {
        Some(number(health.removals_held))
    }),
    gauge("job_objective_seconds", "Greatest age that the newest good copy of a group may have", |_, health| {
        health.objective.map(number)
    }),
    gauge("job_copy_age_seconds", "Age of the newest good copy of the group that is furthest behind", |_, health| {
        health.age.map(number)
    }),
    counter("job_runs_total", "Runs that ended", |facts, _| of_record(facts, |record| number(record.totals.runs))),
    counter("job_failed_runs_total", "Runs that failed", |facts, _| {
        of_record(facts, |record| number(record.totals.failures))
    }),
    counter("job_snapshots_copied_total", "Snapshots copied in all runs", |facts, _| {
        of_record(facts, |record| number(record.totals.snapshots_copied))
    }),
    counter("job_transferred_bytes_total", "Bytes of chunks and files moved in all runs", |facts, _| {
        of_record(facts, |record| number(record.totals.bytes_transferred))
    }),
];

fn of_record(facts: &JobFacts, value: impl Fn(&RunRecord) -> f64) -> Option<f64> {
    facts.record.as_ref().map(value)
}

fn level(level: Level) -> f64 {
    match level {
        Level::Ok => 0.0,
        Level::Warning => 1.0,
        Level::Critical => 2.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format knows floating point numbers only")]
fn number(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "the format knows floating point numbers only")]
fn time(value: i64) -> f64 {
    value as f64
}
