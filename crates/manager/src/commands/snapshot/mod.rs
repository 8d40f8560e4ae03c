//! `snapshot`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod files;
pub(crate) mod forget;
pub(crate) mod list;
pub(crate) mod verify;

/// The commands below `snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the snapshots of a datastore
    List(list::Args),
    /// List the files of a snapshot
    Files(files::Args),
    /// Read and check every chunk of one or all snapshots
    Verify(verify::Args),
    /// Remove a snapshot
    Forget(forget::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::List(args) => args.run(ctx),
            Self::Files(args) => args.run(ctx),
            Self::Verify(args) => args.run(ctx),
            Self::Forget(args) => args.run(ctx),
        }
    }
}
