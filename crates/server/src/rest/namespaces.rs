//! Namespaces.

use api_types::NamespaceListItem;
use config::acl::Privileges;
use formats::{Namespace, StoreName};

use super::call::Call;
use super::groups::delete_stats;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET namespace`: the parent itself, then what is below it, as far as the caller may see.
///
/// A parent that does not exist is listed alone; `groups` and `snapshots` are where its absence shows.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    let parent = call.params.namespace("parent")?;
    let depth = call.params.opt_uint("max-depth").and_then(|depth| usize::try_from(depth).ok());
    let refuse = || ApiError::forbidden("permission check failed");
    if !call.sees_anything_in(&name, &parent) {
        return Err(refuse());
    }
    let store = call.datastore(Purpose::Read)?;
    let anchor = parent.clone();
    let found = call.state.blocking(move || store.namespaces(&anchor, depth)).await?;
    let found = match found {
        Err(error) if error.is_not_found() => vec![parent.clone()],
        found => found?,
    };
    let visible: Vec<NamespaceListItem> = found
        .into_iter()
        .filter(|ns| call.privileges(&name, ns).intersects(Privileges::DATASTORE_ANY))
        .map(|ns| NamespaceListItem { ns, comment: None })
        .collect();
    if visible.is_empty() { Err(refuse()) } else { Reply::json(&visible) }
}

/// `POST namespace`: one that exists is fine, a parent that does not is not.
pub(crate) async fn create(call: Call) -> Result<Reply, ApiError> {
    let store_name: StoreName = call.params.parse("store")?;
    let parent = call.params.namespace("parent")?;
    call.require(&store_name, &parent, Privileges::DATASTORE_MODIFY)?;
    let name = call.params.text("name")?.to_owned();
    parent.join(&name).map_err(|error| ApiError::parameter("name", error))?;
    let store = call.datastore(Purpose::Write)?;
    let created = call.state.blocking(move || store.create_namespace(&parent, &name)).await??;
    Reply::json(&created)
}

/// `DELETE namespace`: with everything below it. What does not exist counts as removed.
pub(crate) async fn remove(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    let ns: Namespace = call.params.namespace("ns")?;
    let Some(parent) = ns.parent() else {
        return Err(ApiError::bad_request("the root namespace cannot be removed"));
    };
    call.require(&name, &parent, Privileges::DATASTORE_MODIFY)?;
    let groups = call.params.bool("delete-groups", false);
    let strict = call.params.bool("error-on-protected", true);
    let store = call.datastore(Purpose::Write)?;
    let removed = ns.clone();
    let (stats, left) = call
        .state
        .blocking(move || {
            let stats = store.remove_namespace(&removed, groups)?;
            Ok::<_, ApiError>((stats, store.namespace_exists(&removed)?))
        })
        .await??;
    if left && strict {
        let why = if stats.protected_snapshots > 0 { "it holds protected snapshots" } else { "it still holds groups" };
        return Err(ApiError::bad_request(format!("namespace '{ns}' not removed: {why}")));
    }
    Reply::json(&delete_stats(&stats))
}
