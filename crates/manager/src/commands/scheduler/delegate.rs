//! The part of the scheduler that needs root, and nothing else: `systemctl start`.
//!
//! Everything the scheduler reads and writes belongs to the user of the daemon, and scripts that its conditions run are
//! that user's affair. So a child process drops to that user, decides, and names on its standard output what is to be
//! started: `ID REASON` on each line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use formats::JobId;
use jobs::scheduler::Systemctl;

use crate::context::Context;
use crate::outcome::Outcome;

/// Has `scheduler WORD` run without the rights of root, and starts the units it names.
pub(super) fn delegate(ctx: &Context, word: &str) -> Result<Outcome> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut child = Command::new(program)
        .args(["scheduler", word, "--start-with", "parent"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that decides")?;
    let mut worst = Outcome::Done;
    let stdout = child.stdout.take().context("the process that decides has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what is to be started")?;
        if let Err(error) = start(ctx, &line) {
            eprintln!("warning: {error:#}");
            worst = Outcome::Warnings;
        }
    }
    let status = child.wait().context("cannot wait for the process that decides")?;
    Ok(match status.code() {
        Some(0) => worst,
        Some(2) => Outcome::Usage,
        Some(3) => Outcome::Warnings,
        _ => Outcome::Failed,
    })
}

fn start(ctx: &Context, line: &str) -> Result<()> {
    let (id, reason) = line.split_once(' ').unwrap_or((line, ""));
    let id: JobId = id.parse().context("no job id")?;
    Systemctl::start_unit(&id).with_context(|| format!("job {id} cannot be started"))?;
    ctx.out.line(&format!("{id}: started {reason}"))
}
