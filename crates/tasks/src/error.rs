//! What can go wrong with the files of tasks.

use std::io;
use std::path::{Path, PathBuf};

use formats::{JobId, Upid};

use crate::control::ControlError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process kept the lock of the index for too long.
    #[error("{} is locked by another process for more than {seconds} seconds; try again", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The task is in the hands of another process.
    #[error("task {0} is running already")]
    Running(Box<Upid>),
    /// The task runs, but nobody takes requests to it.
    #[error("task {0} takes no requests, although it runs")]
    Deaf(Box<Upid>),
    /// The task was asked and did not do it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no log of that task.
    #[error("there is no log of task {0}")]
    NoLog(Box<Upid>),
    /// A run of the job is asked for already and has not begun.
    #[error("a run of job '{0}' is asked for already")]
    Requested(JobId),
    /// A request that is none.
    #[error("{} is no request for a run: {reason}", path.display())]
    BadRequest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl TaskError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
