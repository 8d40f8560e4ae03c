//! The rules one by one, a year of them together, and clocks that jump.

mod clock;
mod rules;
mod tick;
mod year;

use chrono::{DateTime, NaiveDateTime};
use chrono_tz::Tz;
use config::SyncJobConfig;
use formats::Upid;

use super::{Conditions, Decision, JobFacts, Memory, Verdict, decide};
use crate::state::{EndState, JobState};

/// A moment of 2026 in UTC: `06-01 02:30`.
fn at(text: &str) -> i64 {
    let text = format!("2026-{text}");
    NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp()
}

/// The reverse of [`at`].
fn shown(time: i64) -> String {
    DateTime::from_timestamp(time, 0).unwrap().format("%m-%d %H:%M").to_string()
}

/// A job with `key value` properties, separated by semicolons.
fn job(id: &str, properties: &str) -> SyncJobConfig {
    let mut pairs = vec![("store".to_owned(), "here".to_owned()), ("remote-store".to_owned(), "there".to_owned())];
    pairs.extend(properties.split(';').map(str::trim).filter(|text| !text.is_empty()).map(|text| {
        let (key, value) = text.split_once(' ').unwrap();
        (key.to_owned(), value.to_owned())
    }));
    config::from_pairs(id, &pairs).unwrap()
}

/// The name of a run that started then.
fn run_at(start: i64) -> Upid {
    let mut upid = tasks::new_upid("syncjob", None, tasks::superuser());
    upid.start_time = start;
    upid
}

/// The state of a job whose last run started and ended then.
fn ran(start: i64, end: i64) -> Option<JobState> {
    Some(JobState::Finished { upid: run_at(start), state: EndState::Ok { endtime: end }, updated: None })
}

/// A job of which nothing is remembered but its last good run, an hour long.
fn facts(job: &SyncJobConfig, last_start: &str) -> JobFacts {
    let start = at(last_start);
    JobFacts {
        job: job.clone(),
        state: ran(start, start + 3600),
        memory: Memory::default(),
        failures: 0,
        retry_at: None,
        last_good: Some(start + 3600),
        requested: false,
        running: false,
        conditions: Conditions::Met,
    }
}

/// One line per decision: `nightly: start by its schedule`, `weekly: not due, next 06-08 00:00`.
fn brief(decisions: &[Decision]) -> String {
    let line = |decision: &Decision| {
        let next = decision.next.map(|next| format!(", next {}", shown(next))).unwrap_or_default();
        match &decision.verdict {
            Verdict::Start(reason) => format!("{}: start {reason}", decision.id),
            Verdict::Wait(wait) => format!("{}: {wait}{next}", decision.id),
        }
    };
    decisions.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// What is decided about some jobs at a moment, in UTC and with room for four.
fn decided(facts: &[JobFacts], now: &str) -> String {
    brief(&decide(facts, at(now), Tz::UTC, 4))
}
