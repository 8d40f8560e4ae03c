//! `task log`.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use api_types::{TaskLogLine, TaskLogPage};
use formats::Upid;
use tasks::{LogPage, TaskEnd, TaskError, TaskStatus, TaskStore};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::write_stdout;

/// How often a log that grows is looked at.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the task, as `task list` shows it
    #[arg(value_name = "UPID")]
    upid: Upid,

    /// Print what is added too, until the task ends; the exit code is then that of the task
    #[arg(long)]
    follow: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let tasks = TaskStore::new(&ctx.paths);
        if self.follow {
            return self.follow(ctx, &tasks);
        }
        let page = self.page(&tasks, 0)?;
        if ctx.out.is_text() {
            write_stdout(text(&page).as_bytes())?;
        } else {
            let (total, active) = (page.total, Some(page.active));
            ctx.out.json(&TaskLogPage { data: lines(page).collect(), total, success: 1, active })?;
        }
        Ok(Outcome::Done)
    }

    /// Prints as text, or as JSON line by line, what there is and what comes.
    fn follow(&self, ctx: &Context, tasks: &TaskStore) -> Result<Outcome> {
        let mut next = 1;
        loop {
            let page = self.page(tasks, next)?;
            let active = page.active;
            next = page.total + 1;
            if ctx.out.is_text() {
                write_stdout(text(&page).as_bytes())?;
            } else {
                for line in lines(page) {
                    write_stdout(format!("{}\n", serde_json::to_string(&line)?).as_bytes())?;
                }
            }
            if !active {
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(match tasks.status(&self.upid)? {
            Some(TaskStatus::Stopped { end: TaskEnd::Ok, .. }) => Outcome::Done,
            Some(TaskStatus::Stopped { end: TaskEnd::Warnings(_), .. }) => Outcome::Warnings,
            _ => Outcome::Failed,
        })
    }

    fn page(&self, tasks: &TaskStore, start: u64) -> Result<LogPage> {
        tasks.log_page(&self.upid, start, 0).map_err(|error| match error {
            TaskError::NoLog(_) => anyhow::Error::from(super::unknown(&self.upid)),
            error => error.into(),
        })
    }
}

fn text(page: &LogPage) -> String {
    page.lines.iter().map(|(_, line)| format!("{line}\n")).collect()
}

fn lines(page: LogPage) -> impl Iterator<Item = TaskLogLine> {
    page.lines.into_iter().map(|(n, t)| TaskLogLine { n, t })
}
