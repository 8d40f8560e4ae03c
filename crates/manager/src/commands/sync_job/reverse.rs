//! `sync-job reverse`.

use anyhow::Result;
use formats::JobId;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job to turn around; it stays as it is
    #[arg(value_name = "ID")]
    id: JobId,

    /// Name of the new job
    #[arg(value_name = "NEW-ID")]
    new_id: JobId,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let back = super::known(ctx, &self.id)?.reversed(self.new_id);
        config::sync_jobs::create(&ctx.paths, &back)?;
        super::made(ctx, &back.id);
        super::warn_of_missing(ctx, &back)?;
        Ok(Outcome::Done)
    }
}
