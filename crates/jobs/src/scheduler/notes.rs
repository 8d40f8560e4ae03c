//! The scheduler's own file: what it remembers from tick to tick.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use config::{ConfigError, Paths};
use formats::JobId;
use serde::{Deserialize, Serialize};

use super::memory::Memory;

/// Mode of the file: not secret, and monitoring may read it.
const MODE: u32 = 0o644;

/// Everything the scheduler remembers. Losing it loses no run: states of jobs are elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Notes {
    /// What is remembered of each job.
    pub(crate) jobs: BTreeMap<JobId, Memory>,
    /// Problems that were told, so that each is told once and not every minute.
    pub(crate) told: Vec<String>,
    /// When the logs of old tasks were last cleared away.
    pub(crate) tidied: i64,
}

impl Notes {
    /// Reads the file. One that is missing or damaged is as good as empty; damage is returned as a sentence.
    pub(crate) fn load(paths: &Paths) -> (Self, Option<String>) {
        let path = paths.scheduler_notes();
        let read = config::read_if_there(&path).map_err(|error| crate::sync::chain(&error));
        let parsed = read.and_then(|bytes| match bytes {
            None => Ok(Self::default()),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("{} is damaged and will be made anew: {error}", path.display())),
        });
        match parsed {
            Ok(notes) => (notes, None),
            Err(problem) => (Self::default(), Some(problem)),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// It cannot be written; then it is as it was.
    pub(crate) fn save(&self, paths: &Paths) -> Result<(), ConfigError> {
        let path = paths.scheduler_notes();
        let failed = |action, path, source| ConfigError::Io { action, path, source };
        fs::create_dir_all(paths.state()).map_err(|error| failed("create", paths.state().to_owned(), error))?;
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| failed("write", path.clone(), io::Error::other(error)))?;
        bytes.push(b'\n');
        config::replace_file(&path, &bytes, MODE)
    }
}
