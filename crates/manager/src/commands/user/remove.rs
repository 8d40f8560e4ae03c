//! `user remove`.

use anyhow::Result;
use config::ConfigDigest;
use formats::UserId;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the user
    #[arg(value_name = "USERID")]
    userid: UserId,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.userid)?;
        config::users::remove(&ctx.paths, &self.userid, self.digest.as_ref())?;
        Ok(Outcome::Done)
    }
}
