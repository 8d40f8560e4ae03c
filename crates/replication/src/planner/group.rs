//! One group: what is copied, looked at again, skipped, removed and moved.

use std::collections::BTreeMap;

use formats::{BackupTime, Namespace, VerifyResult};

use super::beside::{at_source, in_step, notes_of_group};
use super::choice::{choose, positions};
use super::owner::check_owner;
use super::removal::RemovalPolicy;
use super::trace::{Rule, Trace};
use crate::inventory::{GroupInventory, Snapshots, place};
use crate::options::{Direction, JobOptions};
use crate::plan::{Action, AtSource, GroupPlan, InStep, KeepReason, RemoveReason, SkipReason, Step};
use crate::report::Problem;
use crate::traits::SnapshotInfo;

/// The snapshots of a group at one end.
pub(super) type ByTime<'a> = BTreeMap<BackupTime, &'a SnapshotInfo>;

/// Decides about one group. The second part are problems of single snapshots.
pub(super) fn plan_group(
    options: &JobOptions,
    removal: &RemovalPolicy,
    namespace: &Namespace,
    source: &GroupInventory,
    target: Option<&GroupInventory>,
    warnings: &mut Vec<Problem>,
    trace: &mut Trace<'_>,
) -> Result<(GroupPlan, Vec<Problem>), Problem> {
    let at = place(namespace, &source.id);
    check_owner(options, namespace, &source.id, target.and_then(|target| target.owner.as_ref()), trace)?;
    let (ours, theirs) = listed(source, target, &at).inspect_err(|problem| trace.refused(Rule::Listing, problem))?;
    trace.passed(Rule::Listing, || {
        format!("the group has {} snapshots at the source and {} at the target", ours.len(), theirs.len())
    });

    let removes = removal.inside && !ours.is_empty();
    let last = newest(&theirs, |info| {
        // What is about to go holds nothing up, or the next run would have to bring what this one left out. A remote
        // takes nothing older than what it has, so there it does.
        removes && options.direction == Direction::Pull && is_removed(info, &ours)
    });
    let mut problems = Vec::new();
    let mut steps = source_steps(options, &ours, &theirs, last, trace);
    for (time, step) in &steps {
        let missed = (options.fill_gaps && !theirs.get(time).is_some_and(|copy| copy.finished))
            || last.is_none_or(|last| *time >= last);
        if step.action == Action::Skip(SkipReason::Unreadable) && missed {
            problems.push(
                Problem::new(place(namespace, &step.snapshot), "its manifest at the source cannot be read").with_hint(
                    "verify the snapshot at the source; until then it is not copied, and not removed either",
                ),
            );
        }
    }
    if removes {
        for (time, info) in theirs.iter().filter(|(time, _)| !ours.contains_key(time)) {
            let action = vanished_snapshot(info, &ours, &mut trace.time(*time));
            let (snapshot, in_step, at_source) = (info.id.clone(), InStep::default(), AtSource::Untouched);
            steps.insert(*time, Step { snapshot, action, size: None, in_step, at_source });
        }
    } else if removal.inside && !theirs.is_empty() {
        let why = "the source lists no snapshots here, so none is removed at the target";
        trace.decided(Rule::RemoveVanished, || why.to_owned());
        warnings.push(Problem::new(at, why));
    } else {
        trace.not_used(Rule::RemoveVanished, removal.why_not);
    }
    for time in ours.keys() {
        trace.time(*time).not_used(Rule::RemoveVanished, "it is at the source");
    }
    let base = theirs.values().rev().find(|info| is_good(info)).map(|info| info.id.clone());
    let steps: Vec<Step> = steps.into_values().collect();
    let notes = notes_of_group(options, source, target, &steps);
    Ok((GroupPlan { id: source.id.clone(), base, notes, steps }, problems))
}

/// The snapshots of both ends in order of time.
fn listed<'a>(
    source: &'a GroupInventory,
    target: Option<&'a GroupInventory>,
    at: &str,
) -> Result<(ByTime<'a>, ByTime<'a>), Problem> {
    let ours = sorted(&source.snapshots, at)?;
    let theirs = target.map(|target| sorted(&target.snapshots, at)).transpose()?.unwrap_or_default();
    Ok((ours, theirs))
}

fn sorted<'a>(snapshots: &'a Snapshots, at: &str) -> Result<ByTime<'a>, Problem> {
    match snapshots {
        Snapshots::Listed(list) => Ok(list.iter().map(|info| (info.id.time, info)).collect()),
        Snapshots::Failed(problem) => Err(problem.clone()),
        Snapshots::NotAsked => Err(Problem::new(at, "its snapshots were not listed")),
    }
}

/// Decides about every snapshot of the source.
fn source_steps(
    options: &JobOptions,
    source: &ByTime<'_>,
    target: &ByTime<'_>,
    last: Option<BackupTime>,
    trace: &mut Trace<'_>,
) -> BTreeMap<BackupTime, Step> {
    let counted = positions(options, source, target);
    let mut steps = BTreeMap::new();
    for (time, info) in source {
        let mut trace = trace.time(*time);
        let there = target.get(time).copied().filter(|copy| copy.finished);
        let counted = counted.contains(time);
        let action = choose(options, info, there, last, counted, &mut trace);
        let (action, in_step) = in_step(options, action, info, there, &mut trace);
        let at_source = at_source(options, action, info, counted, &mut trace);
        steps.insert(*time, Step { snapshot: info.id.clone(), action, size: info.size, in_step, at_source });
    }
    steps
}

/// Decides about a snapshot that is at the target alone.
fn vanished_snapshot(info: &SnapshotInfo, source: &ByTime<'_>, trace: &mut Trace<'_>) -> Action {
    let action = if info.protected {
        Action::Keep(KeepReason::Protected)
    } else if is_removed(info, source) {
        Action::Remove(RemoveReason::Vanished)
    } else {
        Action::Keep(KeepReason::Unfinished)
    };
    trace.decided(Rule::RemoveVanished, || action.reason().to_owned());
    action
}

/// Returns the time of the newest finished snapshot that is not `going`: an unfinished one holds nothing up.
fn newest(target: &ByTime<'_>, going: impl Fn(&SnapshotInfo) -> bool) -> Option<BackupTime> {
    target.iter().rev().find(|(_, info)| info.finished && !going(info)).map(|(time, _)| *time)
}

/// Whether a snapshot of the target goes because it is not at the source.
fn is_removed(info: &SnapshotInfo, source: &ByTime<'_>) -> bool {
    info.finished && !info.protected && !source.contains_key(&info.id.time)
}

fn is_good(info: &SnapshotInfo) -> bool {
    info.finished && !info.manifest_unreadable && info.verified != Some(VerifyResult::Failed)
}
