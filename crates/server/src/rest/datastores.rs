//! The datastores as a list.

use api_types::{BackendType, DataStoreListItem, DataStoreUsage, MountStatus};
use config::acl::Privileges;
use config::datastores::DatastoreConfig;
use formats::Namespace;

use super::call::Call;
use super::status::last_gc;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// How much of a datastore a caller sees in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// All of it.
    Full,
    /// That it exists: the caller has privileges on a namespace in it.
    Name,
}

/// `GET /admin/datastore`: those the caller may see.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let mut items = Vec::new();
    for store in call.state.stores.configured()?.iter() {
        let Some(sight) = sight(&call, store) else { continue };
        items.push(DataStoreListItem {
            store: store.name.clone(),
            comment: store.comment.clone().filter(|_| sight == Sight::Full),
            mount_status: MountStatus::NonRemovable,
            maintenance: store.maintenance_mode.clone(),
            backend_type: BackendType::Filesystem,
        });
    }
    Reply::json(&items)
}

fn sight(call: &Call, store: &DatastoreConfig) -> Option<Sight> {
    let audit = Privileges::DATASTORE_AUDIT | Privileges::DATASTORE_BACKUP;
    if call.privileges(&store.name, &Namespace::root()).intersects(audit) {
        return Some(Sight::Full);
    }
    call.sees_anything_in(&store.name, &Namespace::root()).then_some(Sight::Name)
}

/// `GET /status/datastore-usage`: sizes of those the caller may see.
pub(crate) async fn usage(call: Call) -> Result<Reply, ApiError> {
    let mut items = Vec::new();
    for store in call.state.stores.configured()?.iter() {
        let Some(sight) = sight(&call, store) else { continue };
        let mut item = DataStoreUsage {
            store: store.name.clone(),
            total: None,
            used: None,
            avail: None,
            mount_status: MountStatus::NonRemovable,
            backend_type: BackendType::Filesystem,
            history: None,
            history_start: None,
            history_delta: None,
            error: None,
            gc_status: None,
        };
        if sight == Sight::Full {
            match measure(&call, store).await {
                Ok((status, gc)) => {
                    item.total = Some(status.total);
                    item.used = Some(status.used);
                    item.avail = Some(status.avail);
                    item.gc_status = Some(gc);
                }
                Err(error) => item.error = Some(error.message),
            }
        }
        items.push(item);
    }
    Reply::json(&items)
}

async fn measure(call: &Call, store: &DatastoreConfig) -> Result<(datastore::FsUsage, api_types::GcStatus), ApiError> {
    let opened = call.state.stores.open(&store.name, Purpose::Read)?;
    call.state.blocking(move || Ok::<_, ApiError>((opened.status()?, last_gc(&opened)))).await?
}
