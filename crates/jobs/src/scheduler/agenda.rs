//! Everything the scheduler knows at one moment, read from the files.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use chrono_tz::Tz;
use config::{Paths, ServerConf, SyncJobConfig, circles};
use formats::{JobId, Upid};
use futures_util::future::join_all;
use tasks::{RunRequest, TaskStatus, TaskStore};

use super::due::{Conditions, Decision, JobFacts, Verdict, Wait, decide, trouble_with_leader};
use super::error::SchedulerError;
use super::memory::Memory;
use super::notes::Notes;
use crate::conditions::{Surroundings, unmet};
use crate::lock::{JobLock, JobLockError};
use crate::run::{Attempts, end_of_dead};
use crate::state::{EndState, JobState, JobStates};
use crate::sync::chain;

/// The longest that all conditions together may take: a tick ends before the next is due.
const CONDITIONS_LIMIT: Duration = Duration::from_secs(40);

/// All jobs at one moment, and what is wrong with them.
#[derive(Clone, Debug)]
pub struct Agenda {
    /// The jobs that can be used, by id. The state of one that died says so.
    pub facts: Vec<JobFacts>,
    /// The sections that cannot be used.
    pub broken: Vec<BrokenJob>,
    /// What else an administrator should know, a sentence each.
    pub problems: Vec<String>,
    /// How many jobs may run at a time.
    pub max_jobs: usize,
    /// The moment.
    pub now: i64,
    /// The time zone of the host.
    pub zone: Tz,
    /// Runs that were asked for.
    pub(crate) requests: Vec<(JobId, RunRequest)>,
    /// Jobs whose process is gone without having said how it went.
    pub(crate) died: Vec<JobId>,
    /// Jobs whose state cannot be read.
    pub(crate) unreadable: Vec<JobId>,
}

/// A section that is no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenJob {
    /// Its id, as it stands there.
    pub id: String,
    /// File, line and reason.
    pub reason: String,
}

impl Agenda {
    /// Reads all files as they are at `now` on a host in `zone`. Nothing is changed.
    ///
    /// # Errors
    /// `sync.cfg` cannot be read at all. What else cannot be read is a problem in the agenda.
    pub fn load(paths: &Paths, now: i64, zone: Tz) -> Result<Self, SchedulerError> {
        Self::with_notes(paths, &Notes::load(paths).0, now, zone)
    }

    pub(crate) fn with_notes(paths: &Paths, notes: &Notes, now: i64, zone: Tz) -> Result<Self, SchedulerError> {
        let loaded = config::sync_jobs::load(paths)?;
        let mut agenda = Self {
            facts: Vec::new(),
            broken: Vec::new(),
            problems: Vec::new(),
            max_jobs: ServerConf::default().max_jobs,
            now,
            zone,
            requests: Vec::new(),
            died: Vec::new(),
            unreadable: Vec::new(),
        };
        match ServerConf::load(paths) {
            Ok((conf, _)) => agenda.max_jobs = conf.max_jobs,
            Err(error) => agenda.problems.push(format!("{}; max-jobs is {}", chain(&error), agenda.max_jobs)),
        }
        for problem in loaded.problems.iter().filter(|problem| problem.breaks_section) {
            match &problem.id {
                Some(id) => agenda.broken.push(BrokenJob { id: id.clone(), reason: problem.to_string() }),
                None => agenda.problems.push(problem.to_string()),
            }
        }
        let tasks = TaskStore::new(paths);
        match tasks.requests() {
            Ok(requests) => agenda.requests = requests,
            Err(error) => agenda.problems.push(chain(&error)),
        }
        let edited = edited(paths).unwrap_or(now);
        let mut jobs: BTreeMap<JobId, SyncJobConfig> = BTreeMap::new();
        jobs.extend(loaded.entries.into_iter().map(|job| (job.id.clone(), job)));
        for job in jobs.into_values() {
            match config::sync_jobs::check(paths, &job) {
                Ok(()) => agenda.add(paths, &tasks, notes, edited, job),
                Err(error) => agenda.broken.push(BrokenJob { id: job.id.to_string(), reason: chain(&error) }),
            }
        }
        Ok(agenda)
    }

    fn add(&mut self, paths: &Paths, tasks: &TaskStore, notes: &Notes, edited: i64, job: SyncJobConfig) {
        let states = JobStates::new(paths);
        let mut state = states.load(&job.id).unwrap_or_else(|error| {
            self.problems.push(format!("{}; the state is made anew", chain(&error)));
            self.unreadable.push(job.id.clone());
            Some(JobState::Created { time: self.now })
        });
        let mut running = false;
        if let Some(JobState::Started { upid }) = &state {
            match death(paths, tasks, &job.id, upid) {
                None => running = true,
                Some(end) => {
                    self.died.push(job.id.clone());
                    state = Some(JobState::Finished { upid: upid.clone(), state: end, updated: None });
                }
            }
        }
        let memory = Memory::observe(notes.jobs.get(&job.id), &job, state.as_ref(), edited, self.now);
        let kept = states.attempts(&job.id).unwrap_or_else(|error| {
            self.problems.push(chain(&error));
            Attempts::default()
        });
        let requested = self.requests.iter().any(|(id, _)| *id == job.id);
        self.facts.push(JobFacts {
            memory,
            failures: kept.failures,
            retry_at: kept.retry_at,
            last_good: kept.last_good.or_else(|| last_good(state.as_ref())),
            requested,
            running,
            conditions: if job.run_when.is_empty() { Conditions::Met } else { Conditions::Unknown },
            state,
            job,
        });
    }

    /// What is to happen to each job.
    pub fn decide(&self) -> Vec<Decision> {
        decide(&self.facts, self.now, self.zone, self.max_jobs)
    }

    /// Looks whether the conditions hold of those jobs that nothing else keeps from starting. Takes up to the limits of
    /// `around`, but not more than 40 seconds.
    pub async fn look_at_conditions(&mut self, paths: &Paths, around: &Surroundings) {
        let waits = |decision: &Decision| decision.verdict == Verdict::Wait(Wait::Conditions);
        let due: Vec<JobId> = self.decide().into_iter().filter(waits).map(|decision| decision.id).collect();
        let facts = self.facts.iter_mut().filter(|one| due.contains(&one.job.id));
        join_all(facts.map(async |one| {
            let late = || Some(format!("conditions that took more than {CONDITIONS_LIMIT:?} to look at"));
            let unmet = tokio::time::timeout(CONDITIONS_LIMIT, unmet(paths, &one.job, around)).await;
            one.conditions = unmet.unwrap_or_else(|_| late()).map_or(Conditions::Met, Conditions::Unmet);
        }))
        .await;
    }

    /// Everything that has to be mended, a sentence each.
    pub fn all_problems(&self) -> Vec<String> {
        let broken = self.broken.iter().map(|job| format!("job {}: {}", job.id, Wait::Broken(job.reason.clone())));
        let circles = circles(self.facts.iter().map(|one| &one.job));
        let order = self.facts.iter().filter_map(|one| {
            let trouble = trouble_with_leader(one, &self.facts, &circles)?;
            Some(format!("job {}: {trouble}", one.job.id))
        });
        broken.chain(order).chain(self.problems.iter().cloned()).collect()
    }
}

/// When `sync.cfg` was last written.
fn edited(paths: &Paths) -> Option<i64> {
    let modified = fs::metadata(paths.sync_cfg()).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// How a run ended whose job says that it runs; `None` if it does.
fn death(paths: &Paths, tasks: &TaskStore, job: &JobId, upid: &Upid) -> Option<EndState> {
    let status = tasks.status(upid).unwrap_or(None);
    if status == Some(TaskStatus::Running) {
        return None;
    }
    // A run whose log could not be made holds the lock of the job all the same.
    if let Err(JobLockError::Running { .. }) = JobLock::of(paths, job) {
        return None;
    }
    Some(end_of_dead(status, upid))
}

fn last_good(state: Option<&JobState>) -> Option<i64> {
    match state {
        Some(JobState::Finished { state, .. }) if state.is_good() => Some(state.endtime()),
        _ => None,
    }
}
