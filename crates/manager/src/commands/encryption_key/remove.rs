//! `encryption-key remove`.

use anyhow::Result;
use config::ConfigDigest;
use formats::JobId;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key, which must be archived
    #[arg(value_name = "ID")]
    id: JobId,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.id)?;
        config::encryption_keys::remove(&ctx.paths, &self.id, self.digest.as_ref())?;
        Ok(Outcome::Done)
    }
}
