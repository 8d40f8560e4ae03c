//! Listening to the planner: what each rule says about one snapshot.
//!
//! The rules themselves call [`Trace`]; without a listener that costs nothing. So an explanation is what the planner
//! thought, and no second copy of the rules.

use formats::{BackupTime, GroupId, Namespace, SnapshotId};
use serde::Serialize;

use crate::report::Problem;

/// A rule of the planner, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Is its namespace among those of the job, and where does it go?
    Namespace,
    /// Does its group pass the group filter?
    GroupFilter,
    /// Does the group at the target belong to the right identity?
    Owner,
    /// Could both ends list the group?
    Listing,
    /// Is it complete at the source?
    Finished,
    /// Can its manifest at the source be read?
    Readable,
    /// Did it verify well, where that is asked?
    VerifiedOnly,
    /// Are all of its files encrypted, where that is asked?
    EncryptedOnly,
    /// Is the copy at the target damaged, and to be replaced?
    ResyncCorrupt,
    /// Does the target have it?
    AtTarget,
    /// Is it older than the newest at the target?
    Older,
    /// Are gaps filled?
    FillGaps,
    /// Is it among the newest ones asked for?
    TransferLast,
    /// Do notes and protection follow those of the source?
    SyncMetadata,
    /// Is it gone from the source, and removed at the target?
    RemoveVanished,
    /// Do so many removals pass the deletion brake?
    MaxRemovals,
    /// Is it removed at the source?
    Move,
}

impl Rule {
    /// All rules, in their order.
    pub const ALL: [Self; 17] = [
        Self::Namespace,
        Self::GroupFilter,
        Self::Owner,
        Self::Listing,
        Self::Finished,
        Self::Readable,
        Self::VerifiedOnly,
        Self::EncryptedOnly,
        Self::ResyncCorrupt,
        Self::AtTarget,
        Self::Older,
        Self::FillGaps,
        Self::TransferLast,
        Self::SyncMetadata,
        Self::RemoveVanished,
        Self::MaxRemovals,
        Self::Move,
    ];

    /// Its name, which is that of the option where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::GroupFilter => "group-filter",
            Self::Owner => "owner",
            Self::Listing => "listing",
            Self::Finished => "finished",
            Self::Readable => "readable",
            Self::VerifiedOnly => "verified-only",
            Self::EncryptedOnly => "encrypted-only",
            Self::ResyncCorrupt => "resync-corrupt",
            Self::AtTarget => "at-target",
            Self::Older => "older",
            Self::FillGaps => "fill-gaps",
            Self::TransferLast => "transfer-last",
            Self::SyncMetadata => "sync-metadata",
            Self::RemoveVanished => "remove-vanished",
            Self::MaxRemovals => "max-removals",
            Self::Move => "move",
        }
    }
}

/// What a rule made of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was asked and lets the snapshot go on to the next rule.
    Passed,
    /// It settled what happens to the snapshot.
    Decided,
    /// The job does not use it, or it is not about such a snapshot.
    NotUsed,
    /// It was not asked, since another one had decided.
    NotReached,
}

/// What one rule said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// What it made of it.
    pub verdict: Verdict,
    /// Its words.
    pub says: String,
}

/// What is listened for, and what was heard.
#[derive(Debug)]
pub(crate) struct Watch {
    source_ns: Namespace,
    target_ns: Namespace,
    snapshot: SnapshotId,
    findings: Vec<Finding>,
    refusal: Option<Problem>,
}

impl Watch {
    pub(crate) fn new(source_ns: Namespace, target_ns: Namespace, snapshot: SnapshotId) -> Self {
        Self { source_ns, target_ns, snapshot, findings: Vec::new(), refusal: None }
    }

    /// Returns a finding for every rule, in their order, and the error that ended the thinking, if one did.
    pub(crate) fn into_findings(self) -> (Vec<Finding>, Option<Problem>) {
        let heard = |rule| self.findings.iter().rev().find(|finding| finding.rule == rule).cloned();
        let silent = |rule| Finding { rule, verdict: Verdict::NotReached, says: "not asked".to_owned() };
        let all = Rule::ALL.into_iter().map(|rule| heard(rule).unwrap_or_else(|| silent(rule))).collect();
        (all, self.refusal)
    }
}

/// The ear of a listener, if there is one and this is what it listens for.
pub(crate) struct Trace<'t>(Option<&'t mut Watch>);

impl<'t> Trace<'t> {
    /// Nobody listens.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    pub(crate) fn of(watch: &'t mut Watch) -> Self {
        Self(Some(watch))
    }

    fn only(&mut self, wanted: impl FnOnce(&Watch) -> bool) -> Trace<'_> {
        Trace(self.0.as_deref_mut().filter(|watch| wanted(watch)))
    }

    pub(crate) fn source_namespace(&mut self, namespace: &Namespace) -> Trace<'_> {
        self.only(|watch| watch.source_ns == *namespace)
    }

    pub(crate) fn target_namespace(&mut self, namespace: &Namespace) -> Trace<'_> {
        self.only(|watch| watch.target_ns == *namespace)
    }

    pub(crate) fn group(&mut self, group: &GroupId) -> Trace<'_> {
        self.only(|watch| watch.snapshot.group == *group)
    }

    pub(crate) fn time(&mut self, time: BackupTime) -> Trace<'_> {
        self.only(|watch| watch.snapshot.time == time)
    }

    fn note(&mut self, rule: Rule, verdict: Verdict, says: impl FnOnce() -> String) {
        if let Some(watch) = &mut self.0 {
            watch.findings.push(Finding { rule, verdict, says: says() });
        }
    }

    pub(crate) fn passed(&mut self, rule: Rule, says: impl FnOnce() -> String) {
        self.note(rule, Verdict::Passed, says);
    }

    pub(crate) fn decided(&mut self, rule: Rule, says: impl FnOnce() -> String) {
        self.note(rule, Verdict::Decided, says);
    }

    pub(crate) fn not_used(&mut self, rule: Rule, says: &str) {
        self.note(rule, Verdict::NotUsed, || says.to_owned());
    }

    /// An error, after which nothing else is decided.
    pub(crate) fn refused(&mut self, rule: Rule, problem: &Problem) {
        self.note(rule, Verdict::Decided, || problem.message.clone());
        if let Some(watch) = &mut self.0 {
            watch.refusal = Some(problem.clone());
        }
    }
}
