//! The rules of a job, all of them and only here.
//!
//! [`plan`] compares two inventories and decides for every snapshot what happens to it and why. It does no I/O and
//! reads no clock.
//!
//! What counts as *gone from the source* is decided on the full listing: a snapshot that a filter leaves out, one that
//! is still being written and one whose manifest cannot be read are all there. A listing that failed or that is empty
//! proves nothing, so nothing is removed for it.

use std::collections::{BTreeMap, BTreeSet};

use formats::{AuthId, BackupTime, GroupId, Namespace, VerifyResult};

use crate::future;
use crate::inventory::{GroupInventory, Inventory, NamespaceInventory, Snapshots, place};
use crate::options::{Direction, JobOptions};
use crate::plan::{
    Action, CopyReason, GroupPlan, KeepReason, NamespacePlan, Plan, RemoveReason, SkipReason, Step, VanishedGroup,
    VanishedNamespace,
};
use crate::report::Problem;
use crate::traits::SnapshotInfo;

/// Levels of namespaces a datastore can have.
const MAX_NAMESPACE_DEPTH: usize = 7;

/// Decides what a run with `options` does.
///
/// `source` holds the namespaces at and below `options.source_ns`; `target` those of the target, with groups where they
/// matter: in the namespaces that source namespaces map to and, with `remove_vanished`, in all below
/// `options.target_ns`.
pub fn plan(options: &JobOptions, source: &Inventory, target: &Inventory) -> Plan {
    let mut plan = Plan::default();
    let mut mapped = Vec::new();
    for entry in &source.namespaces {
        match map_namespace(options, &entry.namespace) {
            Ok(target_name) => mapped.push((entry, target_name)),
            Err(problem) => {
                // Before any work: half a tree is worse than none.
                plan.errors.push(problem);
                return plan;
            }
        }
    }
    mapped.sort_by(|(_, one), (_, other)| (one.depth(), one).cmp(&(other.depth(), other)));

    let removal = RemovalPolicy::of(options, source, &mut plan.warnings);
    for (entry, target_name) in &mapped {
        let there = target.find(target_name);
        let namespace =
            plan_namespace(options, &removal, entry, target_name, there, &mut plan.warnings, &mut plan.errors);
        plan.namespaces.push(namespace);
    }
    if removal.namespaces {
        let seen: BTreeSet<&Namespace> = mapped.iter().map(|(_, name)| name).collect();
        plan.vanished_namespaces = vanished_namespaces(options, target, &seen);
    }
    crate::brake::apply(options, target, &mut plan);
    if let Some(now) = options.now {
        plan.warnings.extend(future::warnings(source, now, "source"));
        plan.warnings.extend(future::warnings(target, now, "target"));
    }
    say_what_matched_nothing(options, &mut plan);
    plan
}

/// Returns where a source namespace goes, or why it cannot.
fn map_namespace(options: &JobOptions, source: &Namespace) -> Result<Namespace, Problem> {
    let too_deep = |why: String| {
        let hint = format!(
            "choose a target namespace closer to the root, or a smaller max-depth (at most {MAX_NAMESPACE_DEPTH} levels in all)"
        );
        Problem::new(format!("namespace `{source}`"), why).with_hint(hint)
    };
    let target = source
        .map_prefix(&options.source_ns, &options.target_ns)
        .map_err(|error| too_deep(format!("cannot be mapped below `{}`: {error}", options.target_ns)))?;
    if target.depth() > MAX_NAMESPACE_DEPTH {
        return Err(too_deep(format!("would be `{target}` at the target, which is too deep")));
    }
    Ok(target)
}

/// What may be removed at all, judged by the source's listings.
struct RemovalPolicy {
    /// Snapshots and groups, where their own listings permit.
    inside: bool,
    /// Whole namespaces.
    namespaces: bool,
}

impl RemovalPolicy {
    fn of(options: &JobOptions, source: &Inventory, warnings: &mut Vec<Problem>) -> Self {
        if !options.remove_vanished {
            return Self { inside: false, namespaces: false };
        }
        let any_group = source.namespaces.iter().any(|entry| entry.groups.as_ref().is_ok_and(|list| !list.is_empty()));
        if !any_group {
            warnings.push(
                Problem::new("remove-vanished", "the source lists no groups at all, so nothing is removed")
                    .with_hint("check that the source is mounted and that the identity used may see its groups"),
            );
            return Self { inside: false, namespaces: false };
        }
        let complete = source.namespaces.iter().all(|entry| {
            let listed = |group: &GroupInventory| !matches!(group.snapshots, Snapshots::Failed(_));
            entry.groups.as_ref().is_ok_and(|groups| groups.iter().all(listed))
        });
        if !complete {
            warnings.push(Problem::new(
                "remove-vanished",
                "the source could not be listed completely, so no namespace is removed",
            ));
        }
        Self { inside: true, namespaces: complete }
    }
}

fn plan_namespace(
    options: &JobOptions,
    removal: &RemovalPolicy,
    source: &NamespaceInventory,
    target_name: &Namespace,
    target: Option<&NamespaceInventory>,
    warnings: &mut Vec<Problem>,
    errors: &mut Vec<Problem>,
) -> NamespacePlan {
    let mut entry = NamespacePlan {
        source: source.namespace.clone(),
        target: target_name.clone(),
        create: target.is_none() && !target_name.is_root(),
        matched: 0,
        total: 0,
        groups: Vec::new(),
        vanished_groups: Vec::new(),
    };
    let source_groups = match &source.groups {
        Ok(groups) => groups,
        Err(problem) => {
            errors.push(problem.clone());
            return entry;
        }
    };
    entry.total = source_groups.len();
    entry.matched = source_groups.iter().filter(|group| options.wants(&group.id)).count();
    let target_groups: &[GroupInventory] = match target.map(|target| &target.groups) {
        None => &[],
        Some(Ok(groups)) => groups,
        Some(Err(problem)) => {
            errors.push(problem.clone());
            return entry;
        }
    };

    for group in source_groups.iter().filter(|group| options.wants(&group.id)) {
        let there = target_groups.iter().find(|candidate| candidate.id == group.id);
        match plan_group(options, removal, target_name, group, there, warnings) {
            Ok((steps, problems)) => {
                entry.groups.push(steps);
                errors.extend(problems);
            }
            Err(problem) => errors.push(problem),
        }
    }
    if removal.inside {
        if source_groups.is_empty() && !target_groups.is_empty() {
            warnings.push(
                Problem::new(
                    if source.namespace.is_root() {
                        "root namespace".to_owned()
                    } else {
                        format!("namespace `{}`", source.namespace)
                    },
                    "the source lists no groups here, so none is removed at the target",
                )
                .with_hint("check that the source is mounted and that the identity used may see its groups"),
            );
        } else {
            entry.vanished_groups = target_groups
                .iter()
                .filter(|group| !source_groups.iter().any(|candidate| candidate.id == group.id))
                .map(|group| vanished_group(options, group))
                .collect();
        }
    }
    entry
}

/// Decides about one group. The second part are problems of single snapshots.
fn plan_group(
    options: &JobOptions,
    removal: &RemovalPolicy,
    namespace: &Namespace,
    source: &GroupInventory,
    target: Option<&GroupInventory>,
    warnings: &mut Vec<Problem>,
) -> Result<(GroupPlan, Vec<Problem>), Problem> {
    let at = place(namespace, &source.id);
    check_owner(options, namespace, &source.id, target.and_then(|target| target.owner.as_ref()))?;
    let ours = sorted(&source.snapshots, &at)?;
    let theirs = target.map(|target| sorted(&target.snapshots, &at)).transpose()?.unwrap_or_default();

    let removes = removal.inside && !ours.is_empty();
    let last = newest(&theirs, |info| {
        // What is about to go holds nothing up, or the next run would have to bring what this one left out. A remote
        // takes nothing older than what it has, so there it does.
        removes && options.direction == Direction::Pull && is_removed(info, &ours)
    });
    let mut problems = Vec::new();
    let mut steps = copy_steps(options, &ours, &theirs, last);
    for (time, step) in &steps {
        let missed = (options.fill_gaps && !theirs.get(time).is_some_and(|copy| copy.finished))
            || last.is_none_or(|last| *time >= last);
        if step.action == Action::Skip(SkipReason::Unreadable) && missed {
            problems.push(
                Problem::new(place(namespace, &step.snapshot), "its manifest at the source cannot be read").with_hint(
                    "verify the snapshot at the source; until then it is not copied, and not removed either",
                ),
            );
        }
    }
    if removes {
        for (time, info) in theirs.iter().filter(|(time, _)| !ours.contains_key(time)) {
            let action = if info.protected {
                Action::Keep(KeepReason::Protected)
            } else if is_removed(info, &ours) {
                Action::Remove(RemoveReason::Vanished)
            } else {
                Action::Keep(KeepReason::Unfinished)
            };
            steps.insert(*time, Step { snapshot: info.id.clone(), action, size: None });
        }
    } else if removal.inside && !theirs.is_empty() {
        warnings.push(Problem::new(at, "the source lists no snapshots here, so none is removed at the target"));
    }
    let base = theirs.values().rev().find(|info| is_good(info)).map(|info| info.id.clone());
    Ok((GroupPlan { id: source.id.clone(), base, steps: steps.into_values().collect() }, problems))
}

type ByTime<'a> = BTreeMap<BackupTime, &'a SnapshotInfo>;

fn sorted<'a>(snapshots: &'a Snapshots, at: &str) -> Result<ByTime<'a>, Problem> {
    match snapshots {
        Snapshots::Listed(list) => Ok(list.iter().map(|info| (info.id.time, info)).collect()),
        Snapshots::Failed(problem) => Err(problem.clone()),
        Snapshots::NotAsked => Err(Problem::new(at, "its snapshots were not listed")),
    }
}

/// Returns the time of the newest finished snapshot that is not `going`: an unfinished one holds nothing up.
fn newest(target: &ByTime<'_>, going: impl Fn(&SnapshotInfo) -> bool) -> Option<BackupTime> {
    target.iter().rev().find(|(_, info)| info.finished && !going(info)).map(|(time, _)| *time)
}

/// Whether a snapshot of the target goes because it is not at the source.
fn is_removed(info: &SnapshotInfo, source: &ByTime<'_>) -> bool {
    info.finished && !info.protected && !source.contains_key(&info.id.time)
}

fn is_good(info: &SnapshotInfo) -> bool {
    info.finished && !info.manifest_unreadable && info.verified != Some(VerifyResult::Failed)
}

/// Decides about every snapshot of the source.
fn copy_steps(
    options: &JobOptions,
    source: &ByTime<'_>,
    target: &ByTime<'_>,
    last: Option<BackupTime>,
) -> BTreeMap<BackupTime, Step> {
    let wanted = source.values().filter(|info| unwanted(options, info).is_none()).count() as u64;
    let first_of_last = options.transfer_last.map_or(0, |count| wanted.saturating_sub(count.get()));

    let mut position = 0;
    let mut steps = BTreeMap::new();
    for (time, info) in source {
        let there = target.get(time).filter(|copy| copy.finished);
        let action = match unwanted(options, info) {
            Some(reason) => match there {
                Some(_) if reason != SkipReason::Unreadable => Action::Skip(SkipReason::AlreadyThere),
                _ => Action::Skip(reason),
            },
            None => {
                let counted = position >= first_of_last;
                position += 1;
                selected(options, *time, last, there.copied(), counted)
            }
        };
        steps.insert(*time, Step { snapshot: info.id.clone(), action, size: info.size });
    }
    steps
}

/// Why a source snapshot is not among those to choose from.
fn unwanted(options: &JobOptions, info: &SnapshotInfo) -> Option<SkipReason> {
    if !info.finished {
        Some(SkipReason::Unfinished)
    } else if info.manifest_unreadable {
        Some(SkipReason::Unreadable)
    } else if options.verified_only && info.verified != Some(VerifyResult::Ok) {
        Some(SkipReason::NotVerified)
    } else if options.encrypted_only && !info.fully_encrypted {
        Some(SkipReason::NotEncrypted)
    } else {
        None
    }
}

/// The choice among the wanted ones; the first rule that holds wins.
fn selected(
    options: &JobOptions,
    time: BackupTime,
    last: Option<BackupTime>,
    there: Option<&SnapshotInfo>,
    counted: bool,
) -> Action {
    let pull = options.direction == Direction::Pull;
    let corrupt = there.is_some_and(|copy| copy.manifest_unreadable || copy.verified == Some(VerifyResult::Failed));
    if options.resync_corrupt && pull && corrupt {
        return Action::Copy(CopyReason::Corrupt);
    }
    if there.is_some() && (last != Some(time) || !pull) {
        return Action::Skip(SkipReason::AlreadyThere);
    }
    if last == Some(time) {
        return Action::Refresh;
    }
    let older = last.is_some_and(|last| time < last);
    if older && !(options.fill_gaps && pull) {
        return Action::Skip(SkipReason::Older);
    }
    if !counted {
        return Action::Skip(SkipReason::TransferLast);
    }
    Action::Copy(if older { CopyReason::Gap } else { CopyReason::New })
}

/// A group at the target whose owner is not the one it should have.
pub(crate) struct ForeignGroup<'a> {
    pub(crate) direction: Direction,
    /// Name of the target's datastore, where it is known.
    pub(crate) store: Option<&'a str>,
    pub(crate) namespace: &'a Namespace,
    pub(crate) group: &'a GroupId,
    pub(crate) found: &'a AuthId,
    pub(crate) wanted: &'a AuthId,
}

impl ForeignGroup<'_> {
    /// Says that the group belongs to somebody else, naming both and the commands that mend it.
    pub(crate) fn problem(&self) -> Problem {
        let Self { group, found, wanted, .. } = self;
        let store = self.store.unwrap_or("STORE");
        let ns = if self.namespace.is_root() { String::new() } else { format!(" --ns {}", self.namespace) };
        let mend = format!("backup-manager group change-owner {store} {group} '{wanted}'{ns}");
        let (message, hint) = match self.direction {
            Direction::Pull => (
                format!("the group belongs to `{found}` at the target, but the job's owner is `{wanted}`"),
                format!("to give the group to `{wanted}`: {mend}; to let the job own it: --owner '{found}'"),
            ),
            Direction::Push => (
                format!("the group belongs to `{found}` at the remote, but the job signs in there as `{wanted}`"),
                format!(
                    "at the remote: {mend}; or from anywhere, as its administrator: proxmox-backup-client change-owner \
                     {group} '{wanted}'{ns} --repository ADMIN@HOST:{store}"
                ),
            ),
        };
        Problem::new(place(self.namespace, group), message).with_hint(hint)
    }
}

fn check_owner(
    options: &JobOptions,
    namespace: &Namespace,
    group: &GroupId,
    owner: Option<&AuthId>,
) -> Result<(), Problem> {
    let Some(found) = owner.filter(|owner| **owner != options.owner) else { return Ok(()) };
    let (direction, store, wanted) = (options.direction, options.target_store.as_deref(), &options.owner);
    Err(ForeignGroup { direction, store, namespace, group, found, wanted }.problem())
}

/// Decides about a group of the target that is not at the source.
fn vanished_group(options: &JobOptions, group: &GroupInventory) -> VanishedGroup {
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
    let protected = snapshots.map_or(0, |list| list.iter().filter(|info| info.protected).count());
    VanishedGroup { id: group.id.clone(), snapshots: snapshots.map_or(0, <[_]>::len), protected, keep }
}

/// Decides about the namespaces below the target's anchor that no source namespace maps to, deepest first.
fn vanished_namespaces(
    options: &JobOptions,
    target: &Inventory,
    seen: &BTreeSet<&Namespace>,
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
                let groups: Vec<_> = groups.iter().map(|group| vanished_group(options, group)).collect();
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

/// A job that is about nothing says so.
fn say_what_matched_nothing(options: &JobOptions, plan: &mut Plan) {
    let (matched, total) =
        plan.namespaces.iter().fold((0, 0), |(matched, total), entry| (matched + entry.matched, total + entry.total));
    if matched > 0 || !plan.errors.is_empty() {
        return;
    }
    let anchor = if options.source_ns.is_root() {
        "root namespace of the source".to_owned()
    } else {
        format!("source namespace `{}`", options.source_ns)
    };
    plan.warnings.push(if total == 0 {
        Problem::new(anchor, "holds no groups that can be seen, so there is nothing to copy")
            .with_hint("check the namespace, max-depth, and the privileges of the identity used")
    } else {
        Problem::new(anchor, format!("0 of {total} groups matched the group filter, so there is nothing to copy"))
            .with_hint("check the group filters of the job")
    });
}
