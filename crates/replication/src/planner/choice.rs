//! Which snapshots of the source are copied, looked at again or left alone. The first rule that holds wins.

use std::collections::BTreeSet;

use formats::{BackupTime, VerifyResult};

use super::group::ByTime;
use super::trace::{Rule, Trace};
use crate::options::{Direction, JobOptions};
use crate::plan::{Action, CopyReason, SkipReason};
use crate::traits::SnapshotInfo;

/// Returns the times of the snapshots that `transfer-last` lets pass.
///
/// Only those count that are to choose from at all. Where the job moves, what was moved before counts as well: else each
/// run would find another newest one.
pub(super) fn positions(options: &JobOptions, source: &ByTime<'_>, target: &ByTime<'_>) -> BTreeSet<BackupTime> {
    let wanted = source.iter().filter(|(_, info)| unwanted(options, info, &mut Trace::off()).is_none());
    let mut times: BTreeSet<BackupTime> = wanted.map(|(time, _)| *time).collect();
    if options.moves {
        times.extend(target.iter().filter(|(_, info)| info.finished).map(|(time, _)| *time));
    }
    let most = options.transfer_last.and_then(|last| usize::try_from(last.get()).ok()).unwrap_or(usize::MAX);
    times.into_iter().rev().take(most).collect()
}

/// Decides about a snapshot of the source. `there` is the finished one of that time at the target, `last` the time of the
/// newest there, `counted` whether `transfer-last` lets it pass.
pub(super) fn choose(
    options: &JobOptions,
    info: &SnapshotInfo,
    there: Option<&SnapshotInfo>,
    last: Option<BackupTime>,
    counted: bool,
    trace: &mut Trace<'_>,
) -> Action {
    match unwanted(options, info, trace) {
        None => selected(options, info.id.time, last, there, counted, trace),
        Some(SkipReason::Unreadable) => Action::Skip(SkipReason::Unreadable),
        Some(_) if there.is_some() => Action::Skip(SkipReason::AlreadyThere),
        Some(reason) => Action::Skip(reason),
    }
}

/// Why a source snapshot is not among those to choose from.
pub(super) fn unwanted(options: &JobOptions, info: &SnapshotInfo, trace: &mut Trace<'_>) -> Option<SkipReason> {
    let verified = info.verified == Some(VerifyResult::Ok);
    let asked = [
        (Rule::Finished, true, info.finished, SkipReason::Unfinished, "it is complete at the source"),
        (Rule::Readable, true, !info.manifest_unreadable, SkipReason::Unreadable, "its manifest can be read"),
        (
            Rule::VerifiedOnly,
            options.verified_only,
            verified,
            SkipReason::NotVerified,
            "it was verified well at the source",
        ),
        (
            Rule::EncryptedOnly,
            options.encrypted_only,
            info.fully_encrypted,
            SkipReason::NotEncrypted,
            "all of its files are encrypted",
        ),
    ];
    for (rule, used, holds, reason, good) in asked {
        if !used {
            trace.not_used(rule, "the job does not ask for that");
        } else if holds {
            trace.passed(rule, || good.to_owned());
        } else {
            trace.decided(rule, || reason.clause().to_owned());
            return Some(reason);
        }
    }
    None
}

/// The choice among the wanted ones.
fn selected(
    options: &JobOptions,
    time: BackupTime,
    last: Option<BackupTime>,
    there: Option<&SnapshotInfo>,
    counted: bool,
    trace: &mut Trace<'_>,
) -> Action {
    let pull = options.direction == Direction::Pull;
    let corrupt = there.is_some_and(|copy| copy.manifest_unreadable || copy.verified == Some(VerifyResult::Failed));
    if !options.resync_corrupt {
        trace.not_used(Rule::ResyncCorrupt, "the job does not ask for that");
    } else if !pull {
        trace.not_used(Rule::ResyncCorrupt, "a remote takes no snapshot twice");
    } else if corrupt {
        trace.decided(Rule::ResyncCorrupt, || Action::Copy(CopyReason::Corrupt).reason().to_owned());
        return Action::Copy(CopyReason::Corrupt);
    } else {
        trace.passed(Rule::ResyncCorrupt, || "no copy at the target is known to be damaged".to_owned());
    }
    if there.is_some() {
        let action = if pull && last == Some(time) { Action::Refresh } else { Action::Skip(SkipReason::AlreadyThere) };
        trace.decided(Rule::AtTarget, || action.reason().to_owned());
        return action;
    }
    trace.passed(Rule::AtTarget, || "the target does not have it".to_owned());
    let newer_there = last.filter(|last| time < *last);
    match (newer_there, last) {
        (Some(last), _) if !(options.fill_gaps && pull) => {
            trace.decided(Rule::Older, || format!("it is older than the newest at the target, {last}"));
            return Action::Skip(SkipReason::Older);
        }
        (Some(last), _) => {
            trace.passed(Rule::Older, || {
                format!("it is older than the newest at the target, {last}, but see fill-gaps")
            });
            trace.passed(Rule::FillGaps, || "what is missing at the target is copied, however old".to_owned());
        }
        (None, last) => {
            trace.passed(Rule::Older, || match last {
                Some(last) => format!("it is newer than the newest at the target, {last}"),
                None => "the target has none of the group that would be newer".to_owned(),
            });
            trace.not_used(Rule::FillGaps, "it is not older than what the target has");
        }
    }
    match options.transfer_last {
        None => trace.not_used(Rule::TransferLast, "the job does not ask for that"),
        Some(most) if counted => trace.passed(Rule::TransferLast, || format!("it is among the newest {most}")),
        Some(most) => {
            trace.decided(Rule::TransferLast, || format!("it is not among the newest {most}"));
            return Action::Skip(SkipReason::TransferLast);
        }
    }
    Action::Copy(if newer_there.is_some() { CopyReason::Gap } else { CopyReason::New })
}
