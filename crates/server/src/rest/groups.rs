//! Groups.

use api_types::{DeleteStats, GroupListItem};
use datastore::{Datastore, RemovalStats};
use formats::{GroupId, Namespace};

use super::call::{Call, OwnerCheck};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET groups`: one namespace level; foreign groups are left out for callers with the lesser privilege.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let (ns, check) = (call.namespace()?, call.owner_check()?);
    let store = call.datastore(Purpose::Read)?;
    let items = call.state.blocking(move || items(&store, &ns, &check)).await??;
    Reply::json(&items)
}

fn items(store: &Datastore, ns: &Namespace, check: &OwnerCheck) -> Result<Vec<GroupListItem>, ApiError> {
    let mut items = Vec::new();
    for group in store.groups(ns)? {
        let Some(owner) = readable_owner(store, ns, &group)? else { continue };
        if check.passes(&owner) {
            items.push(item(store, ns, group, owner)?);
        }
    }
    Ok(items)
}

/// The owner of a group that was just listed; `None` when the group has gone meanwhile or has no owner yet.
pub(crate) fn readable_owner(
    store: &Datastore,
    ns: &Namespace,
    group: &GroupId,
) -> Result<Option<formats::AuthId>, ApiError> {
    match store.owner(ns, group) {
        Ok(owner) => Ok(Some(owner)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => match store.snapshots(ns, group) {
            // Without snapshots there is nothing to miss in a list.
            Ok(snapshots) if snapshots.is_empty() => Ok(None),
            _ => Err(error.into()),
        },
    }
}

fn item(store: &Datastore, ns: &Namespace, group: GroupId, owner: formats::AuthId) -> Result<GroupListItem, ApiError> {
    let snapshots = store.snapshots(ns, &group)?;
    let newest = snapshots.iter().filter(|snapshot| snapshot.finished).max_by_key(|snapshot| snapshot.id.time);
    let newest = newest.or(match &snapshots[..] {
        [only] => Some(only),
        _ => None,
    });
    let files = match newest {
        Some(newest) => store.snapshot_files(ns, &newest.id).or_else(|error| match error.is_not_found() {
            true => Ok(Vec::new()),
            false => Err(error),
        })?,
        None => Vec::new(),
    };
    let notes = store.group_notes(ns, &group)?;
    Ok(GroupListItem {
        last_backup: newest.map_or(0, |newest| newest.id.time.unix()),
        backup_count: snapshots.len() as u64,
        files,
        owner: Some(owner),
        comment: first_line(&notes),
        backup_type: group.backup_type,
        backup_id: group.id,
    })
}

/// The first line of notes, if there are any.
pub(crate) fn first_line(notes: &str) -> Option<String> {
    notes.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
}

/// `DELETE groups`.
pub(crate) async fn remove(call: Call) -> Result<Reply, ApiError> {
    let (ns, group, check) = (call.namespace()?, call.params.group()?, call.owner_check()?);
    let strict = call.params.bool("error-on-protected", true);
    let store = call.datastore(Purpose::Write)?;
    let stats = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &group)?;
            Ok::<_, ApiError>(store.remove_group(&ns, &group)?)
        })
        .await??;
    if strict && stats.protected_snapshots > 0 {
        let text = format!("group not removed, {} of its snapshots are protected", stats.protected_snapshots);
        return Err(ApiError::bad_request(text));
    }
    Reply::json(&delete_stats(&stats))
}

/// What a removal did, as peers want it.
pub(crate) fn delete_stats(stats: &RemovalStats) -> DeleteStats {
    DeleteStats {
        removed_groups: stats.groups,
        removed_snapshots: stats.snapshots,
        protected_snapshots: stats.protected_snapshots,
    }
}
