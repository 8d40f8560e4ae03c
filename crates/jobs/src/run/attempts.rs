//! What is remembered of runs that failed: when the next one is tried.
//!
//! Within a run the engine takes a lost connection up again, for minutes. After that the run ends as failed and leaves the
//! time of the next try to the scheduler, so that no process waits for an hour.

use std::time::Duration;

use config::{ConfigError, SyncJobConfig};
use formats::JobId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::state::JobStates;

/// The file beside a job's state.
const SUFFIX: &str = "more.json";

/// Pause after the first failed run when the job says nothing.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// Longest pause between two runs, unless the job's own interval is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is kept in `syncjob-ID.more.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Attempts {
    /// Runs that failed since the last good one.
    pub failures: u32,
    /// Of these, the ones since the last event of the schedule: what `max-attempts` counts.
    pub tries: u32,
    /// When the next try is due, in Unix seconds; `None` when the job waits for its next event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<i64>,
    /// When the last good run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<i64>,
    /// What others keep there.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl JobStates {
    /// Reads what is remembered of failed runs; nothing where there is no file.
    ///
    /// # Errors
    /// The file cannot be read or understood; then it is as good as none.
    pub fn attempts(&self, id: &JobId) -> Result<Attempts, ConfigError> {
        Ok(self.load_as(id, SUFFIX)?.unwrap_or_default())
    }

    /// Replaces what is remembered.
    ///
    /// # Errors
    /// The file cannot be written; then it is as it was.
    pub fn save_attempts(&self, id: &JobId, attempts: &Attempts) -> Result<(), ConfigError> {
        self.save_as(id, SUFFIX, attempts)
    }
}

impl Attempts {
    /// After a run that ended well at `now`.
    #[must_use]
    pub fn after_good(self, now: i64) -> Self {
        Self { failures: 0, tries: 0, retry_at: None, last_good: Some(now), ..self }
    }

    /// After a run of `job` that failed at `now`. `worth_it` says that trying again may help; `random` is from 0 to 1.
    ///
    /// A failure that trying again does not mend, such as a refused login, waits for the next event, and so does the last
    /// of `max-attempts`.
    #[must_use]
    pub fn after_failure(self, job: &SyncJobConfig, now: i64, worth_it: bool, random: f64) -> Self {
        // Without a try due, this run began a new series.
        let tries = if self.retry_at.is_some() { self.tries.saturating_add(1) } else { 1 };
        let first = job.retry_interval.map_or(DEFAULT_INTERVAL, calendar::TimeSpan::duration);
        let again = worth_it && job.max_attempts.is_none_or(|most| tries < most);
        let pause = i64::try_from(pause(first, tries, random).as_secs().max(1)).unwrap_or(i64::MAX);
        Self {
            failures: self.failures.saturating_add(1),
            tries,
            retry_at: again.then(|| now.saturating_add(pause)),
            ..self
        }
    }

    /// After a run that was stopped on request: the job waits for its next event.
    #[must_use]
    pub fn after_stop(self) -> Self {
        Self { failures: self.failures.saturating_add(1), retry_at: None, ..self }
    }
}

/// Returns the pause after so many `tries` that failed: `first`, then twice as long each time up to an hour; `random`, from
/// 0 to 1, moves it by a quarter either way, so that many who lost the same server do not come back at once.
fn pause(first: Duration, tries: u32, random: f64) -> Duration {
    let longest = LONGEST.max(first);
    let doublings = tries.saturating_sub(1).min(31);
    let pause = first.saturating_mul(1 << doublings).min(longest);
    pause.mul_f64(0.75 + 0.5 * random.clamp(0.0, 1.0)).min(longest)
}

/// A random number from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "any of them will do")]
pub(crate) fn random() -> f64 {
    uuid::Uuid::new_v4().as_u64_pair().0 as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use config::Paths;

    use super::*;

    fn job(interval: Option<&str>, max_attempts: Option<u32>) -> SyncJobConfig {
        let mut job =
            SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        job.retry_interval = interval.map(|text| text.parse().unwrap());
        job.max_attempts = max_attempts;
        job
    }

    #[test]
    fn pauses_grow_from_the_interval_to_an_hour_and_a_good_run_clears_them() {
        let mut attempts = Attempts::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            attempts = attempts.after_failure(&job(None, None), 1000, true, 0.5);
            pauses.push(attempts.retry_at.unwrap() - 1000);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(attempts.failures, 10);

        let good = attempts.after_good(5000);
        assert_eq!(good, Attempts { last_good: Some(5000), ..Attempts::default() });
        let [least, most] = [0.0, 1.0].map(|random| pause(Duration::from_secs(100), 1, random).as_secs());
        assert_eq!((least, most), (75, 125));
        let slow = good.after_failure(&job(Some("2h"), None), 1000, true, 0.5);
        assert_eq!(slow.retry_at, Some(1000 + 7200), "an interval above the limit stays");
    }

    #[test]
    fn after_max_attempts_or_an_error_that_stays_the_job_waits_for_its_next_event_and_begins_anew() {
        let job = job(Some("1min"), Some(3));
        let fail = |attempts: Attempts| attempts.after_failure(&job, 0, true, 0.5);

        let twice = fail(fail(Attempts::default()));
        assert_eq!((twice.retry_at, twice.tries), (Some(120), 2));
        let given_up = fail(twice);
        assert_eq!((given_up.retry_at, given_up.failures), (None, 3));
        let next_event = fail(given_up);
        assert_eq!((next_event.retry_at, next_event.tries, next_event.failures), (Some(60), 1, 4));

        assert_eq!(next_event.clone().after_failure(&job, 0, false, 0.5).retry_at, None);
        assert_eq!(next_event.after_stop().retry_at, None);
    }

    #[test]
    fn what_others_keep_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let states = JobStates::new(&Paths::under_root(root.path()));
        let id: JobId = "job".parse().unwrap();
        assert_eq!(states.attempts(&id).unwrap(), Attempts::default());
        let mut attempts = Attempts::default();
        attempts.more.insert("told".to_owned(), 7.into());

        states.save_attempts(&id, &attempts.after_failure(&job(None, None), 0, true, 0.5)).unwrap();

        let read = states.attempts(&id).unwrap();
        assert_eq!((read.failures, read.retry_at, &read.more["told"]), (1, Some(30), &Value::from(7)));
    }
}
