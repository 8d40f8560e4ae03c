//! Pruning one group.

use api_types::PruneItem;
use chrono::Local;
use datastore::Datastore;
use datastore::prune::{KeepOptions, PruneMark, PruneSnapshot, select};
use formats::{GroupId, Namespace};

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `POST prune`: says what the options keep, and unless it is a dry run removes the rest, oldest first.
pub(crate) async fn prune(call: Call) -> Result<Reply, ApiError> {
    if call.params.bool("use-task", false) {
        return Err(ApiError::parameter("use-task", "pruning as a task is not supported"));
    }
    let (ns, group, check) = (call.namespace()?, call.params.group()?, call.owner_check()?);
    let keep = KeepOptions {
        last: call.params.opt_uint("keep-last"),
        hourly: call.params.opt_uint("keep-hourly"),
        daily: call.params.opt_uint("keep-daily"),
        weekly: call.params.opt_uint("keep-weekly"),
        monthly: call.params.opt_uint("keep-monthly"),
        yearly: call.params.opt_uint("keep-yearly"),
    };
    let dry_run = call.params.bool("dry-run", false);
    let store = call.datastore(if dry_run { Purpose::Read } else { Purpose::Write })?;
    let items = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &group)?;
            run(&store, &ns, &group, &keep, dry_run)
        })
        .await??;
    Reply::json(&items)
}

fn run(
    store: &Datastore,
    ns: &Namespace,
    group: &GroupId,
    keep: &KeepOptions,
    dry_run: bool,
) -> Result<Vec<PruneItem>, ApiError> {
    let snapshots = store.snapshots(ns, group)?;
    let facts: Vec<PruneSnapshot> = snapshots
        .iter()
        .map(|entry| PruneSnapshot { time: entry.id.time, finished: entry.finished, protected: entry.protected })
        .collect();
    let mut items = Vec::new();
    for (entry, mark) in snapshots.iter().zip(select(&facts, keep, &Local)) {
        items.push(PruneItem {
            backup_type: group.backup_type,
            backup_id: group.id.clone(),
            backup_time: entry.id.time,
            keep: mark.keeps(),
            protected: mark == PruneMark::Protected,
            ns: Some(ns.clone()).filter(|ns| !ns.is_root()),
        });
        if !mark.keeps()
            && !dry_run
            && let Err(error) = store.remove_snapshot(ns, &entry.id, false)
        {
            tracing::warn!(snapshot = %entry.id, %error, "not pruned");
        }
    }
    Ok(items)
}
