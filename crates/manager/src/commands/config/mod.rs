//! `config`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod import;

/// The commands below `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for what is wrong in the configuration files, without changing anything
    Check(check::Args),
    /// Take over the configuration of a stock server, as far as it goes
    Import(import::Args),
    /// Write the configuration as a stock server reads it, and say what it does not know
    Export(export::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Check(args) => args.run(ctx),
            Self::Import(args) => args.run(ctx),
            Self::Export(args) => args.run(ctx),
        }
    }
}
