//! Which snapshots of a group a set of keep options keeps. Pure: no disk, no clock.

use std::collections::HashSet;

use chrono::{DateTime, TimeZone};
use formats::BackupTime;

/// A snapshot, as far as pruning is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneSnapshot {
    /// When it was taken.
    pub time: BackupTime,
    /// It has a manifest.
    pub finished: bool,
    /// It is protected from removal.
    pub protected: bool,
}

/// How many periods of each kind to keep one snapshot of. `None` and 0 keep none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepOptions {
    /// Snapshots, whatever their time.
    pub last: Option<u64>,
    /// Hours.
    pub hourly: Option<u64>,
    /// Days.
    pub daily: Option<u64>,
    /// ISO weeks.
    pub weekly: Option<u64>,
    /// Months.
    pub monthly: Option<u64>,
    /// Years.
    pub yearly: Option<u64>,
}

impl KeepOptions {
    /// True when no option keeps anything, which means that everything is kept.
    pub fn keeps_all(&self) -> bool {
        self.rules().iter().all(|(count, _)| *count == 0)
    }

    /// Counts and label formats, in the order in which they apply.
    fn rules(&self) -> [(u64, &'static str); 6] {
        [
            (self.last.unwrap_or(0), "%s"),
            (self.hourly.unwrap_or(0), "%Y/%m/%d/%H"),
            (self.daily.unwrap_or(0), "%Y/%m/%d"),
            (self.weekly.unwrap_or(0), "%G/%V"),
            (self.monthly.unwrap_or(0), "%Y/%m"),
            (self.yearly.unwrap_or(0), "%Y"),
        ]
    }
}

/// What pruning does with a snapshot, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneMark {
    /// It is protected.
    Protected,
    /// An option keeps it.
    Keep,
    /// It is unfinished, and the newest of all (probably being written) or in a group where everything is kept.
    KeepPartial,
    /// It goes.
    Remove,
}

impl PruneMark {
    /// True for all but [`Remove`](Self::Remove).
    pub fn keeps(self) -> bool {
        self != Self::Remove
    }
}

/// Marks each snapshot of one group. The answer has the order of the input.
///
/// Periods are those of `zone`, which should be the server's own.
///
/// Periods without snapshots do not count, and the newest snapshot of a period is the one kept. A snapshot that one option removes is
/// not rescued by a later one.
pub fn select<Zone: TimeZone>(snapshots: &[PruneSnapshot], keep: &KeepOptions, zone: &Zone) -> Vec<PruneMark>
where
    Zone::Offset: std::fmt::Display,
{
    if keep.keeps_all() {
        return snapshots.iter().map(kept_mark).collect();
    }
    let mut newest_first: Vec<usize> = (0..snapshots.len()).collect();
    newest_first.sort_by_key(|at| std::cmp::Reverse(snapshots[*at].time));
    let mut marks: Vec<Option<PruneMark>> = vec![None; snapshots.len()];

    for (rank, &at) in newest_first.iter().enumerate() {
        let snapshot = &snapshots[at];
        if !snapshot.finished {
            marks[at] = Some(if rank == 0 { PruneMark::KeepPartial } else { PruneMark::Remove });
        }
    }
    for (count, format) in keep.rules() {
        if count > 0 {
            apply(count, |at| label(snapshots[at].time, format, zone), snapshots, &newest_first, &mut marks);
        }
    }
    marks
        .iter()
        .zip(snapshots)
        .map(|(mark, snapshot)| match mark {
            _ if snapshot.protected => PruneMark::Protected,
            Some(mark) => *mark,
            None => PruneMark::Remove,
        })
        .collect()
}

/// The mark of a snapshot when everything is kept.
fn kept_mark(snapshot: &PruneSnapshot) -> PruneMark {
    match snapshot {
        PruneSnapshot { protected: true, .. } => PruneMark::Protected,
        PruneSnapshot { finished: false, .. } => PruneMark::KeepPartial,
        _ => PruneMark::Keep,
    }
}

/// Applies one option.
fn apply(
    count: u64,
    label: impl Fn(usize) -> String,
    snapshots: &[PruneSnapshot],
    newest_first: &[usize],
    marks: &mut [Option<PruneMark>],
) {
    let done: HashSet<String> =
        newest_first.iter().filter(|at| marks[**at] == Some(PruneMark::Keep)).map(|at| label(*at)).collect();
    let mut fresh = HashSet::new();
    for &at in newest_first {
        if marks[at].is_some() {
            continue;
        }
        if snapshots[at].protected {
            marks[at] = Some(PruneMark::Protected);
            continue;
        }
        let label = label(at);
        if done.contains(&label) {
            continue;
        }
        if fresh.contains(&label) {
            marks[at] = Some(PruneMark::Remove);
            continue;
        }
        if fresh.len() as u64 >= count {
            break;
        }
        fresh.insert(label);
        marks[at] = Some(PruneMark::Keep);
    }
}

/// The name of the period that a time falls into.
fn label<Zone: TimeZone>(time: BackupTime, format: &str, zone: &Zone) -> String
where
    Zone::Offset: std::fmt::Display,
{
    match DateTime::from_timestamp(time.unix(), 0) {
        Some(utc) => utc.with_timezone(zone).format(format).to_string(),
        // Beyond what the calendar can name: a period of its own.
        None => time.unix().to_string(),
    }
}
