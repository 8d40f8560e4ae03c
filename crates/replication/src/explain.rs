//! What a job does with one snapshot, and why: the planner, listened to.

use std::sync::Arc;

use formats::{BackupTime, Namespace, SnapshotId};
use serde::Serialize;

use crate::control::RunControl;
use crate::error::EndError;
use crate::inventory::Inventory;
use crate::options::{Direction, JobOptions, Scope};
use crate::patience::Tries;
use crate::plan::{Action, AtSource, KeepReason, Plan, RemoveReason, SkipReason, StayReason, VanishedGroup};
use crate::planner::{Finding, Rule, Trace, Verdict, Watch, map_namespace, plan_aloud};
use crate::prepare::inventories;
use crate::report::{Problem, Silent};
use crate::traits::{SnapshotInfo, Source, Target};

/// How a snapshot is at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It is there, complete.
    Finished,
    /// It is there without a manifest: somebody writes it, or gave up.
    Unfinished,
    /// It is there, and its manifest cannot be read.
    Unreadable,
    /// It is not there.
    Absent,
    /// It could not be looked for, or was not.
    Unknown,
}

/// What a job does with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its namespace at the source.
    pub source_ns: Namespace,
    /// Its namespace at the target, where it has one.
    pub target_ns: Option<Namespace>,
    /// How it is at the source.
    pub at_source: Presence,
    /// How it is at the target.
    pub at_target: Presence,
    /// What each rule says, in the order in which they are asked.
    pub rules: Vec<Finding>,
    /// `copy`, `refresh`, `update`, `skip`, `remove`, `keep`, or `fail` where an error stands in the way.
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// What becomes of it at the source of a move: `removed` or `stays`.
    pub source_action: Option<&'static str>,
    /// Why.
    pub source_reason: Option<&'static str>,
    /// What would change the answer, where somebody can.
    pub remedy: Option<String>,
}

/// The answer to what happens to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// It is at an end, or in a place that the job does not look at.
    Known(Box<Explanation>),
    /// It is at neither end.
    Nowhere {
        /// The nearest older one of its group at either end.
        before: Option<BackupTime>,
        /// The nearest newer one.
        after: Option<BackupTime>,
    },
}

/// Says what a run would do with `snapshot` of `source_ns`, a namespace of the source, and what each rule says to that.
///
/// # Errors
/// A listing without which nothing can be planned.
pub async fn explain(
    options: &JobOptions,
    source: &Arc<dyn Source>,
    target: &Arc<dyn Target>,
    source_ns: &Namespace,
    snapshot: &SnapshotId,
) -> Result<Explained, EndError> {
    if let Some(outside) = outside(options, source_ns, snapshot) {
        return Ok(Explained::Known(Box::new(outside)));
    }
    let target_ns = match map_namespace(options, source_ns) {
        Ok(target_ns) => target_ns,
        Err(problem) => return Ok(Explained::Known(Box::new(unmapped(source_ns, snapshot, problem)))),
    };
    let also = Some((&target_ns, &snapshot.group));
    let (control, monitor) = (RunControl::new(), Silent);
    let tries = || Tries::new(options.patience, &control, &monitor);
    let (from, to) = inventories(options, source, target, also, tries).await?;
    Ok(think(options, (&from, source_ns), (&to, &target_ns), snapshot))
}

/// Listens to the planner about one snapshot.
pub(crate) fn think(
    options: &JobOptions,
    (from, source_ns): (&Inventory, &Namespace),
    (to, target_ns): (&Inventory, &Namespace),
    snapshot: &SnapshotId,
) -> Explained {
    let (here, there) = (look(from, source_ns, snapshot), look(to, target_ns, snapshot));
    let (at_source, at_target) = (here.presence(), there.presence());
    if (at_source, at_target) == (Presence::Absent, Presence::Absent) {
        let times: Vec<BackupTime> = here.times().chain(there.times()).collect();
        let before = times.iter().filter(|time| **time < snapshot.time).max().copied();
        let after = times.iter().filter(|time| **time > snapshot.time).min().copied();
        return Explained::Nowhere { before, after };
    }
    let mut watch = Watch::new(source_ns.clone(), target_ns.clone(), snapshot.clone());
    let plan = plan_aloud(options, from, to, &mut Trace::of(&mut watch));
    let (rules, refusal) = watch.into_findings();
    let protected = there.found().is_some_and(|info| info.protected);
    let fate =
        refusal.map_or_else(|| fate(options, &plan, (source_ns, target_ns), snapshot, protected, &rules), Fate::Fails);
    let (source_action, source_reason) = fate.at_source().told().unzip();
    Explained::Known(Box::new(Explanation {
        snapshot: snapshot.clone(),
        source_ns: source_ns.clone(),
        target_ns: Some(target_ns.clone()),
        at_source,
        at_target,
        action: fate.word(),
        reason: fate.reason(),
        source_action,
        source_reason,
        remedy: fate.remedy(options),
        rules,
    }))
}

/// What was seen of a snapshot at one end.
enum Seen<'a> {
    /// The list it would be in.
    Listed(&'a [SnapshotInfo], &'a SnapshotId),
    /// No such list.
    NoGroup,
    Unknown,
}

fn look<'a>(inventory: &'a Inventory, namespace: &Namespace, snapshot: &'a SnapshotId) -> Seen<'a> {
    let Some(entry) = inventory.find(namespace) else { return Seen::NoGroup };
    let Ok(groups) = &entry.groups else { return Seen::Unknown };
    match groups.iter().find(|group| group.id == snapshot.group) {
        None => Seen::NoGroup,
        Some(group) => group.snapshots.listed().map_or(Seen::Unknown, |list| Seen::Listed(list, snapshot)),
    }
}

impl Seen<'_> {
    fn found(&self) -> Option<&SnapshotInfo> {
        match self {
            Self::Listed(list, snapshot) => list.iter().find(|info| info.id == **snapshot),
            _ => None,
        }
    }

    fn times(&self) -> impl Iterator<Item = BackupTime> + '_ {
        let list = if let Self::Listed(list, _) = self { *list } else { &[] };
        list.iter().map(|info| info.id.time)
    }

    fn presence(&self) -> Presence {
        match (self, self.found()) {
            (Self::Unknown, _) => Presence::Unknown,
            (_, None) => Presence::Absent,
            (_, Some(info)) if !info.finished => Presence::Unfinished,
            (_, Some(info)) if info.manifest_unreadable => Presence::Unreadable,
            _ => Presence::Finished,
        }
    }
}

/// What happens in the end.
enum Fate {
    Step(Action, AtSource),
    Fails(Problem),
    Filtered(&'static str),
    StaysAtTarget(String),
}

/// Finds in the plan what happens to the snapshot.
fn fate(
    options: &JobOptions,
    plan: &Plan,
    (source_ns, target_ns): (&Namespace, &Namespace),
    snapshot: &SnapshotId,
    protected: bool,
    rules: &[Finding],
) -> Fate {
    let pair = plan.namespaces.iter().find(|entry| entry.source == *source_ns);
    let group = pair.and_then(|entry| entry.groups.iter().find(|group| group.id == snapshot.group));
    if let Some(step) = group.and_then(|group| group.steps.iter().find(|step| step.snapshot == *snapshot)) {
        return Fate::Step(step.action, step.at_source);
    }
    let beside = pair.into_iter().flat_map(|entry| &entry.vanished_groups);
    let gone = plan.vanished_namespaces.iter().filter(|entry| entry.namespace == *target_ns);
    let mut vanished = beside.chain(gone.flat_map(|entry| &entry.groups));
    if let Some(group) = vanished.find(|group| group.id == snapshot.group) {
        return Fate::Step(of_group(group, protected), AtSource::Untouched);
    }
    if !options.wants(&snapshot.group) {
        return Fate::Filtered(if pair.is_some() { "skip" } else { "keep" });
    }
    // At the target alone, and nothing there is removed: a rule said why, or the job does not remove.
    let why = rules.iter().find(|finding| finding.rule == Rule::RemoveVanished);
    let why = why.filter(|finding| finding.verdict != Verdict::NotReached).map(|finding| finding.says.clone());
    Fate::StaysAtTarget(why.unwrap_or_else(|| {
        if options.remove_vanished {
            "the source could not be listed completely, or lists nothing, so it stays".to_owned()
        } else {
            "the job removes nothing at the target (remove-vanished)".to_owned()
        }
    }))
}

/// What becomes of a snapshot of a group that is at the target alone.
fn of_group(group: &VanishedGroup, protected: bool) -> Action {
    match group.keep {
        None => Action::Remove(RemoveReason::Vanished),
        Some(KeepReason::Protected) if !protected => Action::Remove(RemoveReason::Vanished),
        Some(reason) => Action::Keep(reason),
    }
}

impl Fate {
    fn word(&self) -> &'static str {
        match self {
            Self::Step(action, _) => action.word(),
            Self::Fails(_) => "fail",
            Self::Filtered(word) => word,
            Self::StaysAtTarget(_) => "keep",
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Step(Action::Keep(reason), _) => format!("no longer at the source, but {}", reason.clause()),
            Self::Step(action, _) => action.reason().to_owned(),
            Self::Fails(problem) => problem.message.clone(),
            Self::Filtered(_) => "its group does not pass the group filter".to_owned(),
            Self::StaysAtTarget(why) => why.clone(),
        }
    }

    fn at_source(&self) -> AtSource {
        match self {
            Self::Step(_, at_source) => *at_source,
            _ => AtSource::Untouched,
        }
    }

    /// What somebody could do to have it otherwise.
    fn remedy(&self, options: &JobOptions) -> Option<String> {
        let pull = options.direction == Direction::Pull;
        let text = match self {
            Self::Fails(problem) => return problem.hint.clone(),
            Self::Filtered(_) => "change the group filter of the job",
            Self::StaysAtTarget(_) if options.remove_vanished => "let the source be listed whole, or remove it by hand",
            Self::StaysAtTarget(_) => "with remove-vanished a run would remove it; or remove it by hand",
            Self::Step(Action::Skip(reason), at_source) => match (reason, at_source) {
                (_, AtSource::Stays(stays)) if *reason == SkipReason::AlreadyThere => return stay_remedy(*stays),
                (SkipReason::AlreadyThere, _) => return None,
                (SkipReason::Older, _) if pull => "with fill-gaps a run would copy it",
                (SkipReason::Older, _) => {
                    "a remote takes only what is newer than its newest; pull it from there instead"
                }
                (reason, _) => return Some(left_out_remedy(*reason).to_owned()),
            },
            Self::Step(Action::Keep(KeepReason::Protected), _) => "lift the protection at the target",
            Self::Step(Action::Keep(KeepReason::TooMany), _) => {
                "run with --allow-removals to allow it once, or raise max-removals"
            }
            Self::Step(Action::Keep(KeepReason::OtherOwner), _) => "have its owner, or an administrator, remove it",
            Self::Step(Action::Keep(KeepReason::Filtered), _) => "change the group filter of the job",
            Self::Step(Action::Keep(_), _) => return None,
            Self::Step(Action::Remove(_), _) => "protect it at the target to keep it, or unset remove-vanished",
            Self::Step(_, AtSource::Stays(stays)) => return stay_remedy(*stays),
            Self::Step(..) => return None,
        };
        Some(text.to_owned())
    }
}

fn left_out_remedy(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Unfinished => "wait until the backup is done; one that was given up can be removed at the source",
        SkipReason::Unreadable => "verify the snapshot at the source",
        SkipReason::TransferLast => "raise transfer-last, or unset it",
        SkipReason::NotVerified => "verify it at the source, or unset verified-only",
        SkipReason::NotEncrypted => "unset encrypted-only",
        SkipReason::Older => "with fill-gaps a run would copy it",
        SkipReason::AlreadyThere => "nothing is to be done",
    }
}

fn stay_remedy(reason: StayReason) -> Option<String> {
    Some(match reason {
        StayReason::Protected => "to have it moved, lift its protection at the source".to_owned(),
        StayReason::LeftOut(reason) => format!("to have it moved: {}", left_out_remedy(reason)),
    })
}

fn decided_by_namespace(source_ns: &Namespace, snapshot: &SnapshotId, says: String) -> Explanation {
    let findings = Rule::ALL.into_iter().map(|rule| match rule {
        Rule::Namespace => Finding { rule, verdict: Verdict::Decided, says: says.clone() },
        _ => Finding { rule, verdict: Verdict::NotReached, says: "not asked".to_owned() },
    });
    Explanation {
        snapshot: snapshot.clone(),
        source_ns: source_ns.clone(),
        target_ns: None,
        at_source: Presence::Unknown,
        at_target: Presence::Unknown,
        rules: findings.collect(),
        action: "skip",
        reason: says,
        source_action: None,
        source_reason: None,
        remedy: None,
    }
}

/// The answer for a namespace that the job is not about.
fn outside(options: &JobOptions, source_ns: &Namespace, snapshot: &SnapshotId) -> Option<Explanation> {
    let (says, remedy) = match options.scope(source_ns) {
        Scope::Inside => return None,
        Scope::Outside => (
            format!("the job begins at namespace `{}` of the source, and this is not below it", options.source_ns),
            "name a namespace of the source with --ns, or change where the job begins",
        ),
        Scope::TooDeep => {
            ("it is deeper below the start of the job than max-depth goes".to_owned(), "raise max-depth, or unset it")
        }
    };
    Some(Explanation { remedy: Some(remedy.to_owned()), ..decided_by_namespace(source_ns, snapshot, says) })
}

/// The answer for a namespace that has no place at the target.
fn unmapped(source_ns: &Namespace, snapshot: &SnapshotId, problem: Problem) -> Explanation {
    Explanation { action: "fail", remedy: problem.hint, ..decided_by_namespace(source_ns, snapshot, problem.message) }
}
