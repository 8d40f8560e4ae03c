//! Snapshots dated in the future: a clock was wrong, and what comes after them looks older.

use formats::BackupTime;

use crate::inventory::{Inventory, place};
use crate::report::Problem;

/// How far ahead a clock may be before it is worth a warning, in seconds.
const TOLERANCE: i64 = 600;

/// Returns one warning for each group that has snapshots after `now`; `end` says where, for a person.
pub(crate) fn warnings(inventory: &Inventory, now: BackupTime, end: &str) -> Vec<Problem> {
    let latest = now.unix().saturating_add(TOLERANCE);
    let mut warnings = Vec::new();
    for entry in &inventory.namespaces {
        for group in entry.groups.iter().flatten() {
            let ahead = group.snapshots.listed().unwrap_or_default().iter().filter(|info| info.id.time.unix() > latest);
            let Some(newest) = ahead.max_by_key(|info| info.id.time) else { continue };
            warnings.push(
                Problem::new(
                    place(&entry.namespace, &newest.id),
                    format!("is dated in the future at the {end}: what is backed up before then counts as older"),
                )
                .with_hint("check the clocks; to have the others copied all the same, set fill-gaps, or remove it"),
            );
        }
    }
    warnings
}
