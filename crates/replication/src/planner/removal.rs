//! What may be removed at the target at all, judged by the source's listings.

use crate::inventory::{GroupInventory, Inventory, Snapshots};
use crate::options::JobOptions;
use crate::report::Problem;

/// What may be removed at all.
pub(super) struct RemovalPolicy {
    /// Snapshots and groups, where their own listings permit.
    pub(super) inside: bool,
    /// Whole namespaces.
    pub(super) namespaces: bool,
    /// Why nothing is removed, in a clause.
    pub(super) why_not: &'static str,
}

impl RemovalPolicy {
    fn none(why_not: &'static str) -> Self {
        Self { inside: false, namespaces: false, why_not }
    }

    pub(super) fn of(options: &JobOptions, source: &Inventory, warnings: &mut Vec<Problem>) -> Self {
        if !options.remove_vanished {
            return Self::none("the job removes nothing at the target (remove-vanished)");
        }
        let any_group = source.namespaces.iter().any(|entry| entry.groups.as_ref().is_ok_and(|list| !list.is_empty()));
        if !any_group {
            let why = "the source lists no groups at all, so nothing is removed";
            warnings.push(
                Problem::new("remove-vanished", why)
                    .with_hint("check that the source is mounted and that the identity used may see its groups"),
            );
            return Self::none(why);
        }
        let complete = source.namespaces.iter().all(|entry| {
            let listed = |group: &GroupInventory| !matches!(group.snapshots, Snapshots::Failed(_));
            entry.groups.as_ref().is_ok_and(|groups| groups.iter().all(listed))
        });
        let why_not = "the source could not be listed completely, so no namespace is removed";
        if !complete {
            warnings.push(Problem::new("remove-vanished", why_not));
        }
        Self { inside: true, namespaces: complete, why_not }
    }
}
