//! `remote remove`.

use anyhow::Result;
use config::ConfigDigest;
use formats::RemoteName;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.name)?;
        config::remotes::remove(&ctx.paths, &self.name, self.digest.as_ref())?;
        Ok(Outcome::Done)
    }
}
