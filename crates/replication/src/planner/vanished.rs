//! What is at the target alone: whole groups and namespaces.

use std::collections::BTreeSet;

use formats::Namespace;

use super::trace::{Rule, Trace};
use crate::inventory::{GroupInventory, Inventory, NamespaceInventory};
use crate::options::{Direction, JobOptions};
use crate::plan::{Action, KeepReason, RemoveReason, VanishedGroup, VanishedNamespace};

/// Decides about a group of the target that is not at the source.
pub(super) fn vanished_group(options: &JobOptions, group: &GroupInventory, trace: &mut Trace<'_>) -> VanishedGroup {
    let snapshots = group.snapshots.listed();
    let ours = group.owner.as_ref().is_some_and(|owner| match options.direction {
        Direction::Pull => options.owner.owns(owner),
        Direction::Push => options.owner == *owner,
    });
    let keep = if !options.wants(&group.id) {
        Some(KeepReason::Filtered)
    } else if !ours {
        Some(KeepReason::OtherOwner)
    } else {
        match snapshots {
            None => Some(KeepReason::Unknown),
            Some(list) if list.iter().any(|info| info.protected) => Some(KeepReason::Protected),
            Some(list) if list.iter().any(|info| !info.finished) => Some(KeepReason::Unfinished),
            Some(_) => None,
        }
    };
    trace.decided(Rule::RemoveVanished, || match keep {
        None => format!("the group is {}, so it is removed", Action::Remove(RemoveReason::Vanished).reason()),
        Some(reason) => format!("the group is no longer at the source, but {}", reason.clause()),
    });
    let protected = snapshots.map_or(0, |list| list.iter().filter(|info| info.protected).count());
    VanishedGroup { id: group.id.clone(), snapshots: snapshots.map_or(0, <[_]>::len), protected, keep }
}

/// Decides about the namespaces below the target's anchor that no source namespace maps to, deepest first.
pub(super) fn vanished_namespaces(
    options: &JobOptions,
    target: &Inventory,
    seen: &BTreeSet<&Namespace>,
    trace: &mut Trace<'_>,
) -> Vec<VanishedNamespace> {
    let anchor = &options.target_ns;
    let mut gone: Vec<&NamespaceInventory> = target
        .namespaces
        .iter()
        .filter(|entry| {
            let name = &entry.namespace;
            let level = name.depth().saturating_sub(anchor.depth());
            anchor.contains(name)
                && name != anchor
                && options.max_depth.is_none_or(|most| level <= most)
                && !seen.contains(name)
        })
        .collect();
    gone.sort_by(|one, other| {
        other.namespace.depth().cmp(&one.namespace.depth()).then_with(|| one.namespace.cmp(&other.namespace))
    });

    let mut staying: Vec<&Namespace> = seen.iter().copied().collect();
    let deeper: Vec<&Namespace> = target
        .namespaces
        .iter()
        .map(|entry| &entry.namespace)
        .filter(|name| !gone.iter().any(|entry| entry.namespace == **name))
        .collect();
    staying.extend(deeper);

    let mut plans = Vec::new();
    for entry in gone {
        let (groups, mut keep) = match &entry.groups {
            Err(_) => (Vec::new(), Some(KeepReason::Unknown)),
            Ok(groups) => {
                let mut trace = trace.target_namespace(&entry.namespace);
                let mut decide = |group: &GroupInventory| vanished_group(options, group, &mut trace.group(&group.id));
                let groups: Vec<_> = groups.iter().map(&mut decide).collect();
                let keep = groups.iter().find_map(|group| group.keep);
                (groups, keep)
            }
        };
        if keep.is_none() && staying.iter().any(|name| entry.namespace.contains(name) && **name != entry.namespace) {
            keep = Some(KeepReason::NotEmpty);
        }
        if keep.is_some() {
            staying.push(&entry.namespace);
        }
        plans.push(VanishedNamespace { namespace: entry.namespace.clone(), groups, keep });
    }
    plans
}
