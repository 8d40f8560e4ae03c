//! Prints what a dry run found.

use std::sync::Arc;

use anyhow::Result;
use formats::Namespace;
use jobs::{ForecastSummary, JobError, JobForecast};
use replication::{
    Amount, GroupOutline, NamespaceOutline, RunControl, RunResult, SnapshotOutline, VanishedGroupOutline,
};

use crate::context::Context;
use crate::human;
use crate::job_output;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// Makes the forecast, cancels it on SIGINT and SIGTERM, and prints it.
pub(crate) fn run<F>(ctx: &Context, forecast: F) -> Result<Outcome>
where
    F: AsyncFnOnce(RunControl) -> Result<JobForecast, JobError>,
{
    let progress = Arc::new(Progress::new());
    let found = ctx.block_on(async {
        let control = RunControl::new();
        let signals = tokio::spawn(job_output::cancel_on_signal(control.clone(), Some(progress.clone())));
        let found = forecast(control).await;
        signals.abort();
        Ok(found?)
    });
    progress.finish();
    let summary = found?.summary();
    if ctx.out.is_text() {
        ctx.out.line(&text(&summary))?;
    } else {
        ctx.out.json(&summary)?;
    }
    Ok(job_output::outcome(summary.result))
}

/// The plan and its sums, for people.
fn text(summary: &ForecastSummary) -> String {
    let mut lines = Vec::new();
    for entry in &summary.plan.namespaces {
        namespace(entry, summary.bytes_exact, &mut lines);
    }
    for entry in &summary.plan.vanished_namespaces {
        lines.push(format!("{}: {} - {}", named(&entry.namespace), entry.action, entry.reason));
        entry.groups.iter().for_each(|group| lines.push(vanished(group)));
    }
    lines.extend(summary.warnings.iter().map(|problem| format!("warning: {problem}")));
    lines.extend(summary.errors.iter().map(|problem| format!("error: {problem}")));
    let idle = summary.snapshots_copied + summary.snapshots_refreshed + summary.snapshots_removed == 0
        && summary.groups_removed + summary.namespaces_removed == 0
        && summary.snapshots_moved + summary.groups_updated == 0;
    lines.push(format!(
        "dry run:   nothing was changed; a run would {}",
        match summary.result {
            RunResult::Ok if idle => "find nothing to do",
            RunResult::Ok => "do all of this",
            RunResult::Warnings => "end with warnings",
            RunResult::Error => "fail in part",
        }
    ));
    lines.push(format!(
        "snapshots: {} to copy, {} to bring up to date, {} unchanged, {} skipped",
        summary.snapshots_copied, summary.snapshots_refreshed, summary.snapshots_unchanged, summary.snapshots_skipped
    ));
    lines.push(format!(
        "chunks:    {}{} to send ({} plain), {} already there",
        if summary.chunks_exact { "" } else { "at most " },
        summary.chunks_transferred,
        human::bytes(summary.logical_bytes_transferred),
        summary.chunks_reused
    ));
    lines.push(format!(
        "bytes:     {} to send, indexes included",
        encoded(summary.bytes_transferred, summary.bytes_exact)
    ));
    lines.push(format!(
        "to remove: {}, {}, {}",
        human::count(summary.snapshots_removed, "snapshot"),
        human::count(summary.groups_removed, "group"),
        human::count(summary.namespaces_removed, "namespace")
    ));
    if summary.snapshots_moved > 0 {
        lines.push(format!(
            "to move:   {} removed at the source, each after its copy was read back",
            human::count(summary.snapshots_moved, "snapshot")
        ));
    }
    lines.join("\n")
}

fn namespace(entry: &NamespaceOutline, exact: bool, lines: &mut Vec<String>) {
    let way = if entry.source == entry.target {
        named(&entry.source)
    } else {
        format!("{} into {}", named(&entry.source), named(&entry.target))
    };
    let made = if entry.create { " (to be made)" } else { "" };
    let total = human::count(entry.groups_total as u64, "group");
    lines.push(format!("{way}{made}: {} of {total} matched", entry.groups_matched));
    for group in &entry.groups {
        group_lines(group, exact, lines);
    }
    entry.vanished_groups.iter().for_each(|group| lines.push(vanished(group)));
}

/// One line for the group, then one for each run of snapshots that fare alike; what is sent has a line of its own.
fn group_lines(group: &GroupOutline, exact: bool, lines: &mut Vec<String>) {
    if group.snapshots.is_empty() {
        lines.push(format!("  {}: no snapshots", group.group));
        return;
    }
    let notes = if group.sets_notes { ", notes of the group set" } else { "" };
    lines.push(format!("  {}: {}{notes}", group.group, sent(group.amount, exact)));
    let alike = |one: &SnapshotOutline, next: &SnapshotOutline| {
        let told = |one: &SnapshotOutline| (one.action, one.reason, beside(one));
        one.outcome.is_none() && next.outcome.is_none() && told(one) == told(next)
    };
    for run in group.snapshots.chunk_by(alike) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let what = if run.len() == 1 {
            first.snapshot.time.to_string()
        } else {
            format!("{} snapshots ({} .. {})", run.len(), first.snapshot.time, last.snapshot.time)
        };
        let sent = match first.outcome {
            Some(_) => format!(": {}", sent(first.amount, exact)),
            None => String::new(),
        };
        lines.push(format!("    {:<7} {what}{sent} - {}{}", first.action, first.reason, beside(first)));
    }
}

/// What happens beside the copying: notes and protection, and the snapshot at the source of a move.
fn beside(snapshot: &SnapshotOutline) -> String {
    let mut text = String::new();
    if snapshot.sets_notes {
        text.push_str("; notes set");
    }
    match snapshot.sets_protected {
        Some(true) => text.push_str("; protected"),
        Some(false) => text.push_str("; protection lifted"),
        None => {}
    }
    if let (Some(what), Some(why)) = (snapshot.at_source, snapshot.at_source_reason) {
        text.push_str(&format!("; at the source: {what} ({why})"));
    }
    text
}

fn sent(amount: Amount, exact: bool) -> String {
    if amount == Amount::default() {
        return "nothing to send".to_owned();
    }
    format!(
        "{} to send ({} plain, {} encoded), {} already there",
        human::count(amount.chunks, "chunk"),
        human::bytes(amount.logical_bytes),
        encoded(amount.bytes, exact),
        amount.chunks_reused
    )
}

/// Encoded bytes are a bound where no chunk's length is known before it is fetched.
fn encoded(bytes: u64, exact: bool) -> String {
    let bytes = human::bytes(bytes);
    if exact { bytes } else { format!("at most {bytes}") }
}

fn vanished(group: &VanishedGroupOutline) -> String {
    let snapshots = human::count(group.snapshots as u64, "snapshot");
    format!("  {}: {} the group with {snapshots} - {}", group.group, group.action, group.reason)
}

fn named(namespace: &Namespace) -> String {
    if namespace.is_root() { "root namespace".to_owned() } else { format!("namespace {namespace}") }
}
