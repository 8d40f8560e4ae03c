//! The configuration of a server: typed files, read as they are and replaced as a whole.
//!
//! Every file is read anew when asked for, a missing one is empty, and a broken section is reported with file and line
//! while the others work on. A change happens under the file's lock, checks the digest the caller has seen, and
//! replaces the file by an atomic rename; of the bytes it changes only the section it is about.
//!
//! Secrets (`remote.cfg`, `shadow.json`, `token.shadow`, keys) are readable by their owner alone.

mod byte_size;
pub mod datastores;
mod error;
mod files;
mod paths;
pub mod remotes;
mod store;
pub mod sync_jobs;

pub use byte_size::{BadByteSize, ByteSize};
pub use datastores::DatastoreConfig;
pub use error::{ConfigError, Result};
pub use files::{BadDigest, ConfigDigest};
pub use paths::Paths;
pub use remotes::RemoteConfig;
pub use store::{Entry, Loaded, Problem, from_pairs, patch};
pub use sync_jobs::{SyncDirection, SyncJobConfig};
