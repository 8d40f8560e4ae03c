//! `sync-job`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use config::SyncJobConfig;
use formats::JobId;
use jobs::{JobState, JobStates};

use crate::context::Context;
use crate::errors::unknown;
use crate::outcome::Outcome;

pub(crate) mod create;
pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod reverse;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod update;

/// The commands below `sync-job`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a sync job
    Create(create::Args),
    /// List the sync jobs
    List(list::Args),
    /// Show the settings of a sync job
    Show(show::Args),
    /// Change the settings of a sync job
    Update(update::Args),
    /// Remove a sync job
    Remove(remove::Args),
    /// Make the job that copies the other way, for a restore; it starts by hand only
    Reverse(reverse::Args),
    /// Say what a job would do with one snapshot, rule by rule
    Explain(explain::Args),
    /// Run a sync job now, in the foreground
    Run(run::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Show(args) => args.run(ctx),
            Self::Update(args) => args.run(ctx),
            Self::Remove(args) => args.run(ctx),
            Self::Reverse(args) => args.run(ctx),
            Self::Explain(args) => args.run(ctx),
            Self::Run(args) => args.run(ctx),
        }
    }
}

/// The job of this name; an error that names the jobs there are.
pub(crate) fn known(ctx: &Context, id: &JobId) -> Result<SyncJobConfig> {
    let jobs = config::sync_jobs::load(&ctx.paths)?;
    if let Some(job) = jobs.find(id) {
        return Ok(job.clone());
    }
    crate::problems::tell(&jobs.problems);
    Err(unknown("sync job", id, jobs.entries.iter().map(|job| &job.id)).into())
}

/// Writes down when a job was made: its first run is at the first event after that.
fn made(ctx: &Context, id: &JobId) {
    let state = JobState::Created { time: tasks::now() };
    if let Err(error) = JobStates::new(&ctx.paths).save(id, &state) {
        // Then it counts as made when the scheduler first sees it.
        eprintln!("warning: {}", crate::errors::one_line(&error.into()));
    }
}

/// Warns of names that nothing has. They are accepted, as the other side may be set up later.
fn warn_of_missing(ctx: &Context, job: &SyncJobConfig) -> Result<()> {
    for missing in config::sync_jobs::missing_references(&ctx.paths, job)? {
        eprintln!("warning: {missing}");
    }
    Ok(())
}
