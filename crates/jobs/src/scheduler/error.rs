//! What keeps the scheduler from its work.

use std::io;
use std::path::PathBuf;

use config::ConfigError;

/// What keeps a whole tick from being done. What concerns one job is told in the report.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The lock of the scheduler cannot be used.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}
