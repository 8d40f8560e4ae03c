//! Who may do what to a datastore at the same time.
//!
//! Three kinds of lock, none of which sees the others:
//! * the process lock ([`process`]): a record lock on the datastore's own `.lock`, so that it binds everybody who mounts the path;
//! * the writer registry ([`writers`]): since when which process writes, for garbage collection;
//! * object locks ([`object`]): one empty file per group, snapshot and manifest in the lock directory.
//!
//! Order, where one operation takes several: group, snapshot, manifest. Only the manifest lock is waited for.

pub(crate) mod object;
pub(crate) mod process;
pub(crate) mod writers;

pub use object::{GroupLock, SnapshotLock};
pub use process::WriterGuard;
pub use writers::Writer;
