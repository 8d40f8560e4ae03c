//! The deletion brake: a run that would remove too much removes nothing.
//!
//! What vanished is judged by what the source shows today. A source that lost its disk, a restored old state or a
//! wrong filter at its side all look like many removals at once; a person should look before they are obeyed.

use std::collections::BTreeSet;

use crate::inventory::Inventory;
use crate::options::JobOptions;
use crate::plan::{Action, Brake, KeepReason, Plan, VanishedGroup};
use crate::planner::{Rule, Trace};
use crate::report::Problem;

/// Turns every removal of `plan` into keeping when there are more than the job permits.
pub(crate) fn apply(options: &JobOptions, target: &Inventory, plan: &mut Plan, trace: &mut Trace<'_>) {
    let removals = removals(plan);
    let there = in_scope(options, target, plan);
    let in_scope = options.held_in_scope.map_or(there, |held| held.min(there));
    let permitted = options.removals_permitted(in_scope);
    let Some(permitted) = permitted.filter(|permitted| removals > *permitted) else {
        if !options.remove_vanished {
            trace.not_used(Rule::MaxRemovals, "the job removes nothing at the target");
        } else {
            trace.passed(Rule::MaxRemovals, || match permitted {
                Some(permitted) => format!("{removals} of {in_scope} snapshots go, and {permitted} may"),
                None => format!("{removals} of {in_scope} snapshots go, and any number may (--allow-removals)"),
            });
        }
        return;
    };
    trace.decided(Rule::MaxRemovals, || {
        format!("{removals} of {in_scope} snapshots would go, but only {permitted} may: none does")
    });
    plan.brake = Some(Brake { removals, in_scope, permitted });
    let since = if in_scope == there {
        String::new()
    } else {
        format!(" of the {in_scope} that were there when removals were first held back")
    };
    keep_everything(plan);
    plan.warnings.push(
        Problem::new(
            "remove-vanished",
            format!(
                "{removals} of {there} snapshots at the target are no longer at the source, more than the \
                 {permitted} that max-removals permits{since}: everything new is copied, nothing is removed"
            ),
        )
        .with_hint(
            "look at what vanished at the source; to allow it once, run again with --allow-removals; to allow it \
             always, raise max-removals",
        ),
    );
}

/// Snapshots that the plan removes.
fn removals(plan: &Plan) -> u64 {
    let steps = plan.steps().filter(|step| matches!(step.action, Action::Remove(_))).count();
    let groups: usize = all_vanished_groups(plan)
        .filter(|group| matches!(group.keep, None | Some(KeepReason::Protected)))
        .map(|group| group.snapshots - group.protected)
        .sum();
    (steps + groups) as u64
}

fn all_vanished_groups(plan: &Plan) -> impl Iterator<Item = &VanishedGroup> {
    let beside = plan.namespaces.iter().flat_map(|entry| &entry.vanished_groups);
    beside.chain(plan.vanished_namespaces.iter().flat_map(|entry| &entry.groups))
}

/// Snapshots at the target in groups that the run is about, in the namespaces that it compares or removes.
fn in_scope(options: &JobOptions, target: &Inventory, plan: &Plan) -> u64 {
    let compared = plan.namespaces.iter().map(|entry| &entry.target);
    let names: BTreeSet<_> = compared.chain(plan.vanished_namespaces.iter().map(|entry| &entry.namespace)).collect();
    let there = target.namespaces.iter().filter(|entry| names.contains(&entry.namespace));
    let groups = there.flat_map(|entry| entry.groups.iter().flatten()).filter(|group| options.wants(&group.id));
    groups.map(|group| group.snapshots.listed().map_or(0, <[_]>::len) as u64).sum()
}

fn keep_everything(plan: &mut Plan) {
    let hold = |group: &mut VanishedGroup| {
        if matches!(group.keep, None | Some(KeepReason::Protected)) {
            group.keep = Some(KeepReason::TooMany);
        }
    };
    for entry in &mut plan.namespaces {
        for step in entry.groups.iter_mut().flat_map(|group| &mut group.steps) {
            if matches!(step.action, Action::Remove(_)) {
                step.action = Action::Keep(KeepReason::TooMany);
            }
        }
        entry.vanished_groups.iter_mut().for_each(hold);
    }
    for entry in &mut plan.vanished_namespaces {
        entry.groups.iter_mut().for_each(hold);
        entry.keep.get_or_insert(KeepReason::TooMany);
    }
}
