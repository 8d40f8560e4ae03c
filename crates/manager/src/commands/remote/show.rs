//! `remote show`.

use anyhow::Result;
use formats::RemoteName;

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        ctx.out.record(&[], &super::known(ctx, &self.name)?)?;
        Ok(Outcome::Done)
    }
}
