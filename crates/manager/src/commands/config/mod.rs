//! `config`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod check;

/// The commands below `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for what is wrong in the configuration files, without changing anything
    Check(check::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Check(args) => args.run(ctx),
        }
    }
}
