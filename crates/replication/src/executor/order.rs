//! The order of work across groups.

use std::cmp::Reverse;

use formats::{GroupId, Namespace};

use super::{GroupJob, Slot};
use crate::plan::{Action, CopyReason, GroupPlan, Step};

/// Splits the work so that the newest snapshot of every group comes before everything else, the newest of all first.
///
/// The second part is the rest, in the same order of groups.
pub(super) fn newest_first(jobs: Vec<GroupJob>) -> (Vec<GroupJob>, Vec<GroupJob>) {
    let mut jobs = jobs;
    jobs.sort_by_key(|job| {
        Reverse(job.plan.steps.iter().rev().find(|step| is_transfer(step)).map(|step| step.snapshot.time))
    });
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for mut job in jobs {
        let newest = job.plan.steps.iter().rposition(is_transfer);
        let copied = newest.filter(|at| {
            job.plan
                .steps
                .get(*at)
                .is_some_and(|step| matches!(step.action, Action::Copy(CopyReason::New | CopyReason::Gap)))
        });
        if let Some(at) = copied {
            let step = job.plan.steps.remove(at);
            let plan = GroupPlan { steps: vec![step], ..job.plan.clone() };
            // Set with the first part, without which the second is not done.
            job.plan.notes = false;
            first.push(GroupJob { source_ns: job.source_ns.clone(), target_ns: job.target_ns.clone(), plan });
        }
        if job.plan.is_work() {
            rest.push(job);
        }
    }
    (first, rest)
}

fn is_transfer(step: &Step) -> bool {
    matches!(step.action, Action::Copy(_) | Action::Refresh)
}

/// Leaves out the groups in which something failed: an error ends its group.
pub(super) fn without_failed(rest: Vec<GroupJob>, done: &[(Namespace, GroupId)], slots: &[Slot]) -> Vec<GroupJob> {
    let failed: Vec<_> =
        done.iter().zip(slots).filter(|(_, slot)| !slot.lock().errors.is_empty()).map(|(name, _)| name).collect();
    rest.into_iter()
        .filter(|job| !failed.iter().any(|(ns, group)| *ns == job.target_ns && *group == job.plan.id))
        .collect()
}
