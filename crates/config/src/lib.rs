//! The configuration of a server: typed files, read as they are and replaced as a whole.
//!
//! Every file is read anew when asked for, a missing one is empty, and a broken section is reported with file and line
//! while the others work on. A change happens under the file's lock, checks the digest the caller has seen, and
//! replaces the file by an atomic rename; of the bytes it changes only the section it is about.
//!
//! Secrets (`remote.cfg`, `shadow.json`, `token.shadow`, keys) are readable by their owner alone.

mod access;
pub mod acl;
mod byte_size;
pub mod cert;
mod chain;
pub mod check;
pub mod datastores;
pub mod encryption_keys;
mod error;
mod files;
mod hashes;
pub mod keys;
mod notify;
mod paths;
pub mod pbs;
mod rate_schedule;
pub mod remotes;
mod run_condition;
mod secrets;
pub mod server_conf;
pub mod state;
mod store;
pub mod sync_jobs;
pub mod users;

pub use access::{AccessCache, AccessControl};
pub use byte_size::{BadByteSize, ByteSize};
pub use chain::circles;
pub use datastores::DatastoreConfig;
pub use encryption_keys::EncryptionKeyConfig;
pub use error::{ConfigError, Result};
pub use files::{BadDigest, ConfigDigest, read_if_there, replace_file, swap_file};
pub use notify::{NotifyConf, NotifyOn, SmtpServer, SmtpTls};
pub use paths::Paths;
pub use rate_schedule::{BadSchedule, RateAt, RateSchedule};
pub use remotes::RemoteConfig;
pub use run_condition::{BadCondition, RunCondition};
pub use server_conf::ServerConf;
pub use store::{Entry, Loaded, Problem, from_pairs, patch, properties};
pub use sync_jobs::{Consequence, SyncDirection, SyncJobConfig, TransferMode, TransferOrder};
pub use users::{TokenConfig, UserConfig};
