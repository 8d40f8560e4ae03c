//! Runs a sync job in the foreground: progress, signals, and the closing summary.

use std::sync::Arc;

use anyhow::Result;
use jobs::{Caller, JobError, JobReport, RunEnd};
use replication::{RunControl, RunResult, Silent};

use crate::context::Context;
use crate::human;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// Runs `job`, cancels it cleanly on SIGINT and SIGTERM, and prints how it ended.
///
/// A person sees progress on standard error and a summary. With `scheduled` the lines of its log go to standard error
/// instead, for the journal.
pub(crate) fn run<F>(ctx: &Context, scheduled: bool, job: F) -> Result<Outcome>
where
    F: AsyncFnOnce(Caller) -> Result<RunEnd, JobError>,
{
    let progress = (!scheduled).then(|| Arc::new(Progress::new()));
    let end = ctx.block_on(async {
        let control = RunControl::new();
        let signals = tokio::spawn(cancel_on_signal(control.clone(), progress.clone()));
        let end = job(match &progress {
            Some(progress) => Caller { control, monitor: progress.clone(), echo: None },
            None => Caller { control, monitor: Arc::new(Silent), echo: Some(Arc::new(logging::task_line)) },
        });
        let end = end.await;
        signals.abort();
        Ok(end?)
    });
    if let Some(progress) = &progress {
        progress.finish();
    }
    match end? {
        RunEnd::Done(report) if scheduled && ctx.out.is_text() => Ok(outcome(report.report.result)),
        RunEnd::Done(report) => print(ctx, &report),
        RunEnd::Running => Ok(Outcome::Done),
        RunEnd::Waiting(reason) if ctx.out.is_text() => {
            ctx.out.line(&format!("not now: the job waits until this holds: {reason}"))?;
            Ok(Outcome::Done)
        }
        RunEnd::Waiting(reason) => {
            ctx.out.json(&serde_json::json!({ "result": "waiting", "reason": reason }))?;
            Ok(Outcome::Done)
        }
    }
}

/// Runs `job`, or says what a run would do.
pub(crate) fn run_or_forecast(
    ctx: &Context,
    job: &config::SyncJobConfig,
    kind: jobs::Kind,
    dry_run: bool,
    this_run: jobs::ThisRun,
) -> Result<Outcome> {
    // What contradicts itself on the command line is wrong usage; a stored job is checked with its file and line.
    if kind == jobs::Kind::Adhoc {
        config::Entry::check(job)?;
    }
    this_run.check(job)?;
    if dry_run {
        return crate::forecast_output::run(ctx, async |control| {
            jobs::forecast_sync(&ctx.paths, job, kind, this_run, control).await
        });
    }
    run(ctx, this_run.scheduled, async |caller| jobs::run_sync(&ctx.paths, job, kind, this_run, caller).await)
}

pub(crate) async fn cancel_on_signal(control: RunControl, progress: Option<Arc<Progress>>) {
    if signal().await.is_ok() {
        if let Some(progress) = progress {
            progress.say("stopping; once more to stop at once");
        }
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
