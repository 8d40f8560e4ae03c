//! Pruning: one group, at once or as a task; all groups of a namespace and below, as a task.

use std::sync::Arc;

use api_types::PruneItem;
use chrono::Local;
use config::acl::Privileges;
use datastore::Datastore;
use datastore::prune::{KeepOptions, PruneMark, PruneSnapshot, select};
use formats::{GroupId, Namespace};
use tasks::{TaskEnd, TaskLog, new_upid};

use super::call::{Call, OwnerCheck};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::running_task::RunningTask;
use crate::stores::Purpose;

/// `POST prune`: says what the options keep, and unless it is a dry run removes the rest, oldest first.
pub(crate) async fn prune(call: Call) -> Result<Reply, ApiError> {
    let (ns, group, check) = (call.namespace()?, call.params.group()?, call.owner_check()?);
    let pruning = Pruning::of(&call)?;
    if call.params.bool("use-task", false) {
        let checked = pruning.store.clone();
        let place = (ns.clone(), group.clone());
        call.state.blocking(move || check.check(&checked, &place.0, &place.1)).await??;
        let id = format!("{}:{ns}:{group}", pruning.store.name());
        return as_task(&call, id, pruning, move |_| Ok(vec![(ns, group)])).await;
    }
    let items = call
        .state
        .blocking(move || {
            check.check(&pruning.store, &ns, &group)?;
            pruning.run(&ns, &group, None)
        })
        .await??;
    Reply::json(&items)
}

/// `POST prune-datastore`: prunes all groups that the caller may, as a task.
pub(crate) async fn prune_datastore(call: Call) -> Result<Reply, ApiError> {
    let ns = call.namespace()?;
    let pruning = Pruning::of(&call)?;
    let max_depth = call.params.opt_uint("max-depth").and_then(|depth| usize::try_from(depth).ok());
    let (caller, rights) = (call.identity()?.clone(), call.rights().clone());
    let id = format!("{}:{ns}", pruning.store.name());
    as_task(&call, id, pruning, move |store| {
        let mut groups = Vec::new();
        for ns in store.namespaces(&ns, max_depth)? {
            let held = rights.on_datastore(&caller, store.name(), &ns);
            let check =
                match (held.intersects(Privileges::DATASTORE_MODIFY), held.intersects(Privileges::DATASTORE_PRUNE)) {
                    (true, _) => OwnerCheck::none(),
                    (false, true) => OwnerCheck::always(&caller),
                    (false, false) => continue,
                };
            let mut here = store.groups(&ns)?;
            here.retain(|group| check.check(store, &ns, group).is_ok());
            here.sort();
            groups.extend(here.into_iter().map(|group| (ns.clone(), group)));
        }
        Ok(groups)
    })
    .await
}

/// What is pruned, and how.
struct Pruning {
    store: Datastore,
    keep: KeepOptions,
    dry_run: bool,
}

impl Pruning {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let number = |name| call.params.opt_uint(name);
        let keep = KeepOptions {
            last: number("keep-last"),
            hourly: number("keep-hourly"),
            daily: number("keep-daily"),
            weekly: number("keep-weekly"),
            monthly: number("keep-monthly"),
            yearly: number("keep-yearly"),
        };
        let dry_run = call.params.bool("dry-run", false);
        let store = call.datastore(if dry_run { Purpose::Read } else { Purpose::Write })?;
        Ok(Self { store, keep, dry_run })
    }

    /// Prunes one group; what happens is told to `log`.
    fn run(&self, ns: &Namespace, group: &GroupId, log: Option<&TaskLog>) -> Result<Vec<PruneItem>, ApiError> {
        let snapshots = self.store.snapshots(ns, group)?;
        let facts: Vec<PruneSnapshot> = snapshots
            .iter()
            .map(|entry| PruneSnapshot { time: entry.id.time, finished: entry.finished, protected: entry.protected })
            .collect();
        let mut items = Vec::new();
        for (entry, mark) in snapshots.iter().zip(select(&facts, &self.keep, &Local)) {
            let protected = mark == PruneMark::Protected;
            items.push(PruneItem {
                backup_type: group.backup_type,
                backup_id: group.id.clone(),
                backup_time: entry.id.time,
                keep: mark.keeps(),
                protected,
                ns: Some(ns.clone()).filter(|ns| !ns.is_root()),
            });
            if let Some(log) = log {
                let what = match (mark.keeps(), protected) {
                    (_, true) => "protected",
                    (true, false) => "keep",
                    (false, false) => "remove",
                };
                log.info(format!("{what} {}", entry.id));
            }
            if !mark.keeps()
                && !self.dry_run
                && let Err(error) = self.store.remove_snapshot(ns, &entry.id, false)
            {
                tracing::warn!(snapshot = %entry.id, %error, "not pruned");
                if let Some(log) = log {
                    log.warn(format!("{} is not removed: {}", entry.id, error.chain()));
                }
            }
        }
        Ok(items)
    }
}

/// Prunes groups as a task, and answers with its name.
async fn as_task(
    call: &Call,
    id: String,
    pruning: Pruning,
    groups: impl FnOnce(&Datastore) -> Result<Vec<(Namespace, GroupId)>, ApiError> + Send + 'static,
) -> Result<Reply, ApiError> {
    let upid = new_upid("prune", Some(id), call.identity()?.clone());
    let task = RunningTask::begin(&call.state, upid).await?;
    let answer = Reply::json(task.upid())?;
    let state = Arc::clone(&call.state);
    let operation = call.state.stores.operation(pruning.store.name(), Purpose::Write);
    call.state.tracker.spawn(async move {
        if pruning.dry_run {
            task.log().info("dry run: nothing is removed");
        }
        let end = match prune_groups(&state, &task, pruning, groups).await {
            Ok(end) => end,
            Err(error) => TaskEnd::Error(error.message),
        };
        task.finish(&state, end).await;
        drop(operation);
    });
    Ok(answer)
}

async fn prune_groups(
    state: &crate::state::State,
    task: &Arc<RunningTask>,
    pruning: Pruning,
    groups: impl FnOnce(&Datastore) -> Result<Vec<(Namespace, GroupId)>, ApiError> + Send + 'static,
) -> Result<TaskEnd, ApiError> {
    let pruning = Arc::new(pruning);
    let store = pruning.store.clone();
    for (ns, group) in state.blocking(move || groups(&store)).await?? {
        // One group is pruned as a whole, so a stop takes effect between two.
        let (pruning, running) = (Arc::clone(&pruning), Arc::clone(task));
        let one = state.blocking(move || {
            running.log().info(if ns.is_root() { format!("group {group}") } else { format!("group {ns}: {group}") });
            if let Err(error) = pruning.run(&ns, &group, Some(running.log())) {
                running.log().warn(format!("group {group} is left as it is: {}", error.message));
            }
        });
        match task.unless_stopped(state, one).await {
            Ok(done) => done?,
            Err(stopped) => return Ok(stopped.end()),
        }
    }
    Ok(TaskEnd::Ok)
}
