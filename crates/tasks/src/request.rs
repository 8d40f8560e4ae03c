//! Runs that were asked for over the API and wait for the scheduler.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use formats::{AuthId, JobId, Upid};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::index::{MODE, make_dir};

/// A run of a job that somebody asked for: the file `syncjob-ID` in the directory of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRequest {
    /// The name the run is going to have.
    pub upid: Upid,
    /// Who asked.
    pub auth_id: AuthId,
}

impl RunRequest {
    /// The file of a request for a run of `job`.
    pub fn path(requests: &Path, job: &JobId) -> PathBuf {
        requests.join(format!("syncjob-{job}"))
    }

    /// Writes the request, all of it at once.
    ///
    /// # Errors
    /// [`TaskError::Requested`] when one waits already; or the file cannot be written.
    pub fn write(&self, requests: &Path, job: &JobId) -> Result<(), TaskError> {
        let path = Self::path(requests, job);
        make_dir(requests)?;
        let mut file = tempfile::Builder::new()
            .prefix(".request.")
            .permissions(fs::Permissions::from_mode(MODE))
            .tempfile_in(requests)
            .map_err(TaskError::io("write", &path))?;
        serde_json::to_writer(&mut file, self)
            .map_err(io::Error::from)
            .and_then(|()| file.flush())
            .map_err(TaskError::io("write", &path))?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(TaskError::Requested(job.clone())),
            Err(error) => Err(TaskError::io("write", &path)(error.error)),
        }
    }

    /// Reads the request for a run of `job`, if there is one.
    ///
    /// # Errors
    /// The file cannot be read or is no request.
    pub fn read(requests: &Path, job: &JobId) -> Result<Option<Self>, TaskError> {
        Self::read_file(&Self::path(requests, job))
    }

    /// Takes the request for a run of `job` away. It is no error when there is none.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(requests: &Path, job: &JobId) -> Result<(), TaskError> {
        let path = Self::path(requests, job);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TaskError::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// All requests that wait, by job. What is no request is left out, and told in the log of this program.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(requests: &Path) -> Result<Vec<(JobId, Self)>, TaskError> {
        let entries = match fs::read_dir(requests) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(TaskError::io("read", requests)(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(TaskError::io("read", requests))?;
            let name = entry.file_name();
            let job: Option<JobId> =
                name.to_str().and_then(|name| name.strip_prefix("syncjob-")).and_then(|id| id.parse().ok());
            let Some(job) = job else { continue };
            match Self::read_file(&entry.path()) {
                Ok(Some(request)) => all.push((job, request)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a request for a run is not readable"),
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn read_file(path: &Path) -> Result<Option<Self>, TaskError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| TaskError::BadRequest { path: path.to_owned(), reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TaskError::io("read", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{new_upid, superuser};

    #[test]
    fn a_request_is_written_once_listed_read_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let requests = dir.path().join("requests");
        let job: JobId = "nightly".parse().unwrap();
        let auth_id: AuthId = "a@pbs!t".parse().unwrap();
        let request = RunRequest { upid: new_upid("syncjob", None, auth_id.clone()), auth_id };
        assert_eq!(RunRequest::all(&requests).unwrap(), []);

        request.write(&requests, &job).unwrap();
        fs::write(requests.join("syncjob-broken"), "{}").unwrap();

        let second = RunRequest { upid: new_upid("syncjob", None, superuser()), auth_id: superuser() };
        assert!(matches!(second.write(&requests, &job), Err(TaskError::Requested(_))));
        let text = fs::read_to_string(requests.join("syncjob-nightly")).unwrap();
        assert_eq!(text, serde_json::json!({"upid": request.upid, "auth-id": "a@pbs!t"}).to_string());
        assert_eq!(RunRequest::all(&requests).unwrap(), [(job.clone(), request.clone())]);
        assert_eq!(RunRequest::read(&requests, &job).unwrap(), Some(request));

        RunRequest::remove(&requests, &job).unwrap();
        RunRequest::remove(&requests, &job).unwrap();
        assert_eq!(RunRequest::read(&requests, &job).unwrap(), None);
    }
}
