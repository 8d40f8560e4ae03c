//! The plan of a run: what is copied, looked at again, skipped, removed and kept, each with its reason.
//!
//! A plan is plain data. [`plan`](crate::plan()) makes it, [`execute`](crate::execute) obeys it, and printing it is the
//! dry run.

use std::fmt;

use formats::{BackupTime, GroupId, Namespace, SnapshotId};

use crate::inventory::place;
use crate::report::Problem;

/// Everything a run will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pairs of namespaces, parents first.
    pub namespaces: Vec<NamespacePlan>,
    /// Namespaces at the target that are no longer at the source, deepest first.
    pub vanished_namespaces: Vec<VanishedNamespace>,
    /// Set when more would have been removed than the job permits: then nothing is.
    pub brake: Option<Brake>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
    /// What cannot be done.
    pub errors: Vec<Problem>,
}

/// Why a plan removes nothing although something vanished: too much did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// Snapshots that would have been removed.
    pub removals: u64,
    /// Snapshots at the target that the job is about.
    pub in_scope: u64,
    /// Removals that the job permits.
    pub permitted: u64,
}

/// What happens in one pair of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePlan {
    /// At the source.
    pub source: Namespace,
    /// At the target.
    pub target: Namespace,
    /// Whether it has to be made at the target.
    pub create: bool,
    /// Groups at the source that pass the filter.
    pub matched: usize,
    /// Groups at the source.
    pub total: usize,
    /// The groups at the source that pass the filter, in their order.
    pub groups: Vec<GroupPlan>,
    /// Groups at the target that are no longer at the source, in their order.
    pub vanished_groups: Vec<VanishedGroup>,
}

/// What happens to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub id: GroupId,
    /// The newest good snapshot at the target: what it names is known to be there.
    pub base: Option<SnapshotId>,
    /// Whether the group's notes are set to be as at the source, once it is there.
    pub notes: bool,
    /// The snapshots, oldest first.
    pub steps: Vec<Step>,
}

/// What happens to one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What happens to it.
    pub action: Action,
    /// Its logical size in bytes, where the source's listing tells.
    pub size: Option<u64>,
    /// What is set beside its files to be as at the source (`sync-metadata`).
    pub in_step: InStep,
    /// What becomes of it at the source.
    pub at_source: AtSource,
}

/// What is set at the target to be as at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InStep {
    /// Its notes. Those of a snapshot that is copied or refreshed come with it and are not meant.
    pub notes: bool,
    /// Whether it is protected; `None` leaves that as it is.
    pub protected: Option<bool>,
}

/// What becomes of a snapshot at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtSource {
    /// The job removes nothing there, or the snapshot is not there.
    #[default]
    Untouched,
    /// It is removed once its copy was read back (`transfer-mode move`).
    Moves,
    /// It stays although the job moves.
    Stays(StayReason),
}

/// Why a snapshot is not moved away from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StayReason {
    /// It is protected there.
    Protected,
    /// It is left out for this reason, whether or not the target has it.
    LeftOut(SkipReason),
}

/// What can happen to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is copied.
    Copy(CopyReason),
    /// It is the newest one at the target: log, notes, verify state or files may have changed since.
    Refresh,
    /// The target has it, with other notes or another protection than the source ([`Step::in_step`]).
    Update,
    /// It is at the source and is left alone.
    Skip(SkipReason),
    /// It is removed at the target.
    Remove(RemoveReason),
    /// It is no longer at the source and yet stays at the target.
    Keep(KeepReason),
}

/// Why a snapshot is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyReason {
    /// It is newer than all the target has.
    New,
    /// It is older than the newest at the target, and missing there.
    Gap,
    /// The target's copy is damaged.
    Corrupt,
}

/// Why a snapshot is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The target has it.
    AlreadyThere,
    /// The target lacks it, but has a newer one.
    Older,
    /// The source is still writing it.
    Unfinished,
    /// Its manifest at the source cannot be read.
    Unreadable,
    /// It is not among the newest ones asked for.
    TransferLast,
    /// Only verified snapshots are wanted.
    NotVerified,
    /// Only encrypted snapshots are wanted.
    NotEncrypted,
}

/// Why a snapshot is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoveReason {
    /// It is no longer at the source.
    Vanished,
}

/// Why a snapshot, group or namespace stays although it is no longer at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepReason {
    /// It is protected, or holds something protected.
    Protected,
    /// Somebody may be writing it.
    Unfinished,
    /// It belongs to somebody else, or nobody knows to whom.
    OtherOwner,
    /// It is outside the group filter.
    Filtered,
    /// Something in it stays.
    NotEmpty,
    /// What is in it could not be listed.
    Unknown,
    /// More vanished than one run may remove.
    TooMany,
}

/// A group at the target that is no longer at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VanishedGroup {
    /// The group.
    pub id: GroupId,
    /// Snapshots in it.
    pub snapshots: usize,
    /// Protected snapshots in it.
    pub protected: usize,
    /// Why it stays, or `None` when it is removed. With [`KeepReason::Protected`] everything unprotected is removed.
    pub keep: Option<KeepReason>,
}

/// A namespace at the target that is no longer at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VanishedNamespace {
    /// Its name at the target.
    pub namespace: Namespace,
    /// Its groups.
    pub groups: Vec<VanishedGroup>,
    /// Why it stays, or `None` when it is removed.
    pub keep: Option<KeepReason>,
}

impl Action {
    /// Whether the executor has something to do.
    pub fn is_work(self) -> bool {
        matches!(self, Self::Copy(_) | Self::Refresh | Self::Update | Self::Remove(_))
    }

    /// The action in one word: `copy`, `refresh`, `update`, `skip`, `remove` or `keep`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Copy(_) => "copy",
            Self::Refresh => "refresh",
            Self::Update => "update",
            Self::Skip(_) => "skip",
            Self::Remove(_) => "remove",
            Self::Keep(_) => "keep",
        }
    }

    /// The reason in one word, where the action alone does not say it.
    fn short_reason(self) -> Option<&'static str> {
        match self {
            Self::Copy(CopyReason::New)
            | Self::Refresh
            | Self::Update
            | Self::Skip(SkipReason::AlreadyThere)
            | Self::Remove(_) => None,
            Self::Copy(CopyReason::Gap) => Some("gap"),
            Self::Copy(CopyReason::Corrupt) => Some("corrupt"),
            Self::Skip(reason) => Some(reason.word()),
            Self::Keep(reason) => Some(reason.word()),
        }
    }

    /// The reason as a clause that follows the times.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Copy(CopyReason::New) => "not yet at the target",
            Self::Copy(CopyReason::Gap) => "missing between those at the target (fill-gaps)",
            Self::Copy(CopyReason::Corrupt) => "the copy at the target is damaged",
            Self::Refresh => "newest at the target, log and notes may have changed",
            Self::Update => "already at the target, with other notes or protection (sync-metadata)",
            Self::Skip(reason) => reason.clause(),
            Self::Remove(RemoveReason::Vanished) => "no longer at the source",
            Self::Keep(KeepReason::Protected) => "no longer at the source, but protected",
            Self::Keep(KeepReason::Unfinished) => "not at the source, but somebody may be writing it",
            Self::Keep(KeepReason::TooMany) => {
                "no longer at the source, but more vanished than one run may remove (max-removals)"
            }
            Self::Keep(_) => "no longer at the source",
        }
    }
}

impl SkipReason {
    fn word(self) -> &'static str {
        match self {
            Self::AlreadyThere => "already there",
            Self::Older => "older",
            Self::Unfinished => "unfinished",
            Self::Unreadable => "unreadable",
            Self::TransferLast => "transfer-last",
            Self::NotVerified => "not verified",
            Self::NotEncrypted => "not encrypted",
        }
    }

    /// The reason as a clause.
    pub fn clause(self) -> &'static str {
        match self {
            Self::AlreadyThere => "already at the target",
            Self::Older => "older than the newest at the target",
            Self::Unfinished => "still being written at the source",
            Self::Unreadable => "its manifest at the source cannot be read",
            Self::TransferLast => "not among the newest ones asked for (transfer-last)",
            Self::NotVerified => "not verified (verified-only)",
            Self::NotEncrypted => "not fully encrypted (encrypted-only)",
        }
    }
}

impl StayReason {
    fn word(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::LeftOut(reason) => reason.word(),
        }
    }

    /// The reason as a clause.
    pub fn clause(self) -> &'static str {
        match self {
            Self::Protected => "protected at the source",
            Self::LeftOut(reason) => reason.clause(),
        }
    }
}

impl AtSource {
    /// What happens there in one word, `removed` or `stays`, and why; `None` where the job touches nothing there.
    pub fn told(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Untouched => None,
            Self::Moves => Some(("removed", "moved: its copy is read back first")),
            Self::Stays(reason) => Some(("stays", reason.clause())),
        }
    }
}

impl Step {
    /// Whether the executor has something to do.
    pub fn is_work(&self) -> bool {
        self.action.is_work() || self.at_source == AtSource::Moves
    }

    /// Whether a person is told the same of both.
    fn is_like(&self, other: &Self) -> bool {
        (self.action, self.in_step, self.at_source) == (other.action, other.in_step, other.at_source)
    }
}

impl KeepReason {
    fn word(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Unfinished => "unfinished",
            Self::OtherOwner => "other owner",
            Self::Filtered => "filtered",
            Self::NotEmpty => "not empty",
            Self::Unknown => "unknown",
            Self::TooMany => "max-removals",
        }
    }
}

impl GroupPlan {
    /// Whether the executor has something to do in this group.
    pub fn is_work(&self) -> bool {
        self.notes || self.steps.iter().any(Step::is_work)
    }

    /// Runs of steps with equal action, in time order.
    fn runs(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(Step::is_like)
    }
}

impl Plan {
    /// Groups with something to do.
    pub fn busy_groups(&self) -> impl Iterator<Item = &GroupPlan> {
        self.namespaces.iter().flat_map(|namespace| &namespace.groups).filter(|group| group.is_work())
    }

    /// All steps of all groups.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.namespaces.iter().flat_map(|namespace| &namespace.groups).flat_map(|group| &group.steps)
    }

    /// Whether nothing would be copied, changed or removed. Looking at the newest snapshots again does not count.
    pub fn is_idle(&self) -> bool {
        let changes = |step: &Step| {
            matches!(step.action, Action::Copy(_) | Action::Update | Action::Remove(_))
                || step.at_source == AtSource::Moves
                || step.in_step != InStep::default()
        };
        let groups = || self.namespaces.iter().flat_map(|entry| &entry.groups);
        !self.steps().any(changes)
            && !groups().any(|group| group.notes)
            && !self.namespaces.iter().any(|entry| entry.create || removes_any(&entry.vanished_groups))
            && !self.vanished_namespaces.iter().any(|entry| entry.keep.is_none() || removes_any(&entry.groups))
    }

    /// Writes the plan in the mini-notation of the tests, one line per group that has snapshots or goes:
    /// `vm/100: skip 1, refresh 2, copy 3 4`.
    ///
    /// Times are written as plain seconds. Groups below the root namespace carry the target's namespace in front. Behind
    /// the action stands what is done beside it: `copy+move 1`, `update+notes+protect 2`; a snapshot that stays at the
    /// source of a move says why: `skip 1 (stays: protected)`.
    pub fn brief(&self) -> String {
        let mut lines = Vec::new();
        for entry in &self.namespaces {
            if entry.create {
                lines.push(format!("create {}", entry.target));
            }
            for group in &entry.groups {
                let notes = group.notes.then(|| "notes".to_owned());
                let runs: Vec<String> = group.runs().map(brief_run).chain(notes).collect();
                if !runs.is_empty() {
                    lines.push(format!("{}: {}", place(&entry.target, &group.id), runs.join(", ")));
                }
            }
            lines.extend(entry.vanished_groups.iter().map(|group| brief_vanished(&entry.target, group)));
        }
        for entry in &self.vanished_namespaces {
            lines.extend(entry.groups.iter().map(|group| brief_vanished(&entry.namespace, group)));
            lines.push(match entry.keep {
                None => format!("remove {}", entry.namespace),
                Some(reason) => format!("keep {} ({})", entry.namespace, reason.word()),
            });
        }
        lines.extend(self.errors.iter().map(|problem| format!("error {}", problem.where_)));
        lines.join("\n")
    }
}

fn removes_any(groups: &[VanishedGroup]) -> bool {
    groups.iter().any(|group| group.keep.is_none())
}

fn brief_run(steps: &[Step]) -> String {
    let Some(first) = steps.first() else { return String::new() };
    let mut text = first.action.word().to_owned();
    let marks = [
        first.in_step.notes.then_some("+notes"),
        first.in_step.protected.map(|protected| if protected { "+protect" } else { "+unprotect" }),
        (first.at_source == AtSource::Moves).then_some("+move"),
    ];
    text.extend(marks.into_iter().flatten());
    for step in steps {
        text.push_str(&format!(" {}", step.snapshot.time.unix()));
    }
    let stays = match first.at_source {
        // Said already.
        AtSource::Stays(StayReason::LeftOut(reason)) if first.action == Action::Skip(reason) => None,
        AtSource::Stays(reason) => Some(format!("stays: {}", reason.word())),
        _ => None,
    };
    let reasons: Vec<String> = first.action.short_reason().map(str::to_owned).into_iter().chain(stays).collect();
    if reasons.is_empty() { text } else { format!("{text} ({})", reasons.join("; ")) }
}

fn brief_vanished(namespace: &Namespace, group: &VanishedGroup) -> String {
    let place = place(namespace, &group.id);
    match group.keep {
        None => format!("{place}: remove all"),
        Some(reason) => format!("{place}: keep all ({})", reason.word()),
    }
}

/// The dry run: one paragraph per namespace, one line per group and reason.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.namespaces {
            let (source, target) = (named(&entry.source), named(&entry.target));
            let made = if entry.create { " (to be made)" } else { "" };
            writeln!(f, "{source} to {target}{made}: {} of {} groups", entry.matched, entry.total)?;
            for group in &entry.groups {
                if group.steps.is_empty() {
                    writeln!(f, "  {}: no snapshots", group.id)?;
                }
                for run in group.runs() {
                    display_run(f, group, run)?;
                }
            }
            for group in &entry.vanished_groups {
                display_vanished(f, group)?;
            }
        }
        for entry in &self.vanished_namespaces {
            let fate = match entry.keep {
                None => "remove, no longer at the source".to_owned(),
                Some(reason) => format!("keep, no longer at the source, but {}", reason.clause()),
            };
            writeln!(f, "{}: {fate}", named(&entry.namespace))?;
            for group in &entry.groups {
                display_vanished(f, group)?;
            }
        }
        for problem in &self.warnings {
            writeln!(f, "warning: {problem}")?;
        }
        for problem in &self.errors {
            writeln!(f, "error: {problem}")?;
        }
        Ok(())
    }
}

impl KeepReason {
    /// The reason as what follows "but".
    pub fn clause(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Unfinished => "still being written",
            Self::OtherOwner => "owned by somebody else",
            Self::Filtered => "outside the group filter",
            Self::NotEmpty => "not empty afterwards",
            Self::Unknown => "its contents could not be listed",
            Self::TooMany => "more vanished than one run may remove (max-removals)",
        }
    }
}

fn named(namespace: &Namespace) -> String {
    if namespace.is_root() { "root namespace".to_owned() } else { format!("namespace `{namespace}`") }
}

fn display_run(f: &mut fmt::Formatter<'_>, group: &GroupPlan, run: &[Step]) -> fmt::Result {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    let times = |from: BackupTime, to: BackupTime| {
        if from == to { from.to_string() } else { format!("{} snapshots ({from} .. {to})", run.len()) }
    };
    let span = times(first.snapshot.time, last.snapshot.time);
    let at_source = first.at_source.told().map(|(what, why)| format!("; at the source: {what} - {why}"));
    let (word, reason) = (first.action.word(), first.action.reason());
    writeln!(f, "  {}: {word} {span} - {reason}{}", group.id, at_source.unwrap_or_default())
}

fn display_vanished(f: &mut fmt::Formatter<'_>, group: &VanishedGroup) -> fmt::Result {
    let what = format!("  {}: {} snapshots", group.id, group.snapshots);
    match group.keep {
        None => writeln!(f, "{what} - remove the group, no longer at the source"),
        Some(reason) => writeln!(f, "{what} - keep the group, no longer at the source, but {}", reason.clause()),
    }
}
