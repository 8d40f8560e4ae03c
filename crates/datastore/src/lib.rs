//! A datastore on disk: chunk store, snapshot directories, locks, insert and commit, removal, verification, prune selection.
//!
//! The disk format and the locks are those of Proxmox Backup Server (`docs/formats.md`), so both can work on one disk. Promises:
//! * a snapshot appears complete or not at all, whatever dies ([`StagedSnapshot`]);
//! * what is written survives a loss of power as far as the configured [`SyncLevel`] says;
//! * several processes never hurt each other: group, snapshot and manifest locks, a process lock, a writer registry;
//! * a directory that cannot be read is an error, never a shorter list.
//!
//! Calls block on the disk unless they are `async`; async callers wrap them in `spawn_blocking`. This crate knows no network and
//! reads no configuration of ours.

mod chunks;
mod create;
mod error;
mod fault;
mod files;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod groups;
mod listing;
mod locks;
mod namespaces;
pub mod prune;
mod remove;
mod snapshots;
mod stage;
mod stamp;
mod store;
mod verify;

pub use chunks::{ChunkStore, Inserted};
pub use create::{CreateOptions, refuse_other_name};
pub use error::{DatastoreError, Result};
#[cfg(any(test, feature = "fixtures"))]
pub use fault::{FaultPoint, install as install_fault_point};
pub use listing::{ManifestHashes, Viewer};
pub use locks::{GroupLock, SnapshotLock, Writer, WriterGuard};
pub use remove::RemovalStats;
pub use snapshots::SnapshotEntry;
pub use stage::StagedSnapshot;
pub use stamp::FileStamp;
pub use store::{Datastore, FsUsage, StoreConfig, SyncLevel};
pub use verify::{VerifyCache, VerifyProblem, VerifyReport};

/// Runs blocking work on the runtime's pool for it; a panic there goes on here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(DatastoreError::Refused("the program is shutting down".to_owned())),
        },
    }
}
