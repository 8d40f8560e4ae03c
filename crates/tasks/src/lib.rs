//! Tasks: whatever takes a while and is asked about later has a name, a log, and a line in an index.
//!
//! The files are those of a stock server (`docs/formats.md`, "Task logs"): a log per task, the tasks that run in `active`,
//! the others in `archive`. Whoever runs a task holds a lock on its log from start to end, which the kernel drops
//! however the process ends; so a task that died is never taken for one that runs.
//!
//! [`control`] is how a running task is spoken to, [`RunRequest`] how one is asked for.

pub mod control;
mod end;
mod error;
mod index;
mod line;
mod list;
mod log;
mod name;
mod request;
mod rotate;
mod store;

pub use end::{EndKind, TaskEnd};
pub use error::TaskError;
pub use list::{Filter, TaskEntry, store_of};
pub use log::TaskLog;
pub use name::{new_upid, node_name, now, superuser};
pub use request::RunRequest;
pub use rotate::Retention;
pub use store::{LogPage, Stopping, TaskStatus, TaskStore};
