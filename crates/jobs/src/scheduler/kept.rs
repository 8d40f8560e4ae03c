//! What a run leaves for the scheduler besides its state.

use config::{ConfigError, Paths, SyncJobConfig};
use formats::{JobId, Upid};
use serde::Deserialize;

use crate::lock::JobLock;
use crate::state::{JobState, JobStates};

/// How the last runs of a job went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Kept {
    /// Runs that failed one after the other.
    pub(crate) failures: u32,
    /// When the last of them is tried again.
    pub(crate) retry_at: Option<i64>,
    /// When the last good run ended.
    pub(crate) last_good: Option<i64>,
}

/// Reads it; what cannot be read is as good as nothing.
pub(crate) fn kept(states: &JobStates, job: &JobId) -> Kept {
    let bytes = config::read_if_there(&states.path(job, "more.json")).ok().flatten();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Writes down that a run died, if its job still says that it runs. Returns whether that was so.
pub(crate) fn settle(
    paths: &Paths,
    states: &JobStates,
    job: &SyncJobConfig,
    upid: &Upid,
    end: Option<&JobState>,
    _now: i64,
) -> Result<bool, ConfigError> {
    let Ok(_lock) = JobLock::acquire(&paths.run().join("locks"), "syncjob", job.id.as_str()) else { return Ok(false) };
    match (states.load(&job.id)?, end) {
        (Some(JobState::Started { upid: last }), Some(end)) if last == *upid => states.save(&job.id, end)?,
        _ => return Ok(false),
    }
    Ok(true)
}
