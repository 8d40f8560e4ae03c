//! What is remembered of a job between its runs: one small file, in the form a stock server keeps it.
//!
//! `syncjob-ID.json` holds one of `{"created":{"time":T}}`, `{"started":{"upid":U}}` and
//! `{"finished":{"upid":U,"state":S,"updated":T|null}}`, where S is `{"OK":{"endtime":T}}`,
//! `{"Warning":{"count":N,"endtime":T}}`, `{"Error":{"message":M,"endtime":T}}` or `{"Unknown":{"endtime":T}}`.

use std::fs;
use std::io;
use std::path::PathBuf;

use config::{ConfigError, Paths};
use formats::{JobId, Upid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Mode of state files: not secret, and monitoring may read them.
const MODE: u32 = 0o644;

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It has not run since it was made, or since its file was lost.
    Created {
        /// When.
        time: i64,
    },
    /// It runs, or died while it did.
    Started {
        /// Name of the run.
        upid: Upid,
    },
    /// Its last run has ended.
    Finished {
        /// Name of the run.
        upid: Upid,
        /// How it ended.
        state: EndState,
        /// When its schedule was changed since.
        updated: Option<i64>,
    },
    /// Nothing is known.
    Unknown,
}

/// How a run ended, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndState {
    /// Well.
    #[serde(rename = "OK")]
    Ok {
        /// When.
        endtime: i64,
    },
    /// Well, with something to look at.
    Warning {
        /// How many warnings.
        count: u64,
        /// When.
        endtime: i64,
    },
    /// Not well.
    Error {
        /// Why.
        message: String,
        /// When.
        endtime: i64,
    },
    /// Nobody knows how: its process died.
    Unknown {
        /// When, at a guess.
        endtime: i64,
    },
}

impl EndState {
    /// When the run ended.
    pub fn endtime(&self) -> i64 {
        match self {
            Self::Ok { endtime }
            | Self::Warning { endtime, .. }
            | Self::Error { endtime, .. }
            | Self::Unknown { endtime } => *endtime,
        }
    }

    /// Whether everything possible was done: a run with warnings counts as good.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Ok { .. } | Self::Warning { .. })
    }
}

impl JobState {
    /// The moment after which the next event of the schedule is due (sync.md 5.2): the creation, the start of the last
    /// run, or the last change of the schedule.
    pub fn reference(&self) -> Option<i64> {
        match self {
            Self::Created { time } => Some(*time),
            Self::Started { upid } => Some(upid.start_time),
            Self::Finished { upid, updated, .. } => Some(updated.unwrap_or(upid.start_time)),
            Self::Unknown => None,
        }
    }

    /// The name of the last run.
    pub fn upid(&self) -> Option<&Upid> {
        match self {
            Self::Started { upid } | Self::Finished { upid, .. } => Some(upid),
            Self::Created { .. } | Self::Unknown => None,
        }
    }
}

/// The states of all sync jobs.
#[derive(Clone, Debug)]
pub struct JobStates {
    directory: PathBuf,
}

impl JobStates {
    /// The states below `paths`.
    pub fn new(paths: &Paths) -> Self {
        Self { directory: paths.job_states() }
    }

    /// The file of a job; `suffix` tells apart what else is kept of it.
    pub fn path(&self, id: &JobId, suffix: &str) -> PathBuf {
        self.directory.join(format!("syncjob-{id}.{suffix}"))
    }

    /// Reads the state of a job; `None` if there is none yet.
    ///
    /// # Errors
    /// The file cannot be read or is no state; then it is as good as none, but worth telling.
    pub fn load(&self, id: &JobId) -> Result<Option<JobState>, ConfigError> {
        self.load_as(id, "json")
    }

    /// Reads another file that is kept of a job, as JSON.
    pub(crate) fn load_as<T: DeserializeOwned>(&self, id: &JobId, suffix: &str) -> Result<Option<T>, ConfigError> {
        let path = self.path(id, suffix);
        let Some(bytes) = config::read_if_there(&path)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ConfigError::Line { path, line: error.line(), reason: format!("no job state: {error}") }),
        }
    }

    /// Replaces the state of a job.
    ///
    /// # Errors
    /// The file cannot be written; then it is as it was.
    pub fn save(&self, id: &JobId, state: &JobState) -> Result<(), ConfigError> {
        self.save_as(id, "json", state)
    }

    /// Replaces another file that is kept of a job, as JSON.
    pub(crate) fn save_as(&self, id: &JobId, suffix: &str, value: &impl Serialize) -> Result<(), ConfigError> {
        let path = self.path(id, suffix);
        let failed = |action| move |path, source| ConfigError::Io { action, path, source };
        fs::create_dir_all(&self.directory).map_err(|error| failed("create")(self.directory.clone(), error))?;
        let bytes =
            serde_json::to_vec(value).map_err(|error| failed("write")(path.clone(), io::Error::other(error)))?;
        config::replace_file(&path, &bytes, MODE)
    }

    /// Forgets a job that is no more.
    ///
    /// # Errors
    /// A file of it cannot be removed.
    pub fn forget(&self, id: &JobId) -> Result<(), ConfigError> {
        for suffix in ["json", "more.json", "last.json"] {
            config::state::forget(&self.path(id, suffix))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid() -> Upid {
        "UPID:pbs-a:00005A11:00043E5A:00000047:6B001AB2:syncjob:-\\x3aa\\x3ab\\x3a\\x3anightly:root@pam:"
            .parse()
            .unwrap()
    }

    #[test]
    fn states_are_written_as_a_stock_server_writes_them() {
        let upid = upid();
        let text = serde_json::to_value(upid.to_string()).unwrap();
        let finished = |state| JobState::Finished { upid: upid.clone(), state, updated: None };
        for (state, json) in [
            (JobState::Created { time: 7 }, r#"{"created":{"time":7}}"#.to_owned()),
            (JobState::Started { upid: upid.clone() }, format!(r#"{{"started":{{"upid":{text}}}}}"#)),
            (
                finished(EndState::Ok { endtime: 9 }),
                format!(r#"{{"finished":{{"upid":{text},"state":{{"OK":{{"endtime":9}}}},"updated":null}}}}"#),
            ),
            (
                finished(EndState::Warning { count: 2, endtime: 9 }),
                format!(
                    r#"{{"finished":{{"upid":{text},"state":{{"Warning":{{"count":2,"endtime":9}}}},"updated":null}}}}"#
                ),
            ),
            (JobState::Unknown, r#""unknown""#.to_owned()),
        ] {
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
            assert_eq!(serde_json::from_str::<JobState>(&json).unwrap(), state);
        }
    }

    #[test]
    fn the_next_event_counts_from_the_start_of_the_last_run_or_from_a_later_change_of_the_schedule() {
        let ended = EndState::Ok { endtime: upid().start_time + 5_000 };
        let finished = |updated| JobState::Finished { upid: upid(), state: ended.clone(), updated };

        assert_eq!(JobState::Created { time: 7 }.reference(), Some(7));
        assert_eq!(JobState::Started { upid: upid() }.reference(), Some(upid().start_time));
        assert_eq!(finished(None).reference(), Some(upid().start_time));
        assert_eq!(finished(Some(2_000_000_000)).reference(), Some(2_000_000_000));
        assert_eq!(JobState::Unknown.reference(), None);
    }

    #[test]
    fn a_state_is_kept_replaced_and_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let states = JobStates::new(&Paths::under_root(root.path()));
        let id: JobId = "nightly".parse().unwrap();

        assert_eq!(states.load(&id).unwrap(), None);
        states.save(&id, &JobState::Created { time: 7 }).unwrap();
        states.save(&id, &JobState::Started { upid: upid() }).unwrap();
        assert_eq!(states.load(&id).unwrap(), Some(JobState::Started { upid: upid() }));

        fs::write(states.path(&id, "json"), "{\"started\":").unwrap();
        assert!(states.load(&id).unwrap_err().to_string().contains("no job state"));

        states.forget(&id).unwrap();
        assert_eq!(states.load(&id).unwrap(), None);
    }
}
