//! `schedule`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod check;

/// The commands below `schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a schedule and show when it comes next
    Check(check::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Check(args) => args.run(ctx),
        }
    }
}
