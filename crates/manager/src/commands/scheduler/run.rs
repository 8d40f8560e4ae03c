//! `scheduler run`: the tick in a loop, for containers and wherever no timer calls it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use jobs::scheduler::Starter;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Start, StartArgs, StartWith, delegate, starter, tell};
use crate::context::Context;
use crate::outcome::Outcome;

/// The clock and the requests are looked at this often: the clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) start: StartArgs,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match starter(ctx, self.start)? {
            Start::Here(starter) => {
                let quiet = self.start.with() == StartWith::Parent;
                if quiet {
                    // Whoever starts the units for this process takes it along.
                    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
                }
                ctx.block_on(keep_on(ctx, &*starter, quiet))
            }
            Start::Delegated => delegate::delegate(ctx, "run"),
        }
    }
}

/// Ticks until SIGTERM or SIGINT. Jobs go on then.
async fn keep_on(ctx: &Context, starter: &dyn Starter, quiet: bool) -> Result<Outcome> {
    let listen = |kind| signal(kind).context("cannot listen to signals");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut child = listen(SignalKind::child())?;
    loop {
        let report = tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(Outcome::Done),
            _ = interrupt.recv() => return Ok(Outcome::Done),
            report = super::tick(ctx, starter) => report,
        };
        let due = match report {
            Ok(report) => {
                let report = report.unwrap_or_default();
                tell(&report);
                if !quiet {
                    report.started.iter().try_for_each(|(id, why)| ctx.out.line(&format!("{id}: started {why}")))?;
                }
                report.next
            }
            // Next minute it may be readable again.
            Err(error) => {
                eprintln!("warning: {}", crate::errors::one_line(&error));
                None
            }
        };
        // Commands of conditions have ended by now; only who ends from here on is of interest.
        while child.recv().now_or_never().is_some() {}
        if collect() {
            continue;
        }
        tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(Outcome::Done),
            _ = interrupt.recv() => return Ok(Outcome::Done),
            () = a_child_ended(&mut child) => {}
            () = time_or_request(ctx, due) => {}
        }
    }
}

/// Waits until it is time for the next tick: when a job is due, at the full minute, or when a run was asked for.
async fn time_or_request(ctx: &Context, due: Option<i64>) {
    let seen = requests(ctx);
    let began = since_epoch();
    let minute = Duration::from_secs((began.as_secs() / 60 + 1) * 60);
    let due = due.and_then(|due| u64::try_from(due).ok()).map(Duration::from_secs);
    let until = due.unwrap_or(minute).min(minute);
    loop {
        let now = since_epoch();
        // A clock that was set back would keep us waiting.
        if now >= until || now < began || !requests(ctx).is_subset(&seen) {
            return;
        }
        tokio::time::sleep((until - now).min(LOOK_AGAIN)).await;
    }
}

/// Waits until a job has ended: another may wait for its place, or follow it.
async fn a_child_ended(child: &mut Signal) {
    loop {
        child.recv().await;
        if collect() {
            return;
        }
    }
}

/// Collects the processes that have ended, ours and, as the first process of a container, everybody's.
fn collect() -> bool {
    let mut any = false;
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
        any = true;
    }
    any
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The requests that wait.
fn requests(ctx: &Context) -> BTreeSet<OsString> {
    let entries = fs::read_dir(ctx.paths.requests()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).filter(|name| !name.to_string_lossy().starts_with('.')).collect()
}
