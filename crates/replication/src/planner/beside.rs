//! What happens beside the copying of files: notes and protection at the target, the removal at the source.

use super::choice::unwanted;
use super::trace::{Rule, Trace};
use crate::inventory::GroupInventory;
use crate::options::JobOptions;
use crate::plan::{Action, AtSource, CopyReason, InStep, SkipReason, StayReason, Step};
use crate::traits::SnapshotInfo;

/// Decides what is set at the target to be as at the source, which may make an update of a snapshot that is there.
pub(super) fn in_step(
    options: &JobOptions,
    action: Action,
    info: &SnapshotInfo,
    there: Option<&SnapshotInfo>,
    trace: &mut Trace<'_>,
) -> (Action, InStep) {
    let nothing = InStep::default();
    if !options.sync_metadata {
        trace.not_used(Rule::SyncMetadata, "the job does not ask for that");
        return (action, nothing);
    }
    let protection = |known: bool| (info.protected != known).then_some(info.protected);
    let wanted = match (action, there) {
        (Action::Copy(CopyReason::Corrupt) | Action::Refresh, Some(there)) => {
            InStep { notes: false, protected: protection(there.protected) }
        }
        (Action::Copy(_), _) => InStep { notes: false, protected: protection(false) },
        // What is unfinished or cannot be read tells nothing.
        (Action::Skip(SkipReason::AlreadyThere), Some(there)) if info.finished && !there.manifest_unreadable => {
            InStep { notes: info.notes.differs_from(&there.notes), protected: protection(there.protected) }
        }
        _ => {
            trace.not_used(Rule::SyncMetadata, "it is not at both ends, or cannot be read at one");
            return (action, nothing);
        }
    };
    trace.passed(Rule::SyncMetadata, || match (wanted.notes, wanted.protected) {
        (false, None) => "notes and protection are as at the source, or come with it".to_owned(),
        (true, None) => "the notes become those of the source".to_owned(),
        (notes, Some(protected)) => format!(
            "{}it {} protected at the target, as at the source",
            if notes { "the notes become those of the source, and " } else { "" },
            if protected { "becomes" } else { "is no longer" }
        ),
    });
    let updated = matches!(action, Action::Skip(_)) && wanted != nothing;
    (if updated { Action::Update } else { action }, wanted)
}

/// Decides whether a snapshot of the source is removed there after its copy was read back. `counted` tells whether
/// `transfer-last` lets it pass.
pub(super) fn at_source(
    options: &JobOptions,
    action: Action,
    info: &SnapshotInfo,
    counted: bool,
    trace: &mut Trace<'_>,
) -> AtSource {
    if !options.moves {
        trace.not_used(Rule::Move, "the job removes nothing at the source");
        return AtSource::Untouched;
    }
    let left_out = match action {
        Action::Skip(reason) if reason != SkipReason::AlreadyThere => Some(reason),
        // The target has it; but it is not the job's to take away.
        _ => unwanted(options, info, &mut Trace::off()).or((!counted).then_some(SkipReason::TransferLast)),
    };
    let fate = match left_out {
        Some(reason) => AtSource::Stays(StayReason::LeftOut(reason)),
        None if info.protected => AtSource::Stays(StayReason::Protected),
        None => AtSource::Moves,
    };
    trace.passed(Rule::Move, || match fate {
        AtSource::Stays(reason) => format!("it stays at the source: {}", reason.clause()),
        _ => "it is removed at the source once its copy was read back".to_owned(),
    });
    fate
}

/// Decides whether the group's notes are set. A move takes them along unless the target has some of its own: with the
/// last snapshot they would be lost.
pub(super) fn notes_of_group(
    options: &JobOptions,
    source: &GroupInventory,
    target: Option<&GroupInventory>,
    steps: &[Step],
) -> bool {
    let copied = || steps.iter().any(|step| matches!(step.action, Action::Copy(_)));
    let goes = |info: &SnapshotInfo| {
        steps.iter().any(|step| step.snapshot == info.id && matches!(step.action, Action::Remove(_)))
    };
    let there = target.and_then(|target| target.snapshots.listed()).unwrap_or_default();
    if !copied() && there.iter().all(goes) {
        return false; // there is, or will be, no group to set them for
    }
    let theirs = target.map(|target| target.notes.clone()).unwrap_or_default();
    let moves = || steps.iter().any(|step| step.at_source == AtSource::Moves);
    (options.sync_metadata && source.notes.differs_from(&theirs))
        || (options.moves && !source.notes.is_empty() && theirs.is_empty() && moves())
}
