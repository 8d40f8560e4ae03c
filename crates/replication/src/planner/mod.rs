//! The rules of a job, all of them and only here.
//!
//! [`plan`] compares two inventories and decides for every snapshot what happens to it and why. It does no I/O and
//! reads no clock. One may listen to it ([`Trace`]): that is how a job explains what it does with a snapshot.
//!
//! What counts as *gone from the source* is decided on the full listing: a snapshot that a filter leaves out, one that
//! is still being written and one whose manifest cannot be read are all there. A listing that failed or that is empty
//! proves nothing, so nothing is removed for it.

mod beside;
mod choice;
mod group;
mod owner;
mod removal;
mod trace;
mod vanished;

use std::collections::BTreeSet;

use formats::Namespace;

use self::group::plan_group;
pub(crate) use self::owner::ForeignGroup;
use self::removal::RemovalPolicy;
pub use self::trace::{Finding, Rule, Verdict};
pub(crate) use self::trace::{Trace, Watch};
use self::vanished::{vanished_group, vanished_namespaces};
use crate::future;
use crate::inventory::{GroupInventory, Inventory, NamespaceInventory};
use crate::options::{JobOptions, Scope};
use crate::plan::{NamespacePlan, Plan};
use crate::report::Problem;

/// Levels of namespaces a datastore can have.
const MAX_NAMESPACE_DEPTH: usize = 7;

/// Decides what a run with `options` does.
///
/// `source` holds the namespaces at and below `options.source_ns`; `target` those of the target, with groups where they
/// matter: in the namespaces that source namespaces map to and, with `remove_vanished`, in all below
/// `options.target_ns`.
pub fn plan(options: &JobOptions, source: &Inventory, target: &Inventory) -> Plan {
    plan_aloud(options, source, target, &mut Trace::off())
}

/// As [`plan`], telling `trace` what the rules say.
pub(crate) fn plan_aloud(options: &JobOptions, source: &Inventory, target: &Inventory, trace: &mut Trace<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut mapped = Vec::new();
    for entry in source.namespaces.iter().filter(|entry| options.scope(&entry.namespace) == Scope::Inside) {
        match map_namespace(options, &entry.namespace) {
            Ok(target_name) => {
                trace.source_namespace(&entry.namespace).passed(Rule::Namespace, || {
                    format!("{} of the source goes to {}", named(&entry.namespace), named(&target_name))
                });
                mapped.push((entry, target_name));
            }
            Err(problem) => {
                // Before any work: half a tree is worse than none.
                trace.refused(Rule::Namespace, &problem);
                plan.errors.push(problem);
                return plan;
            }
        }
    }
    mapped.sort_by(|(_, one), (_, other)| (one.depth(), one).cmp(&(other.depth(), other)));

    let removal = RemovalPolicy::of(options, source, &mut plan.warnings);
    for (entry, target_name) in &mapped {
        let there = target.find(target_name);
        let mut planner = NamespacePlanner { options, removal: &removal, plan: &mut plan };
        let namespace = planner.plan(entry, target_name, there, &mut trace.source_namespace(&entry.namespace));
        plan.namespaces.push(namespace);
    }
    if removal.namespaces {
        let seen: BTreeSet<&Namespace> = mapped.iter().map(|(_, name)| name).collect();
        plan.vanished_namespaces = vanished_namespaces(options, target, &seen, trace);
    }
    crate::brake::apply(options, target, &mut plan, trace);
    if let Some(now) = options.now {
        plan.warnings.extend(future::warnings(source, now, "source"));
        plan.warnings.extend(future::warnings(target, now, "target"));
    }
    say_what_matched_nothing(options, target, &mut plan);
    plan
}

/// Returns where a source namespace goes, or why it cannot.
pub(crate) fn map_namespace(options: &JobOptions, source: &Namespace) -> Result<Namespace, Problem> {
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

fn named(namespace: &Namespace) -> String {
    if namespace.is_root() { "the root namespace".to_owned() } else { format!("namespace `{namespace}`") }
}

/// Plans one pair of namespaces; problems go to `plan`.
struct NamespacePlanner<'a> {
    options: &'a JobOptions,
    removal: &'a RemovalPolicy,
    plan: &'a mut Plan,
}

impl NamespacePlanner<'_> {
    fn plan(
        &mut self,
        source: &NamespaceInventory,
        target_name: &Namespace,
        target: Option<&NamespaceInventory>,
        trace: &mut Trace<'_>,
    ) -> NamespacePlan {
        let options = self.options;
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
                trace.refused(Rule::Listing, problem);
                self.plan.errors.push(problem.clone());
                return entry;
            }
        };
        entry.total = source_groups.len();
        entry.matched = source_groups.iter().filter(|group| options.wants(&group.id)).count();
        let target_groups: &[GroupInventory] = match target.map(|target| &target.groups) {
            None => &[],
            Some(Ok(groups)) => groups,
            Some(Err(problem)) => {
                trace.refused(Rule::Listing, problem);
                self.plan.errors.push(problem.clone());
                return entry;
            }
        };

        for group in source_groups {
            let mut trace = trace.group(&group.id);
            if !options.wants(&group.id) {
                trace.decided(Rule::GroupFilter, || format!("the group filter leaves {} out", group.id));
                continue;
            }
            trace.passed(Rule::GroupFilter, || format!("the group filter lets {} pass", group.id));
            let there = target_groups.iter().find(|candidate| candidate.id == group.id);
            let (removal, warnings) = (self.removal, &mut self.plan.warnings);
            match plan_group(options, removal, target_name, group, there, warnings, &mut trace) {
                Ok((steps, problems)) => {
                    entry.groups.push(steps);
                    self.plan.errors.extend(problems);
                }
                Err(problem) => self.plan.errors.push(problem),
            }
        }
        if self.removal.inside {
            entry.vanished_groups = self.vanished(source, source_groups, target_groups, trace);
        }
        entry
    }

    /// Decides about the groups that are at the target alone.
    fn vanished(
        &mut self,
        source: &NamespaceInventory,
        source_groups: &[GroupInventory],
        target_groups: &[GroupInventory],
        trace: &mut Trace<'_>,
    ) -> Vec<crate::plan::VanishedGroup> {
        if source_groups.is_empty() && !target_groups.is_empty() {
            let why = "the source lists no groups here, so none is removed at the target";
            trace.decided(Rule::RemoveVanished, || why.to_owned());
            let at = if source.namespace.is_root() {
                "root namespace".to_owned()
            } else {
                format!("namespace `{}`", source.namespace)
            };
            self.plan.warnings.push(
                Problem::new(at, why)
                    .with_hint("check that the source is mounted and that the identity used may see its groups"),
            );
            return Vec::new();
        }
        let gone = target_groups.iter().filter(|group| !source_groups.iter().any(|other| other.id == group.id));
        gone.map(|group| vanished_group(self.options, group, &mut trace.group(&group.id))).collect()
    }
}

/// A job that is about nothing says so; one that moved all it is about away does not.
fn say_what_matched_nothing(options: &JobOptions, target: &Inventory, plan: &mut Plan) {
    let (matched, total) =
        plan.namespaces.iter().fold((0, 0), |(matched, total), entry| (matched + entry.matched, total + entry.total));
    let at_target = || target.namespaces.iter().flat_map(|entry| entry.groups.iter().flatten());
    let moved = options.moves && at_target().any(|group| options.wants(&group.id));
    if matched > 0 || moved || !plan.errors.is_empty() {
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
