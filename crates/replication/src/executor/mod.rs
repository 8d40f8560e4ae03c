//! Obeys a plan.
//!
//! ```text
//! namespaces made, parents first
//! groups, several at once ── snapshots, oldest first ── files, in manifest order
//!                                                          └─ chunks: many on their way, checked, stored
//! vanished groups, then vanished namespaces, deepest first
//! ```
//!
//! All groups share one [`Admission`] (bytes and requests on their way) and, where the target's snapshots share their
//! chunks, one [`Ledger`] (each chunk travels once). The first error ends its group, the others go on; an error of
//! class `Stop` ends the run. Reports keep the plan's order whatever finishes first.

mod admission;
mod archive;
mod beside;
mod group;
mod ledger;
mod moving;
mod order;
mod pairs;
mod refresh;
mod snapshot;

pub(crate) use self::snapshot::{check_blob, check_index};

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use formats::{GroupId, Namespace};
use tokio::task::JoinSet;

use self::admission::Admission;
use self::ledger::Ledger;
use crate::control::RunControl;
use crate::error::{EndError, ErrorClass};
use crate::inventory::place;
use crate::options::{JobOptions, TransferOrder};
use crate::patience::Tries;
use crate::plan::{Action, GroupPlan, NamespacePlan, Plan, SkipReason, VanishedGroup};
use crate::prepare::prepare_under;
use crate::rehearsal::{Forecast, Notes, RehearsalTarget};
use crate::report::{Event, Monitor, Problem, Removal, Report};
use crate::traits::{ChunkRef, Source, Target};

/// Plans and obeys the plan.
pub async fn run(
    options: &JobOptions,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    control: &RunControl,
    monitor: Arc<dyn Monitor>,
) -> Report {
    let prepared = tokio::select! {
        biased;
        () = control.cancelled() => Err(EndError::stop("the run was stopped")),
        prepared = prepare_under(options, &source, &target, control, &*monitor) => prepared,
    };
    match prepared {
        Ok(plan) => execute(options, plan, source, target, control, monitor).await,
        Err(error) => {
            let problem = Problem::from_error("listing", &error);
            monitor.event(Event::Failed(problem.clone()));
            let mut report = Report { errors: vec![problem], cancelled: control.is_cancelled(), ..Report::default() };
            report.settle();
            report
        }
    }
}

/// Plans, and obeys the plan in thought: says what [`run`] would do now, and changes nothing.
///
/// # Errors
/// A listing without which nothing can be planned, or a run that was stopped. Lesser ones are in the report.
pub async fn rehearse(
    options: &JobOptions,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    control: &RunControl,
    monitor: Arc<dyn Monitor>,
) -> Result<Forecast, EndError> {
    let plan = tokio::select! {
        biased;
        () = control.cancelled() => return Err(EndError::stop("stopped on request")),
        prepared = prepare_under(options, &source, &target, control, &*monitor) => prepared?,
    };
    let notes = Arc::new(Notes::default());
    let target = Arc::new(RehearsalTarget::new(target, Arc::clone(&notes)));
    let rehearsal = Some(Arc::clone(&notes));
    let report = obey(options, plan.clone(), source, target, control, monitor, rehearsal).await;
    Ok(notes.forecast(plan, report))
}

/// Obeys `plan`. Never fails as a whole: the report says what was not done.
pub async fn execute(
    options: &JobOptions,
    plan: Plan,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    control: &RunControl,
    monitor: Arc<dyn Monitor>,
) -> Report {
    obey(options, plan, source, target, control, monitor, None).await
}

async fn obey(
    options: &JobOptions,
    plan: Plan,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    control: &RunControl,
    monitor: Arc<dyn Monitor>,
    rehearsal: Option<Arc<Notes>>,
) -> Report {
    let engine = Arc::new(Engine {
        admission: Admission::new(options.in_flight_bytes, options.in_flight_requests),
        ledger: Ledger::default(),
        read_ledger: Ledger::default(),
        rewritten_ledger: Ledger::default(),
        read_back: Mutex::default(),
        stopped: AtomicBool::new(false),
        rehearsal,
        options: options.clone(),
        control: control.clone(),
        source,
        target,
        monitor,
    });
    engine.announce(&plan);

    let mut report = opening_report(&plan);
    let tail = Slot::default();
    let created = tokio::select! {
        biased;
        () = control.cancelled() => Vec::new(),
        created = engine.create_namespaces(&plan, &tail) => created,
    };
    let jobs = group_jobs(&plan, &created);
    tokio::select! {
        biased;
        () = control.cancelled() => {}
        () = engine.pair_bases(&jobs) => {}
    }
    let (first, rest) = match options.transfer_order {
        TransferOrder::OldestFirst => (jobs, Vec::new()),
        TransferOrder::NewestFirst => order::newest_first(jobs),
    };
    let names: Vec<_> = first.iter().map(|job| (job.target_ns.clone(), job.plan.id.clone())).collect();
    let mut slots = engine.groups(options.worker_threads, first, &tail).await;
    let rest = order::without_failed(rest, &names, &slots);
    slots.extend(engine.groups(options.worker_threads, rest, &tail).await);
    let parts: Vec<Report> = slots.iter().map(Slot::take).collect();
    // What the plan itself calls an error was thought of when it decided what to remove.
    let clean = tail.lock().errors.is_empty() && parts.iter().all(|part| part.errors.is_empty());
    for part in parts {
        report.absorb(part);
    }
    tokio::select! {
        biased;
        () = control.cancelled() => {}
        () = engine.remove_vanished(&plan, &created, clean, &tail) => {}
    }
    report.absorb(tail.take());
    report.cancelled = control.is_cancelled();
    if report.cancelled {
        report.errors.push(Problem::new("run", "stopped on request; the next run goes on where this one stopped"));
    }
    report.settle();
    report
}

/// What the plan itself already says.
fn opening_report(plan: &Plan) -> Report {
    let skipped = plan.steps().filter(|step| matches!(step.action, Action::Skip(_))).count() as u64;
    Report {
        snapshots_skipped: skipped,
        removals_held: plan.brake.as_ref().map_or(0, |brake| brake.removals),
        groups_matched: plan.namespaces.iter().map(|entry| entry.matched as u64).sum(),
        groups_total: plan.namespaces.iter().map(|entry| entry.total as u64).sum(),
        errors: plan.errors.clone(),
        warnings: plan.warnings.clone(),
        brake: plan.brake,
        ..Report::default()
    }
}

/// One group to work on.
struct GroupJob {
    source_ns: Namespace,
    target_ns: Namespace,
    plan: GroupPlan,
}

/// All groups with work whose namespace is there, in the plan's order.
fn group_jobs(plan: &Plan, created: &[Namespace]) -> Vec<GroupJob> {
    let there = plan.namespaces.iter().filter(|entry| created.contains(&entry.target));
    let of_one = |entry: &NamespacePlan| -> Vec<GroupJob> {
        let busy = entry.groups.iter().filter(|group| group.is_work());
        let (source_ns, target_ns) = (&entry.source, &entry.target);
        busy.map(|group| GroupJob { source_ns: source_ns.clone(), target_ns: target_ns.clone(), plan: group.clone() })
            .collect()
    };
    there.flat_map(of_one).collect()
}

/// A part of the report that its writer fills and that survives when the writer is dropped.
#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Report>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Report {
        std::mem::take(&mut *self.lock())
    }
}

/// What all parts of a run share.
struct Engine {
    options: JobOptions,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    control: RunControl,
    monitor: Arc<dyn Monitor>,
    admission: Admission,
    ledger: Ledger,
    /// Of chunks of which every byte was seen in this run: nothing in it was trusted because a base names it.
    read_ledger: Ledger,
    /// Of chunks that the target stores under other names.
    rewritten_ledger: Ledger,
    /// Chunks that were read back from the target and are good.
    read_back: Mutex<HashSet<ChunkRef>>,
    /// Set by the first error after which nothing else can succeed.
    stopped: AtomicBool,
    /// Of a rehearsal: no chunk and no blob is fetched, what is found is noted.
    rehearsal: Option<Arc<Notes>>,
}

impl Engine {
    fn announce(&self, plan: &Plan) {
        let work = |action: Action| matches!(action, Action::Copy(_) | Action::Refresh | Action::Update);
        let copies = plan.steps().filter(|step| matches!(step.action, Action::Copy(_)));
        self.monitor.event(Event::Planned {
            groups: plan.busy_groups().count() as u64,
            snapshots: plan.steps().filter(|step| work(step.action)).count() as u64,
            logical_bytes: copies.filter_map(|step| step.size).sum(),
        });
        for entry in &plan.namespaces {
            self.monitor.event(Event::Namespace {
                source: entry.source.clone(),
                target: entry.target.clone(),
                matched: entry.matched,
                total: entry.total,
            });
            for group in &entry.groups {
                self.announce_skipped(&entry.target, group);
            }
        }
        for problem in &plan.warnings {
            self.monitor.event(Event::Warning(problem.clone()));
        }
        for problem in &plan.errors {
            self.monitor.event(Event::Failed(problem.clone()));
        }
    }

    /// Tells which snapshots of a group are left alone, one event per reason.
    fn announce_skipped(&self, namespace: &Namespace, group: &GroupPlan) {
        let mut told: Vec<SkipReason> = Vec::new();
        for step in &group.steps {
            let Action::Skip(reason) = step.action else { continue };
            if told.contains(&reason) {
                continue;
            }
            told.push(reason);
            let mut alike: Vec<_> = group.steps.iter().filter(|other| other.action == step.action).collect();
            alike.sort_by_key(|step| step.snapshot.time);
            let (Some(first), Some(last)) = (alike.first(), alike.last()) else { continue };
            self.monitor.event(Event::Skipped {
                namespace: namespace.clone(),
                first: first.snapshot.clone(),
                last: last.snapshot.clone(),
                count: alike.len(),
                reason: step.action.reason(),
            });
        }
    }

    fn fail(&self, slot: &Slot, at: impl Into<String>, error: &EndError) {
        if error.class() == ErrorClass::Stop {
            self.stopped.store(true, Ordering::SeqCst);
        }
        if self.control.is_cancelled() {
            return;
        }
        let problem = Problem::from_error(at, error);
        self.monitor.event(Event::Failed(problem.clone()));
        slot.lock().errors.push(problem);
    }

    fn is_over(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) || self.control.is_cancelled()
    }

    /// Makes the namespaces that are missing and returns all that are there.
    async fn create_namespaces(&self, plan: &Plan, slot: &Slot) -> Vec<Namespace> {
        let mut there = Vec::new();
        for entry in &plan.namespaces {
            if self.is_over() {
                break;
            }
            if entry.create {
                let at = format!("namespace `{}`", entry.target);
                let tries = Tries::new(self.options.patience, &self.control, &*self.monitor);
                // One that is there already is no error, so asking twice does no harm.
                let made = tries.persist(&at, async || self.target.create_namespace(&entry.target).await).await;
                if let Err(error) = made {
                    self.fail(slot, at, &error);
                    continue;
                }
                self.monitor.event(Event::NamespaceCreated { namespace: entry.target.clone() });
            }
            there.push(entry.target.clone());
        }
        there
    }

    /// Works on all groups, a few at a time. Returns early, with all work dropped, when the run is cancelled.
    ///
    /// Returns what each of them has to tell, in the order of `jobs`.
    async fn groups(self: &Arc<Self>, workers: usize, jobs: Vec<GroupJob>, tail: &Slot) -> Vec<Slot> {
        let slots: Vec<Slot> = jobs.iter().map(|_| Slot::default()).collect();
        let mut waiting = jobs.into_iter().zip(&slots);
        let mut running = JoinSet::new();
        loop {
            while running.len() < workers.max(1)
                && !self.is_over()
                && let Some((job, slot)) = waiting.next()
            {
                let (engine, slot) = (Arc::clone(self), slot.clone());
                running.spawn(async move { engine.group(job, &slot).await });
            }
            tokio::select! {
                biased;
                () = self.control.cancelled() => {
                    running.shutdown().await;
                    break;
                }
                joined = running.join_next() => match joined {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        self.fail(tail, "run", &EndError::skip("work on a group broke off").caused_by(error));
                    }
                },
            }
        }
        if self.control.is_cancelled() {
            return slots;
        }
        let left: Vec<String> = waiting.map(|(job, _)| place(&job.target_ns, &job.plan.id)).collect();
        if let Some(first) = left.first() {
            let message = format!("{} groups were not started, since nothing else could succeed", left.len());
            let at = if left.len() == 1 { first.clone() } else { format!("{first} and after") };
            tail.lock().errors.push(Problem::new(at, message));
        }
        slots
    }

    /// Removes the groups and namespaces that are no longer at the source. `clean` tells that nothing failed while
    /// the plan was carried out: otherwise no namespace is removed.
    async fn remove_vanished(&self, plan: &Plan, created: &[Namespace], clean: bool, slot: &Slot) {
        for entry in plan.namespaces.iter().filter(|entry| created.contains(&entry.target)) {
            for group in &entry.vanished_groups {
                self.remove_group(&entry.target, group, slot).await;
            }
        }
        for entry in &plan.vanished_namespaces {
            let mut empty = true;
            for group in &entry.groups {
                empty &= self.remove_group(&entry.namespace, group, slot).await;
            }
            if !empty || entry.keep.is_some() || !clean || self.is_over() {
                continue;
            }
            match self.target.remove_namespace(&entry.namespace).await {
                Ok(()) => {
                    slot.lock().namespaces_removed += 1;
                    let what = Removal::Namespace(entry.namespace.clone());
                    self.monitor.event(Event::Removed { what });
                }
                Err(error) => self.fail(slot, format!("namespace `{}`", entry.namespace), &error),
            }
        }
    }

    /// Removes a vanished group where the plan says so. Returns whether it is gone.
    async fn remove_group(&self, namespace: &Namespace, group: &VanishedGroup, slot: &Slot) -> bool {
        use crate::plan::KeepReason;

        let removable = matches!(group.keep, None | Some(KeepReason::Protected));
        if !removable || self.is_over() || self.control.ready().await.is_err() {
            return false;
        }
        let id: &GroupId = &group.id;
        match self.target.remove_group(namespace, id).await {
            Ok(removed) => {
                let mut report = slot.lock();
                report.groups_removed += removed.groups;
                report.snapshots_removed += removed.snapshots;
                drop(report);
                if removed.snapshots > 0 || removed.groups > 0 {
                    let what = Removal::Group(namespace.clone(), id.clone());
                    self.monitor.event(Event::Removed { what });
                }
                removed.protected == 0
            }
            Err(error) => {
                self.fail(slot, place(namespace, id), &error);
                false
            }
        }
    }
}
