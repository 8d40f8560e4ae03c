//! One job never runs twice at once.
//!
//! A run holds an exclusive `flock` on its lock file from start to end. The kernel drops it with the process, however
//! that ends, so there is nothing to clean up and the file itself stays.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::Paths;
use formats::JobId;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum JobLockError {
    /// Another process runs the job.
    #[error("job `{job}` is already running")]
    Running {
        /// Id of the job.
        job: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Held while a job runs.
#[derive(Debug)]
pub struct JobLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

impl JobLock {
    /// Takes the lock of a sync job of this installation, without waiting.
    ///
    /// # Errors
    /// As [`JobLock::acquire`].
    pub fn of(paths: &Paths, id: &JobId) -> Result<Self, JobLockError> {
        Self::acquire(&paths.run().join("locks"), "syncjob", id.as_str())
    }

    /// Takes the lock of job `job` of kind `kind` below `locks`, without waiting.
    ///
    /// # Errors
    /// [`JobLockError::Running`] when another process, or another run in this one, has it.
    pub fn acquire(locks: &Path, kind: &str, job: &str) -> Result<Self, JobLockError> {
        let directory = locks.join("jobs");
        let path = directory.join(format!("{kind}-{job}.lck"));
        let failed = |source| JobLockError::Io { path: path.clone(), source };
        fs::create_dir_all(&directory).map_err(failed)?;
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o660).open(&path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(JobLockError::Running { job: job.to_owned() }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_once_at_a_time_and_again_afterwards() {
        let dir = tempfile::tempdir().unwrap();

        let first = JobLock::acquire(dir.path(), "syncjob", "nightly").unwrap();
        let second = JobLock::acquire(dir.path(), "syncjob", "nightly").unwrap_err();
        assert_eq!(second.to_string(), "job `nightly` is already running");
        JobLock::acquire(dir.path(), "syncjob", "hourly").unwrap();

        drop(first);
        JobLock::acquire(dir.path(), "syncjob", "nightly").unwrap();
    }
}
