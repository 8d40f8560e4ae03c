//! Notes of groups and snapshots.

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET notes`.
pub(crate) async fn snapshot_notes(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let store = call.datastore(Purpose::Read)?;
    let notes = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            let (manifest, _) = store.manifest(&ns, &snapshot)?;
            Ok::<_, ApiError>(manifest.notes().unwrap_or_default().to_owned())
        })
        .await??;
    Reply::json(&notes)
}

/// `PUT notes`.
pub(crate) async fn set_snapshot_notes(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let notes = call.params.text("notes")?.to_owned();
    let store = call.datastore(Purpose::Write)?;
    call.state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            store.update_manifest(&ns, &snapshot, |manifest| {
                manifest.set_notes(&notes);
                Ok(())
            })?;
            Ok::<_, ApiError>(())
        })
        .await??;
    Ok(Reply::null())
}

/// `GET group-notes`: empty for a group that does not exist.
pub(crate) async fn group_notes(call: Call) -> Result<Reply, ApiError> {
    let (ns, group, check) = (call.namespace()?, call.params.group()?, call.owner_check()?);
    let store = call.datastore(Purpose::Read)?;
    let notes = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &group)?;
            match store.group_notes(&ns, &group) {
                Err(error) if error.is_not_found() => Ok(String::new()),
                notes => Ok::<_, ApiError>(notes?),
            }
        })
        .await??;
    Reply::json(&notes)
}

/// `PUT group-notes`.
pub(crate) async fn set_group_notes(call: Call) -> Result<Reply, ApiError> {
    let (ns, group, check) = (call.namespace()?, call.params.group()?, call.owner_check()?);
    let notes = call.params.text("notes")?.to_owned();
    let store = call.datastore(Purpose::Write)?;
    call.state
        .blocking(move || {
            check.check(&store, &ns, &group)?;
            Ok::<_, ApiError>(store.set_group_notes(&ns, &group, &notes)?)
        })
        .await??;
    Ok(Reply::null())
}
