//! Runs a sync job in the foreground: progress, signals, and the closing summary.

use std::sync::Arc;

use anyhow::Result;
use jobs::{JobError, JobReport};
use replication::{RunControl, RunResult};

use crate::context::Context;
use crate::human;
use crate::options::RunOptions;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// Runs `job` with progress on standard error, cancels it cleanly on SIGINT and SIGTERM, and prints how it ended.
pub(crate) fn run<F>(ctx: &Context, job: F) -> Result<Outcome>
where
    F: AsyncFnOnce(RunControl, Arc<Progress>) -> Result<JobReport, JobError>,
{
    let progress = Arc::new(Progress::new());
    let report = ctx.block_on(async {
        let control = RunControl::new();
        let signals = tokio::spawn(cancel_on_signal(control.clone(), progress.clone()));
        let report = job(control, progress.clone()).await;
        signals.abort();
        Ok(report?)
    });
    progress.finish();
    print(ctx, &report?)
}

/// Runs `job`, or says what a run would do.
pub(crate) fn run_or_forecast(
    ctx: &Context,
    job: &config::SyncJobConfig,
    kind: jobs::Kind,
    options: RunOptions,
) -> Result<Outcome> {
    let this_run = options.this_run();
    // What contradicts itself on the command line is wrong usage; a stored job is checked with its file and line.
    if kind == jobs::Kind::Adhoc {
        config::Entry::check(job)?;
    }
    this_run.check(job)?;
    if options.dry_run {
        return crate::forecast_output::run(ctx, async |control| {
            jobs::forecast_sync(&ctx.paths, job, this_run, control).await
        });
    }
    run(ctx, async |control, progress| jobs::run_sync(&ctx.paths, job, kind, this_run, control, progress).await)
}

pub(crate) async fn cancel_on_signal(control: RunControl, progress: Arc<Progress>) {
    if signal().await.is_ok() {
        progress.say("stopping; once more to stop at once");
        control.cancel();
        if signal().await.is_ok() {
            std::process::exit(Outcome::Failed.code().into());
        }
    }
}

/// Returns when the process is asked to end.
pub(crate) async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Prints the closing summary and tells the exit code.
fn print(ctx: &Context, report: &JobReport) -> Result<Outcome> {
    if ctx.out.is_text() {
        ctx.out.line(&summary(report))?;
    } else {
        ctx.out.json(&report.summary())?;
    }
    Ok(outcome(report.report.result))
}

/// The outcome that stands for the result of a run.
pub(crate) fn outcome(result: RunResult) -> Outcome {
    match result {
        RunResult::Ok => Outcome::Done,
        RunResult::Warnings => Outcome::Warnings,
        RunResult::Error => Outcome::Failed,
    }
}

/// The closing lines for people, the same on success and on failure.
fn summary(job: &JobReport) -> String {
    let report = &job.report;
    let mut lines = Vec::new();
    for problem in &report.warnings {
        lines.push(format!("warning: {problem}"));
    }
    for problem in &report.errors {
        lines.push(format!("error: {problem}"));
    }
    let ending = match report.result {
        _ if report.cancelled => "stopped on request",
        RunResult::Ok if report.moved_nothing() => "nothing to do: the target has everything",
        RunResult::Ok => "all done",
        RunResult::Warnings => "done with warnings",
        RunResult::Error => "failed",
    };
    lines.push(format!("result:    {ending}"));
    lines.push(format!(
        "snapshots: {} copied, {} brought up to date, {} skipped",
        report.snapshots_copied, report.snapshots_refreshed, report.snapshots_skipped
    ));
    lines.push(format!(
        "chunks:    {} transferred ({}), {} already there ({})",
        report.chunks_transferred,
        human::bytes(report.bytes_transferred),
        report.chunks_reused,
        human::bytes(report.bytes_reused)
    ));
    let wire = job.bytes_on_wire_in.saturating_add(job.bytes_on_wire_out);
    let moved = format!("moved:     {} removed at the source", human::count(report.snapshots_moved, "snapshot"));
    let rate = human::rate(wire, job.elapsed.as_secs_f64()).filter(|_| wire > 0).map(|rate| format!(" ({rate})"));
    lines.push(format!(
        "wire:      {} in, {} out{}",
        human::bytes(job.bytes_on_wire_in),
        human::bytes(job.bytes_on_wire_out),
        rate.unwrap_or_default()
    ));
    lines.push(format!(
        "removed:   {}, {}, {}",
        human::count(report.snapshots_removed, "snapshot"),
        human::count(report.groups_removed, "group"),
        human::count(report.namespaces_removed, "namespace")
    ));
    lines.extend((report.snapshots_moved > 0).then_some(moved));
    lines.push(format!("elapsed:   {}", human::span(job.elapsed.as_secs_f64())));
    lines.push(format!("upid:      {}", job.upid));
    lines.join("\n")
}
