//! What travels between a backup server and its peers: the request and response types of the REST API and the
//! constants of the two upgraded protocols.
//!
//! The crate holds no behaviour beyond comparing versions: `server` writes these types, `client` reads them.
//! Keys are kebab-case on the wire; optional keys are left out when unset, the few that are `null` instead say so.

mod access;
mod datastore;
mod envelope;
mod fingerprint;
pub mod protocol;
mod prune;
mod snapshot;
mod sync;
mod task;
mod version;

pub use access::{Domain, Login, PermissionMap, Ticket};
pub use datastore::{
    ActiveOperations, BackendType, Counts, DataStoreListItem, DataStoreStatus, DataStoreUsage, GarbageCollectionReport,
    GcCacheStats, GcStatus, MountStatus, TypeCounts,
};
pub use envelope::{Envelope, ExtjsEnvelope, ExtjsError};
pub use fingerprint::ListingFingerprintAnswer;
pub use prune::{KeepCounts, PruneItem};
pub use snapshot::{
    DeleteStats, GroupListItem, NamespaceListItem, SnapshotFile, SnapshotListItem, Subdirectory, Verification,
};
pub use sync::JobScheduleStatus;
pub use task::{TaskListItem, TaskLogLine, TaskLogPage, TaskStatus};
pub use version::{ReleaseVersion, VersionError, VersionInfo};
