//! What stays of a run: the state of its job, and when it is tried again.

use config::{ConfigError, Paths, SyncJobConfig};
use formats::Upid;
use replication::{Report, RunResult};
use tasks::{TaskEnd, TaskStatus, TaskStore, now};

use super::attempts::Attempts;
use crate::lock::JobLock;
use crate::report::JobReport;
use crate::state::{EndState, JobState, JobStates};

/// The state of a job around one run.
pub(crate) struct Outcome<'a> {
    states: &'a JobStates,
    job: &'a SyncJobConfig,
    upid: Upid,
}

impl<'a> Outcome<'a> {
    /// Notes that the run begins.
    pub(crate) fn begin(states: &'a JobStates, job: &'a SyncJobConfig, upid: &Upid) -> Self {
        let outcome = Self { states, job, upid: upid.clone() };
        outcome.save(&JobState::Started { upid: upid.clone() });
        outcome
    }

    /// Notes how it ended, and when it is tried again if it failed.
    pub(crate) fn end(self, report: &JobReport, end: &TaskEnd, scheduled: bool, random: f64) {
        let now = now();
        let state = end_state(end, now);
        let attempts = self.states.attempts(&self.job.id).unwrap_or_default();
        let attempts = match (&state, &report.report) {
            (state, _) if state.is_good() => attempts.after_good(now),
            (_, report) if report.cancelled => attempts.after_stop(),
            // What a person tries by hand does not move the next try of the scheduler.
            _ if !scheduled => Attempts { failures: attempts.failures.saturating_add(1), ..attempts },
            (_, report) => attempts.after_failure(self.job, now, report.is_worth_another_try(), random),
        };
        keep(self.states, self.job, &attempts);
        self.save(&JobState::Finished { upid: self.upid.clone(), state, updated: None });
    }

    fn save(&self, state: &JobState) {
        if let Err(error) = self.states.save(&self.job.id, state) {
            tracing::warn!(error = crate::chain(&error), "cannot keep the state of job '{}'", self.job.id);
        }
    }
}

fn keep(states: &JobStates, job: &SyncJobConfig, attempts: &Attempts) {
    if let Err(error) = states.save_attempts(&job.id, attempts) {
        tracing::warn!(error = crate::chain(&error), "cannot keep when job '{}' is tried again", job.id);
    }
}

/// How the task of a run ended.
pub(crate) fn task_end(report: &Report) -> TaskEnd {
    match (report.result, report.errors.as_slice()) {
        (RunResult::Ok | RunResult::Warnings, _) => TaskEnd::Ok,
        _ if report.cancelled => TaskEnd::Error("stopped on request".to_owned()),
        (RunResult::Error, []) => TaskEnd::Error("failed".to_owned()),
        (RunResult::Error, [only]) => TaskEnd::Error(only.to_string()),
        (RunResult::Error, [first, rest @ ..]) => TaskEnd::Error(format!("{first} (and {} more errors)", rest.len())),
    }
}

fn end_state(end: &TaskEnd, endtime: i64) -> EndState {
    match end {
        TaskEnd::Ok => EndState::Ok { endtime },
        TaskEnd::Warnings(count) => EndState::Warning { count: *count, endtime },
        TaskEnd::Error(message) => EndState::Error { message: message.clone(), endtime },
        TaskEnd::Unknown => EndState::Unknown { endtime },
    }
}

/// How a run ended that nobody is at any more, by what is known of its task.
pub(crate) fn end_of_dead(status: Option<TaskStatus>, upid: &Upid) -> EndState {
    match status {
        Some(TaskStatus::Stopped { endtime, end }) => end_state(&end, endtime.unwrap_or(upid.start_time)),
        _ => EndState::Unknown { endtime: upid.start_time },
    }
}

/// Settles a run of `job` that died: its state says that it runs, and nobody does. Its end is what the last line of its log
/// says, else not known; unless it ended well, it is tried again. Returns whether there was one.
///
/// # Errors
/// The job's state cannot be read. A job that runs is no error.
pub fn settle_dead(paths: &Paths, job: &SyncJobConfig, now: i64, random: f64) -> Result<bool, ConfigError> {
    let states = JobStates::new(paths);
    if !matches!(states.load(&job.id)?, Some(JobState::Started { .. })) {
        return Ok(false);
    }
    let Ok(_lock) = JobLock::of(paths, &job.id) else { return Ok(false) };
    settle_dead_locked(&states, &TaskStore::new(paths), job, now, random)
}

/// As [`settle_dead`], by who holds the job's lock.
pub(crate) fn settle_dead_locked(
    states: &JobStates,
    tasks: &TaskStore,
    job: &SyncJobConfig,
    now: i64,
    random: f64,
) -> Result<bool, ConfigError> {
    let Some(JobState::Started { upid }) = states.load(&job.id)? else { return Ok(false) };
    let state = end_of_dead(tasks.status(&upid).unwrap_or(None), &upid);
    let attempts = states.attempts(&job.id).unwrap_or_default();
    let attempts = match state.is_good() {
        true => attempts.after_good(state.endtime()),
        false => attempts.after_failure(job, now, true, random),
    };
    states.save_attempts(&job.id, &attempts)?;
    states.save(&job.id, &JobState::Finished { upid, state, updated: None })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> SyncJobConfig {
        SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap())
    }

    #[test]
    fn a_run_that_died_is_recorded_with_what_its_log_says_and_tried_again_unless_it_ended_well() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        let (states, tasks, job) = (JobStates::new(&paths), TaskStore::new(&paths), job());
        let upid = |id: &str| tasks::new_upid("syncjob", Some(id.to_owned()), tasks::superuser());

        // One without a log, as after a loss of power.
        let lost = upid("lost");
        states.save(&job.id, &JobState::Started { upid: lost.clone() }).unwrap();
        assert!(settle_dead(&paths, &job, 1000, 0.5).unwrap());
        let unknown = EndState::Unknown { endtime: lost.start_time };
        let state = states.load(&job.id).unwrap().unwrap();
        assert_eq!(state, JobState::Finished { upid: lost, state: unknown, updated: None });
        let attempts = states.attempts(&job.id).unwrap();
        assert_eq!((attempts.failures, attempts.retry_at), (1, Some(1030)));
        assert!(!settle_dead(&paths, &job, 1000, 0.5).unwrap(), "once");

        // One that had said its last word.
        let done = upid("done");
        tasks.start(done.clone()).finish(TaskEnd::Ok);
        states.save(&job.id, &JobState::Started { upid: done }).unwrap();
        assert!(settle_dead(&paths, &job, 1000, 0.5).unwrap());
        let state = states.load(&job.id).unwrap().unwrap();
        assert!(matches!(state, JobState::Finished { state: EndState::Ok { .. }, .. }), "{state:?}");
        assert_eq!(states.attempts(&job.id).unwrap().retry_at, None);

        // One that runs is left alone.
        let started = JobState::Started { upid: upid("running") };
        let _lock = JobLock::of(&paths, &job.id).unwrap();
        states.save(&job.id, &started).unwrap();
        assert!(!settle_dead(&paths, &job, 1000, 0.5).unwrap());
        assert_eq!(states.load(&job.id).unwrap(), Some(started));
    }
}
