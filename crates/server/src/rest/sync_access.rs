//! Who may see, change and run which sync job.

use config::acl::Privileges;
use config::{SyncDirection, SyncJobConfig, TransferMode};

use super::call::Call;
use crate::http::error::ApiError;

/// Whether the caller may see a job: both of its ends.
pub(crate) fn sees(call: &Call, job: &SyncJobConfig) -> Result<bool, ApiError> {
    let (caller, rights) = (call.identity()?, call.rights());
    let here = rights.on_datastore(caller, &job.store, &job.ns()).intersects(Privileges::DATASTORE_AUDIT);
    let there = match (&job.remote, job.direction()) {
        (None, _) => {
            rights.on_datastore(caller, &job.remote_store, &job.remote_ns()).intersects(Privileges::DATASTORE_AUDIT)
        }
        (Some(remote), SyncDirection::Pull) => rights.on_remote(caller, remote).intersects(Privileges::REMOTE_AUDIT),
        (Some(remote), SyncDirection::Push) => rights
            .on_remote_store(caller, remote, &job.remote_store, &job.remote_ns())
            .intersects(Privileges::REMOTE_AUDIT),
    };
    Ok(here && there)
}

/// Asks for the right to see a job.
///
/// # Errors
/// 403.
pub(crate) fn check_seen(call: &Call, job: &SyncJobConfig) -> Result<(), ApiError> {
    allowed(sees(call, job)?)
}

/// Asks for the right to make, change, remove or run a job: all that the job does, its caller could do.
///
/// # Errors
/// 403.
pub(crate) fn check_modify(call: &Call, job: &SyncJobConfig) -> Result<(), ApiError> {
    let (caller, rights) = (call.identity()?, call.rights());
    let here = rights.on_datastore(caller, &job.store, &job.ns());
    let may_here = |privilege: Privileges| here.intersects(privilege);
    let removes = job.mode() == TransferMode::Sync;
    let moves = job.mode() == TransferMode::Move;
    let for_others = may_here(Privileges::DATASTORE_MODIFY) || caller.owns(&job.owner());
    allowed(match job.direction() {
        SyncDirection::Pull => {
            may_here(Privileges::DATASTORE_AUDIT)
                && may_here(Privileges::DATASTORE_BACKUP)
                && (!removes || may_here(Privileges::DATASTORE_PRUNE))
                && for_others
                && may_use_source(call, job, moves)?
        }
        SyncDirection::Push => {
            let Some(remote) = &job.remote else { return allowed(false) };
            let there = rights.on_remote_store(caller, remote, &job.remote_store, &job.remote_ns());
            may_here(Privileges::DATASTORE_AUDIT)
                && (may_here(Privileges::DATASTORE_READ) || (may_here(Privileges::DATASTORE_BACKUP) && for_others))
                && (!moves || may_here(Privileges::DATASTORE_PRUNE))
                && there.intersects(Privileges::REMOTE_DATASTORE_BACKUP)
                && (!removes || there.intersects(Privileges::REMOTE_DATASTORE_PRUNE))
        }
    })
}

/// Whether the caller may read what a pull reads, and remove it where the pull moves it. A job between two datastores
/// reads groups of any owner.
fn may_use_source(call: &Call, job: &SyncJobConfig, moves: bool) -> Result<bool, ApiError> {
    let (caller, rights) = (call.identity()?, call.rights());
    let (held, read, prune) = match &job.remote {
        Some(remote) => (
            rights.on_remote_store(caller, remote, &job.remote_store, &job.remote_ns()),
            Privileges::REMOTE_READ,
            Privileges::REMOTE_DATASTORE_PRUNE,
        ),
        None => (
            rights.on_datastore(caller, &job.remote_store, &job.remote_ns()),
            Privileges::DATASTORE_READ,
            Privileges::DATASTORE_PRUNE,
        ),
    };
    Ok(held.intersects(read) && (!moves || held.intersects(prune)))
}

fn allowed(allowed: bool) -> Result<(), ApiError> {
    if allowed { Ok(()) } else { Err(ApiError::forbidden("permission check failed")) }
}
