//! `task status`.

use anyhow::Result;
use formats::Upid;
use tasks::{TaskStatus, TaskStore};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the task, as `task list` shows it
    #[arg(value_name = "UPID")]
    upid: Upid,
}

const KINDS: [Column; 2] = [Column::time("starttime"), Column::time("endtime")];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let status = TaskStore::new(&ctx.paths).status(&self.upid)?.ok_or_else(|| super::unknown(&self.upid))?;
        let ended = match status {
            TaskStatus::Running => None,
            TaskStatus::Stopped { endtime, end } => Some((endtime, end.to_string())),
        };
        ctx.out.record(&KINDS, &api_types::TaskStatus::new(self.upid, ended))?;
        Ok(Outcome::Done)
    }
}
