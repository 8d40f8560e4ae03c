//! `sync-job run`.

use anyhow::Result;
use formats::JobId;

use crate::context::Context;
use crate::options::RunOptions;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job
    #[arg(value_name = "ID")]
    id: JobId,

    #[command(flatten)]
    run: RunOptions,

    /// Run although a condition of run-when does not hold
    #[arg(long, help_heading = "This run")]
    ignore_conditions: bool,

    /// Run as the scheduler does: log lines instead of progress, and no failure when the job runs already
    #[arg(long, help_heading = "This run", conflicts_with = "dry_run")]
    scheduled: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let job = super::known(ctx, &self.id)?;
        let this_run = jobs::ThisRun {
            ignore_conditions: self.ignore_conditions,
            scheduled: self.scheduled,
            ..self.run.this_run()
        };
        crate::job_output::run_or_forecast(ctx, &job, jobs::Kind::Stored, self.run.dry_run, this_run)
    }
}
