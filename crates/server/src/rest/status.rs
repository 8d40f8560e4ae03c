//! Sizes, counters and running operations of one datastore.

use api_types::{BackendType, Counts, DataStoreStatus, GarbageCollectionReport, GcStatus, TypeCounts};
use config::acl::Privileges;
use datastore::Datastore;
use formats::{BackupType, Namespace, StoreName};

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET status`: sizes for those who may see them, zeros for those with rights further below.
pub(crate) async fn status(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    let root = Namespace::root();
    let sizes = call.privileges(&name, &root).intersects(Privileges::DATASTORE_AUDIT | Privileges::DATASTORE_BACKUP);
    if !sizes && !call.sees_anything_in(&name, &root) {
        return Err(ApiError::forbidden("permission check failed"));
    }
    let store = call.datastore(Purpose::Read)?;
    let verbose = call.params.bool("verbose", false);
    let status = call.state.blocking(move || measure(&store, sizes, verbose)).await??;
    Reply::json(&status)
}

fn measure(store: &Datastore, sizes: bool, verbose: bool) -> Result<DataStoreStatus, ApiError> {
    let (total, used, avail) = if sizes {
        let usage = store.status()?;
        (usage.total, usage.used, usage.avail)
    } else {
        (0, 0, 0)
    };
    let detailed = verbose && sizes;
    Ok(DataStoreStatus {
        total,
        used,
        avail,
        backend_type: BackendType::Filesystem,
        counts: detailed.then(|| counts(store)).transpose()?,
        gc_status: detailed.then(|| last_gc(store)),
    })
}

fn counts(store: &Datastore) -> Result<Counts, ApiError> {
    let mut counts = Counts::default();
    for ns in store.namespaces(&Namespace::root(), None)? {
        for group in store.groups(&ns)? {
            let snapshots = store.snapshots(&ns, &group)?.iter().filter(|snapshot| snapshot.finished).count() as u64;
            let slot = match group.backup_type {
                BackupType::Ct => &mut counts.ct,
                BackupType::Host => &mut counts.host,
                BackupType::Vm => &mut counts.vm,
            };
            let slot: &mut TypeCounts = slot.get_or_insert_default();
            slot.groups += 1;
            slot.snapshots += snapshots;
        }
    }
    Ok(counts)
}

/// Result of the last garbage collection, all zero when there was none or its record is unreadable.
pub(crate) fn last_gc(store: &Datastore) -> GcStatus {
    let record = std::fs::read(store.path().join(".gc-status")).unwrap_or_default();
    serde_json::from_slice(&record).unwrap_or_default()
}

/// `GET gc`.
pub(crate) async fn garbage_collection(call: Call) -> Result<Reply, ApiError> {
    let store = call.datastore(Purpose::Read)?;
    let schedule = call.state.stores.config(store.name())?.gc_schedule;
    let report = call
        .state
        .blocking(move || GarbageCollectionReport {
            store: store.name().clone(),
            schedule,
            next_run: None,
            status: last_gc(&store),
        })
        .await?;
    Reply::json(&report)
}

/// `GET active-operations`.
pub(crate) async fn active_operations(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    call.state.stores.config(&name)?;
    Reply::json(&call.state.stores.operations(&name).counts())
}
