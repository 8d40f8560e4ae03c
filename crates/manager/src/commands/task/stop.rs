//! `task stop`.

use anyhow::Result;
use formats::Upid;
use serde_json::json;
use tasks::{Stopping, TaskEnd, TaskStore};

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the task, as `task list` shows it
    #[arg(value_name = "UPID")]
    upid: Upid,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let tasks = TaskStore::new(&ctx.paths);
        let (result, text) = match tasks.stop(&self.upid, None)? {
            Stopping::Asked => ("asked", "asked to end; see how it does with `task log --follow`".to_owned()),
            Stopping::Withdrawn => ("withdrawn", "had not begun, and will not".to_owned()),
            Stopping::Ended(TaskEnd::Unknown) => {
                // It leaves the list of those that run, if it was there.
                tasks.reap()?;
                ("ended", "died before; nothing to stop".to_owned())
            }
            Stopping::Ended(end) => ("ended", format!("has ended before ({end}); nothing to stop")),
            Stopping::NoTask => return Err(super::unknown(&self.upid).into()),
        };
        if ctx.out.is_text() {
            ctx.out.line(&format!("task {}: {text}", self.upid))?;
        } else {
            ctx.out.json(&json!({ "upid": self.upid, "result": result }))?;
        }
        Ok(Outcome::Done)
    }
}
