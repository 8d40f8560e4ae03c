//! `sync-job show`.

use anyhow::Result;
use formats::JobId;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job
    #[arg(value_name = "ID")]
    id: JobId,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        ctx.out.record(&[], &super::known(ctx, &self.id)?)?;
        Ok(Outcome::Done)
    }
}
