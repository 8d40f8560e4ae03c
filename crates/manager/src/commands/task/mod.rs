//! `task`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use formats::Upid;

use crate::context::Context;
use crate::errors::Hinted;
use crate::outcome::Outcome;

pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod status;
pub(crate) mod stop;

/// The commands below `task`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List tasks, those that run and those that ended
    List(list::Args),
    /// Print the log of a task
    Log(log::Args),
    /// Show how a task is
    Status(status::Args),
    /// Ask a task to end
    Stop(stop::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::List(args) => args.run(ctx),
            Self::Log(args) => args.run(ctx),
            Self::Status(args) => args.run(ctx),
            Self::Stop(args) => args.run(ctx),
        }
    }
}

/// Says that nothing is known of a task.
fn unknown(upid: &Upid) -> Hinted {
    Hinted::new(format!("there is no task {upid}")).hint("list them with: backup-manager task list")
}
