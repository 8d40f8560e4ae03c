//! `cert`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod info;

/// The commands below `cert`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the certificate that this server presents
    Info(info::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Info(args) => args.run(ctx),
        }
    }
}
