//! `scheduler tick`.

use anyhow::Result;
use jobs::scheduler::TickReport;
use serde_json::json;

use super::{Start, StartArgs, StartWith, delegate, starter, tell};
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) start: StartArgs,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let starter = match starter(ctx, self.start)? {
            Start::Here(starter) => starter,
            Start::Delegated => return delegate::delegate(ctx, "tick"),
        };
        // Another tick that is at work sees what this one would have seen.
        let report = ctx.block_on(super::tick(ctx, &*starter))?.unwrap_or_default();
        tell(&report);
        if self.start.with() != StartWith::Parent {
            print(ctx, &report)?;
        }
        Ok(if report.problems.is_empty() { Outcome::Done } else { Outcome::Warnings })
    }
}

fn print(ctx: &Context, report: &TickReport) -> Result<()> {
    if ctx.out.is_text() {
        return report.started.iter().try_for_each(|(id, why)| ctx.out.line(&format!("{id}: started {why}")));
    }
    let started: Vec<_> = report.started.iter().map(|(id, why)| json!({"id": id, "reason": why.to_string()})).collect();
    ctx.out.json(&json!({
        "started": started,
        "died": report.died,
        "problems": report.problems,
        "next": report.next,
    }))
}
