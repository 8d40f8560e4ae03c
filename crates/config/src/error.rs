//! What can go wrong with a configuration file, always with the file's name.

use std::{
    io,
    path::{Path, PathBuf},
};

use section_config::{ReadError, WriteError};

/// An error of this crate. The cause of [`Io`](Self::Io) is its source and not part of its text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process kept the lock for too long.
    #[error("{} is locked by another process for more than {seconds} seconds; try again", path.display())]
    LockTimeout {
        /// The locked file (not the lock file).
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The file changed since the caller read it.
    #[error("{} was changed by somebody else (digest differs); read it again and repeat the change", path.display())]
    DigestMismatch {
        /// The file.
        path: PathBuf,
    },
    /// A line of a file is wrong, and what was asked for needs it.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number from 1; 0 if the whole file is meant.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is no such entry.
    #[error("{what} `{id}` does not exist (in {})", path.display())]
    NotFound {
        /// Kind of entry, such as `remote`.
        what: &'static str,
        /// Its name.
        id: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is such an entry already.
    #[error("{what} `{id}` already exists (in {})", path.display())]
    Exists {
        /// Kind of entry.
        what: &'static str,
        /// Its name.
        id: String,
        /// Where it stands.
        path: PathBuf,
    },
    /// The entry is needed by another one.
    #[error("{what} `{id}` is used by {user}")]
    InUse {
        /// Kind of entry.
        what: &'static str,
        /// Its name.
        id: String,
        /// What uses it.
        user: String,
    },
    /// A given value does not fit its property.
    #[error("`{property}`: {reason}")]
    Invalid {
        /// The property.
        property: String,
        /// Why it does not fit.
        reason: String,
    },
    /// Something that cannot be done, for a reason other than a single property.
    #[error("{0}")]
    Refused(String),
}

/// Shorthand for results of this crate.
pub type Result<T, E = ConfigError> = std::result::Result<T, E>;

impl ConfigError {
    /// Says whether the named entry is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Says whether the entry is there already.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }

    /// Says whether the file changed under the caller, who should read it again.
    pub fn is_digest_mismatch(&self) -> bool {
        matches!(self, Self::DigestMismatch { .. })
    }

    /// Says whether the caller gave something that cannot be taken (as opposed to a broken file or disk).
    pub fn is_callers_fault(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::LockTimeout { .. } | Self::Line { .. })
    }

    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn invalid(property: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { property: property.into(), reason: reason.into() }
    }

    pub(crate) fn line(path: &Path, line: usize, reason: impl ToString) -> Self {
        Self::Line { path: path.to_owned(), line, reason: reason.to_string() }
    }

    /// A property of a section that was read from `path`.
    pub(crate) fn property(path: &Path, error: ReadError) -> Self {
        let reason = match &error.key {
            Some(key) => format!("property `{key}`: {}", error.reason),
            None => error.reason,
        };
        Self::line(path, error.line, reason)
    }
}

impl From<WriteError> for ConfigError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Value { ref key } => Self::invalid(key.clone(), "control characters, or blanks at its ends"),
            other => Self::Refused(other.to_string()),
        }
    }
}
