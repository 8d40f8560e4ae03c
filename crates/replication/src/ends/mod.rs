//! The real ends: a datastore on this machine, and one at a remote.

mod local_source;
mod local_target;
mod remote_source;
mod remote_target;

pub use local_source::LocalSource;
pub use local_target::LocalTarget;
pub use remote_source::RemoteSource;
pub use remote_target::RemoteTarget;

use client::ClientError;
use datastore::DatastoreError;

use crate::error::{EndError, ErrorClass};

/// Says what an error of the local datastore means for a run.
impl From<DatastoreError> for EndError {
    fn from(error: DatastoreError) -> Self {
        if error.is_busy() {
            return EndError::retry("somebody else works on it")
                .caused_by(error)
                .with_hint("a backup, prune or another sync holds the lock; the next run tries again");
        }
        if error.is_out_of_space() {
            return EndError::stop("the disk is full").caused_by(error).with_hint("make room and run again");
        }
        EndError::skip("the datastore refused").caused_by(error)
    }
}

/// Says what an error of a remote means for a run.
impl From<ClientError> for EndError {
    fn from(error: ClientError) -> Self {
        let class = match error.class() {
            client::ErrorClass::Retry => ErrorClass::Retry,
            client::ErrorClass::Skip => ErrorClass::Skip,
            client::ErrorClass::Stop => ErrorClass::Stop,
        };
        let hint = error.hint();
        let end = EndError::new(class, "the remote failed").caused_by(error);
        match hint {
            Some(hint) => end.with_hint(hint),
            None => end,
        }
    }
}
