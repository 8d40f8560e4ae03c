//! `job`: the commands below it, which speak to runs of sync jobs.

use anyhow::Result;
use clap::Subcommand;
use formats::{JobId, Upid};
use serde_json::{Map, Value};
use tasks::TaskStore;
use tasks::control::{Request, send};

use crate::context::Context;
use crate::errors::{Hinted, unknown};
use crate::outcome::Outcome;

pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod resume;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod stop;

/// The commands below `job`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what runs now, and how far it is
    List(list::Args),
    /// Show how a run goes
    Status(status::Args),
    /// Stop a run at the next chunk; the next one goes on from there
    Stop(stop::Args),
    /// Hold a run at the next chunk until it may go on
    Pause(pause::Args),
    /// Let a run go on
    Resume(resume::Args),
    /// Change the rates of a run until it ends
    Set(set::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::List(args) => args.run(ctx),
            Self::Status(args) => args.run(ctx),
            Self::Stop(args) => args.run(ctx),
            Self::Pause(args) => args.run(ctx),
            Self::Resume(args) => args.run(ctx),
            Self::Set(args) => args.run(ctx),
        }
    }
}

/// A run: its UPID, or the name of its job while that runs.
#[derive(Clone, Debug)]
pub(crate) enum RunName {
    Upid(Box<Upid>),
    Job(JobId),
}

impl std::str::FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("UPID:") {
            return text.parse().map(|upid| Self::Upid(Box::new(upid))).map_err(|error| format!("{error}"));
        }
        text.parse().map(Self::Job).map_err(|error| format!("{error}"))
    }
}

/// The run that is meant.
#[derive(clap::Args, Debug)]
pub(crate) struct Which {
    /// UPID of the run, or name of the job that runs
    #[arg(value_name = "UPID|JOB")]
    run: RunName,
}

impl Which {
    fn find(&self, ctx: &Context) -> Result<Upid> {
        let job = match &self.run {
            RunName::Upid(upid) => return Ok((**upid).clone()),
            RunName::Job(job) => job,
        };
        let running = running(ctx)?;
        if let Some(upid) = running.iter().find(|upid| job_of(upid) == Some(job.as_str())) {
            return Ok(upid.clone());
        }
        let jobs = config::sync_jobs::load(&ctx.paths)?;
        if jobs.find(job).is_none() {
            return Err(unknown("sync job", job, jobs.entries.iter().map(|job| &job.id)).into());
        }
        Err(Hinted::new(format!("job '{job}' does not run")).hint("what runs: backup-manager job list").into())
    }

    /// Asks the run for something and returns its answer.
    fn ask(&self, ctx: &Context, request: &Request) -> Result<Map<String, Value>> {
        ask(ctx, &self.find(ctx)?, request)
    }

    /// Asks the run for something whose answer is that it is done.
    fn order(&self, ctx: &Context, request: &Request) -> Result<Outcome> {
        let upid = self.find(ctx)?;
        let answer = ask(ctx, &upid, request)?;
        if !ctx.out.is_text() {
            let mut answer = answer;
            answer.insert("upid".to_owned(), upid.to_string().into());
            ctx.out.json(&answer)?;
        }
        Ok(Outcome::Done)
    }
}

fn ask(ctx: &Context, upid: &Upid, request: &Request) -> Result<Map<String, Value>> {
    Ok(send(&ctx.paths.control(), upid, request)?)
}

/// The runs of sync jobs, and one-off pulls, pushes and relays, that are under way.
fn running(ctx: &Context) -> Result<Vec<Upid>> {
    let mut running = TaskStore::new(&ctx.paths).running()?;
    running.retain(|upid| matches!(upid.worker_type.as_str(), "syncjob" | "sync"));
    Ok(running)
}

/// The job that a task is a run of.
fn job_of(upid: &Upid) -> Option<&str> {
    let id = upid.worker_id.as_deref().filter(|_| upid.worker_type == "syncjob")?;
    id.rsplit(':').next()
}
