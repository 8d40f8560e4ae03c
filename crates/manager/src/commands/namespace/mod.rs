//! `namespace`: the commands below it.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;

/// The commands below `namespace`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a namespace, with its missing parents
    Create(create::Args),
    /// List the namespaces of a datastore
    List(list::Args),
    /// Delete a namespace and those below it
    Delete(delete::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Delete(args) => args.run(ctx),
        }
    }
}
