//! `group`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod change_owner;

/// The commands below `group`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a group to another user or token
    ChangeOwner(change_owner::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::ChangeOwner(args) => args.run(ctx),
        }
    }
}
