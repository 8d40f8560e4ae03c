//! Protection of snapshots from removal.

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET protected`: false also for a snapshot that does not exist.
pub(crate) async fn get(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let store = call.datastore(Purpose::Read)?;
    let protected = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            match store.protected(&ns, &snapshot) {
                Err(error) if error.is_not_found() => Ok(false),
                protected => Ok::<_, ApiError>(protected?),
            }
        })
        .await??;
    Reply::json(&protected)
}

/// `PUT protected`.
pub(crate) async fn set(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let protected = call.params.bool("protected", false);
    let store = call.datastore(Purpose::Write)?;
    call.state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            Ok::<_, ApiError>(store.set_protected(&ns, &snapshot, protected)?)
        })
        .await??;
    Ok(Reply::null())
}
