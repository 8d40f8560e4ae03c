//! `sync-job remove`.

use anyhow::Result;
use config::ConfigDigest;
use formats::JobId;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job
    #[arg(value_name = "ID")]
    id: JobId,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        config::sync_jobs::remove(&ctx.paths, &self.id, self.digest.as_ref())?;
        // Another job of that name is not to inherit its last run.
        jobs::forget_job(&ctx.paths, &self.id)?;
        Ok(Outcome::Done)
    }
}
