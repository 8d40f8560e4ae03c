//! `acl`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod list;
pub(crate) mod update;

/// The commands below `acl`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Grant or revoke a role on a path
    Update(update::Args),
    /// List the granted roles
    List(list::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Update(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
        }
    }
}
