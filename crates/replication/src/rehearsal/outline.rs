//! A forecast as plain data, for scripts and for whoever prints it.

use formats::{GroupId, Namespace, SnapshotId};
use serde::Serialize;

use super::{Amount, Forecast};
use crate::plan::{Action, GroupPlan, KeepReason, NamespacePlan, RemoveReason, Step, VanishedGroup};
use crate::report::SnapshotOutcome;

/// Everything a run would do, in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outline {
    /// Pairs of namespaces, parents first.
    pub namespaces: Vec<NamespaceOutline>,
    /// Namespaces at the target that are no longer at the source.
    pub vanished_namespaces: Vec<VanishedNamespaceOutline>,
}

/// What would happen in a pair of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NamespaceOutline {
    /// At the source.
    pub source: Namespace,
    /// At the target.
    pub target: Namespace,
    /// Whether it would be made at the target.
    pub create: bool,
    /// Groups at the source that pass the filter.
    pub groups_matched: usize,
    /// Groups at the source.
    pub groups_total: usize,
    /// These groups.
    pub groups: Vec<GroupOutline>,
    /// Groups at the target that are no longer at the source.
    pub vanished_groups: Vec<VanishedGroupOutline>,
}

/// What would happen to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupOutline {
    /// Type and id.
    pub group: GroupId,
    /// Whether its notes would be set to those of the source.
    pub sets_notes: bool,
    /// What would be sent for it.
    #[serde(flatten)]
    pub amount: Amount,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<SnapshotOutline>,
}

/// What would happen to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotOutline {
    /// Group and time.
    pub snapshot: SnapshotId,
    /// `copy`, `refresh`, `update`, `skip`, `remove` or `keep`.
    pub action: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What becomes of it at the source of a move, `removed` or `stays`; none where the job touches nothing there.
    pub at_source: Option<&'static str>,
    /// Why.
    pub at_source_reason: Option<&'static str>,
    /// Whether its notes would be set to those of the source.
    pub sets_notes: bool,
    /// What its protection at the target would become; none where it stays as it is.
    pub sets_protected: Option<bool>,
    /// What would come of a copy or refresh; none where it would fail, or where nothing is tried.
    pub outcome: Option<SnapshotOutcome>,
    /// What would be sent for it.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What would happen to a group that is no longer at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VanishedGroupOutline {
    /// Type and id.
    pub group: GroupId,
    /// Snapshots in it.
    pub snapshots: usize,
    /// `remove` or `keep`.
    pub action: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What would happen to a namespace that is no longer at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VanishedNamespaceOutline {
    /// Its name at the target.
    pub namespace: Namespace,
    /// `remove` or `keep`.
    pub action: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Its groups.
    pub groups: Vec<VanishedGroupOutline>,
}

impl Forecast {
    /// Returns plan and amounts as plain data.
    pub fn outline(&self) -> Outline {
        let vanished = self.plan.vanished_namespaces.iter().map(|entry| {
            let (action, reason) = fate(entry.keep);
            let groups = entry.groups.iter().map(vanished_group).collect();
            VanishedNamespaceOutline { namespace: entry.namespace.clone(), action, reason, groups }
        });
        Outline {
            namespaces: self.plan.namespaces.iter().map(|entry| self.namespace(entry)).collect(),
            vanished_namespaces: vanished.collect(),
        }
    }

    fn namespace(&self, entry: &NamespacePlan) -> NamespaceOutline {
        NamespaceOutline {
            source: entry.source.clone(),
            target: entry.target.clone(),
            create: entry.create,
            groups_matched: entry.matched,
            groups_total: entry.total,
            groups: entry.groups.iter().map(|group| self.group(&entry.target, group)).collect(),
            vanished_groups: entry.vanished_groups.iter().map(vanished_group).collect(),
        }
    }

    fn group(&self, target: &Namespace, group: &GroupPlan) -> GroupOutline {
        let snapshots: Vec<SnapshotOutline> = group.steps.iter().map(|step| self.snapshot(target, step)).collect();
        let amount = snapshots.iter().fold(Amount::default(), |sum, one| sum.plus(one.amount));
        GroupOutline { group: group.id.clone(), sets_notes: group.notes, amount, snapshots }
    }

    fn snapshot(&self, target: &Namespace, step: &Step) -> SnapshotOutline {
        let forecast = self.of(target, &step.snapshot);
        let outcome = forecast.and_then(|forecast| forecast.outcome);
        let reason = match (step.action, outcome) {
            (Action::Refresh, Some(SnapshotOutcome::Unchanged)) => "newest at the target, looked at again: equal",
            (Action::Refresh, Some(SnapshotOutcome::Refreshed)) => "newest at the target, looked at again: changed",
            (_, Some(SnapshotOutcome::Vanished)) => "gone at the source, or no longer wanted",
            (action, _) => action.reason(),
        };
        let (at_source, at_source_reason) = step.at_source.told().unzip();
        SnapshotOutline {
            snapshot: step.snapshot.clone(),
            action: step.action.word(),
            reason,
            at_source,
            at_source_reason,
            sets_notes: step.in_step.notes,
            sets_protected: step.in_step.protected,
            outcome,
            amount: forecast.map(|forecast| forecast.amount).unwrap_or_default(),
        }
    }
}

fn vanished_group(group: &VanishedGroup) -> VanishedGroupOutline {
    let (action, reason) = fate(group.keep);
    VanishedGroupOutline { group: group.id.clone(), snapshots: group.snapshots, action, reason }
}

fn fate(keep: Option<KeepReason>) -> (&'static str, &'static str) {
    match keep {
        None => (Action::Remove(RemoveReason::Vanished).word(), Action::Remove(RemoveReason::Vanished).reason()),
        Some(reason) => (Action::Keep(reason).word(), reason.clause()),
    }
}
