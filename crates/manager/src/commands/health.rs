//! `health`.

use std::fmt::Write as _;

use anyhow::Result;
use formats::JobId;
use jobs::health::{Health, JobHealth, Level, Look, judge, survey};
use serde_json::{Value, json};

use crate::context::Context;
use crate::human;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Look at this job only [default: all]
    #[arg(long, value_name = "ID")]
    job: Option<JobId>,

    /// Ask no other server: judge pushes by their last good run
    #[arg(long)]
    offline: bool,

    /// Answer as a plugin for Nagios and its kin: one line, and exit code 0 ok, 1 warning, 2 critical, 3 unknown
    #[arg(long)]
    nagios: bool,
}

const COLUMNS: [Column; 8] = [
    Column::new("job"),
    Column::new("status"),
    Column::with("age", age),
    Column::with("objective", age),
    Column::new("last-result"),
    Column::time("last-end"),
    Column::time("next-run"),
    Column::with("reasons", reasons),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let health = match self.look(ctx) {
            Ok(health) => health,
            Err(error) if self.nagios => {
                ctx.out.line(&format!("BACKUP UNKNOWN - {}", crate::errors::one_line(&error)))?;
                return Ok(Outcome::Code(3));
            }
            Err(error) => return Err(error),
        };
        if self.nagios {
            ctx.out.line(&plugin(&health))?;
            let code = match health.status {
                Level::Ok => 0,
                Level::Warning => 1,
                Level::Critical => 2,
            };
            return Ok(Outcome::Code(code));
        }
        if ctx.out.is_text() {
            for finding in &health.broken {
                eprintln!("critical: {finding}");
            }
            let rows: Vec<Value> = health.jobs.iter().map(row).collect();
            ctx.out.list(&COLUMNS, &rows)?;
        } else {
            ctx.out.json(&health)?;
        }
        Ok(match health.status {
            Level::Ok => Outcome::Done,
            Level::Warning => Outcome::Warnings,
            Level::Critical => Outcome::Failed,
        })
    }

    fn look(&self, ctx: &Context) -> Result<Health> {
        if let Some(id) = &self.job {
            super::sync_job::known(ctx, id)?;
        }
        let zone = jobs::host_zone(std::env::var("TZ").ok().as_deref()).zone;
        let look = if self.offline { Look::Here } else { Look::Everywhere };
        let facts = ctx.block_on(async { Ok(survey(&ctx.paths, self.job.as_ref(), look, zone).await?) })?;
        Ok(judge(&facts, tasks::now()))
    }
}

/// A row of the table: the object of the JSON answer, disabled jobs marked as such.
fn row(job: &JobHealth) -> Value {
    let mut row = json!(job);
    if job.disabled {
        row["status"] = "disabled".into();
    }
    row
}

fn age(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |seconds| calendar::TimeSpan::from_secs(seconds).to_string())
}

fn reasons(value: &Value) -> String {
    let texts: Vec<&str> = value.as_array().into_iter().flatten().filter_map(|one| one["message"].as_str()).collect();
    texts.join("; ")
}

/// The line of a plugin: verdict, the reasons of the worst jobs, and the ages as performance data.
fn plugin(health: &Health) -> String {
    let word = match health.status {
        Level::Ok => "OK",
        Level::Warning => "WARNING",
        Level::Critical => "CRITICAL",
    };
    let mut parts: Vec<String> = health.broken.iter().map(ToString::to_string).collect();
    for job in &health.jobs {
        parts.extend(job.reasons.iter().map(|reason| format!("{}: {}", job.job, reason.message)));
    }
    if parts.is_empty() {
        parts.push(human::count(health.jobs.len() as u64, "job"));
    }
    // A bar begins the performance data.
    let mut line = format!("BACKUP {word} - {}", parts.join("; ")).replace('|', "/");
    let mut separator = " |";
    for job in &health.jobs {
        let Some(age) = job.age else { continue };
        let limit = job.objective.map(|limit| limit.to_string()).unwrap_or_default();
        let _ = write!(line, "{separator} '{}'={age}s;;{limit};0", job.job);
        separator = "";
    }
    line
}
