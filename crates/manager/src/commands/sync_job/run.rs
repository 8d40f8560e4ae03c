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
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let job = super::known(ctx, &self.id)?;
        crate::job_output::run_or_forecast(ctx, &job, jobs::Kind::Stored, self.run)
    }
}
