//! `backup`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod create;

/// The commands below `backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Back up images and files as one snapshot
    Create(create::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
        }
    }
}
