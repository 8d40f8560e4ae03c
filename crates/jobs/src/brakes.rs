//! Held brakes: what the target looked like when a job's removals were first held back.
//!
//! A run that would remove too much copies everything new all the same. Were the next one to measure its percentage anew,
//! what was copied meanwhile would loosen the brake until it lets go, with nobody having looked. So a percentage is
//! measured against what was there at first, until a run ends well and holds nothing back.

use std::path::PathBuf;

use config::{ConfigError, Paths, SyncJobConfig};
use formats::JobId;
use replication::{JobOptions, Report, RunResult};
use serde::{Deserialize, Serialize};

use crate::state::JobStates;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Held {
    /// What the job was about. A job that was changed to be about something else starts anew.
    scope: String,
    /// Snapshots at the target in that scope, before the first run that was held copied anything.
    in_scope: u64,
    /// When that was, in Unix seconds.
    since: i64,
}

/// The brake of one stored job, before and after a run.
pub(crate) struct HeldBrake {
    path: PathBuf,
    scope: String,
    held: Option<Held>,
}

impl HeldBrake {
    /// Reads what is remembered of `job`, of which `run` are the options.
    pub(crate) fn read(paths: &Paths, job: &SyncJobConfig, run: &JobOptions) -> Self {
        let (path, scope) = (path(paths, &job.id), scope(job, run));
        let held = config::state::read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "a brake that was held is not remembered");
            None
        });
        Self { path, held: held.filter(|held: &Held| held.scope == scope), scope }
    }

    /// Snapshots that a percentage is measured against at most.
    pub(crate) fn in_scope(&self) -> Option<u64> {
        self.held.as_ref().map(|held| held.in_scope)
    }

    /// Remembers a brake that was held, and forgets it after a run that ended well without one. One that failed, or was
    /// stopped, may not have seen everything and changes nothing.
    pub(crate) fn settle(&self, report: &Report, now: i64) {
        let settled = match report.brake {
            Some(brake) => {
                let since = self.held.as_ref().map_or(now, |held| held.since);
                config::state::write(&self.path, &Held { scope: self.scope.clone(), in_scope: brake.in_scope, since })
            }
            None if report.result == RunResult::Error => Ok(()),
            None => config::state::forget(&self.path),
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "cannot keep in mind whether the brake was held");
        }
    }
}

/// Forgets all that is remembered of a job that is removed, so that another one of its name starts anew.
///
/// # Errors
/// A file cannot be removed.
pub fn forget_job(paths: &Paths, id: &JobId) -> Result<(), ConfigError> {
    JobStates::new(paths).forget(id)?;
    config::state::forget(&path(paths, id))
}

fn path(paths: &Paths, id: &JobId) -> PathBuf {
    paths.state().join("brakes").join(format!("{id}.json"))
}

fn scope(job: &SyncJobConfig, run: &JobOptions) -> String {
    let remote = job.remote.as_ref().map_or("-", |remote| remote.as_str());
    let filters: Vec<String> = job.group_filter.iter().map(ToString::to_string).collect();
    let depth = run.max_depth.map_or("all".to_owned(), |depth| depth.to_string());
    format!(
        "{:?} {remote} {} {}: {} -> {}, depth {depth}, [{}]",
        run.direction,
        job.remote_store,
        job.store,
        run.source_ns,
        run.target_ns,
        filters.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use replication::{Brake, Direction};

    use super::*;

    fn job() -> SyncJobConfig {
        let remote = Some("there".parse().unwrap());
        SyncJobConfig::new("nightly".parse().unwrap(), "here".parse().unwrap(), remote, "store".parse().unwrap())
    }

    fn brake(paths: &Paths, job: &SyncJobConfig) -> HeldBrake {
        HeldBrake::read(paths, job, &JobOptions::new(Direction::Pull, job.owner()))
    }

    fn held(in_scope: u64) -> Report {
        let brake = Some(Brake { removals: 30, in_scope, permitted: 20 });
        Report { brake, result: RunResult::Warnings, ..Report::default() }
    }

    #[test]
    fn a_held_brake_is_remembered_until_a_run_ends_well_without() {
        let root = tempfile::tempdir().unwrap();
        let (paths, job) = (Paths::under_root(root.path()), job());
        assert_eq!(brake(&paths, &job).in_scope(), None);

        brake(&paths, &job).settle(&held(100), 1000);
        assert_eq!(brake(&paths, &job).in_scope(), Some(100));
        let first = brake(&paths, &job);
        first.settle(&held(100), 2000);
        assert_eq!(brake(&paths, &job).held.unwrap().since, 1000);
        brake(&paths, &job).settle(&Report { result: RunResult::Error, ..Report::default() }, 3000);
        assert_eq!(brake(&paths, &job).in_scope(), Some(100), "a run that failed has not seen everything");

        brake(&paths, &job).settle(&Report { result: RunResult::Warnings, ..Report::default() }, 4000);
        assert_eq!(brake(&paths, &job).in_scope(), None);
        brake(&paths, &job).settle(&Report::default(), 5000);
    }

    #[test]
    fn another_scope_a_damaged_file_and_a_removed_job_remember_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (paths, job) = (Paths::under_root(root.path()), job());
        brake(&paths, &job).settle(&held(100), 1000);

        let other = SyncJobConfig { group_filter: vec!["type:vm".parse().unwrap()], ..job.clone() };
        assert_eq!(brake(&paths, &other).in_scope(), None);
        let other = SyncJobConfig { remote: Some("elsewhere".parse().unwrap()), ..job.clone() };
        assert_eq!(brake(&paths, &other).in_scope(), None);
        assert_eq!(brake(&paths, &job).in_scope(), Some(100));

        std::fs::write(path(&paths, &job.id), "{").unwrap();
        assert_eq!(brake(&paths, &job).in_scope(), None);
        brake(&paths, &job).settle(&held(100), 1000);
        forget_job(&paths, &job.id).unwrap();
        assert_eq!(brake(&paths, &job).in_scope(), None);
        forget_job(&paths, &job.id).unwrap();
    }
}
