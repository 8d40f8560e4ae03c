//! `scheduler status`.

use std::fs;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use chrono::TimeZone;
use chrono_tz::Tz;
use formats::Upid;
use jobs::scheduler::{Agenda, BrokenJob, Decision, JobFacts, Verdict, Wait};
use jobs::{EndState, JobState, Surroundings};
use serde::Serialize;
use serde_json::json;

use super::zone;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

/// A scheduler that was not at work for so long, in seconds, is none.
const SILENCE: i64 = 180;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// One job.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    id: String,
    last_run_upid: Option<Upid>,
    last_run_starttime: Option<i64>,
    last_run_endtime: Option<i64>,
    last_run: Option<String>,
    last_run_state: Option<String>,
    next_run: Option<i64>,
    next_run_local: Option<String>,
    status: String,
}

const COLUMNS: [Column; 5] = [
    Column::new("id"),
    Column::new("last-run"),
    Column::new("last-run-state"),
    Column::new("next-run-local"),
    Column::new("status"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let (now, zone) = (tasks::now(), zone());
        let mut agenda = Agenda::load(&ctx.paths, now, zone.zone)?;
        if agenda.facts.iter().any(|one| !one.job.run_when.is_empty()) {
            ctx.block_on(async {
                agenda.look_at_conditions(&ctx.paths, &Surroundings::default()).await;
                Ok(())
            })?;
        }
        let mut rows: Vec<Row> = agenda.decide().iter().filter_map(|decision| row(&agenda, decision)).collect();
        rows.extend(agenda.broken.iter().map(broken));
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        let last_tick = last_tick(ctx);
        let mut problems = agenda.all_problems();
        problems.extend(zone.warning);
        problems.extend(silence(&agenda, last_tick));

        if ctx.out.is_text() {
            ctx.out.list(&COLUMNS, &rows)?;
            problems.iter().for_each(|problem| eprintln!("warning: {problem}"));
        } else {
            ctx.out.json(&json!({
                "time-zone": agenda.zone.name(),
                "last-tick": last_tick,
                "max-jobs": agenda.max_jobs,
                "jobs": rows,
                "problems": problems,
            }))?;
        }
        Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Warnings })
    }
}

fn row(agenda: &Agenda, decision: &Decision) -> Option<Row> {
    let one: &JobFacts = agenda.facts.iter().find(|one| one.job.id == decision.id)?;
    let upid = one.state.as_ref().and_then(JobState::upid);
    let (endtime, state) = match &one.state {
        Some(JobState::Started { .. }) => (None, Some("running".to_owned())),
        Some(JobState::Finished { state, .. }) => (Some(state.endtime()), Some(ended(state))),
        Some(JobState::Created { .. } | JobState::Unknown) | None => (None, None),
    };
    // What is overdue runs as soon as nothing keeps it from it.
    let next = decision.next.map(|next| next.max(agenda.now));
    let start = upid.map(|upid| upid.start_time);
    Some(Row {
        id: decision.id.to_string(),
        last_run_upid: upid.cloned(),
        last_run_starttime: start,
        last_run_endtime: endtime,
        last_run: start.map(|time| local(time, agenda.zone)),
        last_run_state: state,
        next_run: next,
        next_run_local: next.map(|time| local(time, agenda.zone)),
        status: match &decision.verdict {
            Verdict::Start(reason) => format!("due, starts with the next tick {reason}"),
            Verdict::Wait(wait) => wait.to_string(),
        },
    })
}

fn broken(job: &BrokenJob) -> Row {
    Row {
        id: job.id.clone(),
        last_run_upid: None,
        last_run_starttime: None,
        last_run_endtime: None,
        last_run: None,
        last_run_state: None,
        next_run: None,
        next_run_local: None,
        status: Wait::Broken(job.reason.clone()).to_string(),
    }
}

/// The words of a stock server for how a run ended.
fn ended(state: &EndState) -> String {
    match state {
        EndState::Ok { .. } => "OK".to_owned(),
        EndState::Warning { count, .. } => format!("WARNINGS: {count}"),
        EndState::Error { message, .. } => message.clone(),
        EndState::Unknown { .. } => "unknown".to_owned(),
    }
}

fn local(time: i64, zone: Tz) -> String {
    zone.timestamp_opt(time, 0)
        .single()
        .map_or_else(|| time.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// When the scheduler was last at work.
fn last_tick(ctx: &Context) -> Option<i64> {
    let modified = fs::metadata(ctx.paths.scheduler_lock()).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Complains about a scheduler that does not run though there are jobs for it.
fn silence(agenda: &Agenda, last_tick: Option<i64>) -> Option<String> {
    let needed =
        agenda.facts.iter().any(|one| one.job.is_enabled() && (one.job.schedule.is_some() || one.job.after.is_some()));
    let silent = last_tick.is_none_or(|last| !(-SILENCE..SILENCE).contains(&(agenda.now - last)));
    let last = last_tick.map_or_else(|| "never".to_owned(), |last| format!("last at {}", local(last, agenda.zone)));
    (needed && silent).then(|| {
        format!(
            "the scheduler does not run ({last}): enable backup-manager-scheduler.timer, or keep `backup-manager scheduler run` running"
        )
    })
}
