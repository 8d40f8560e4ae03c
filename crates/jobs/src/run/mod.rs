//! One run of a job, from its lock to its last line.
//!
//! ```text
//! lock ── conditions ── task log, state "started" ── pre-script ── transfer ── post- or failure-script ── log ends, state
//!                                                                                               "finished", next try
//! ```
//!
//! Meanwhile the run listens on its control socket, looks at its conditions and follows its rates. Whatever it is, it ends
//! with a report, a line in its log and, for a stored job, a state and the time of the next try.

mod attempts;
mod journal;
mod outcome;
mod steering;
mod watch;

pub use attempts::Attempts;
pub use journal::Echo;
pub use outcome::settle_dead;

pub(crate) use attempts::random;
pub(crate) use outcome::end_of_dead;

use std::sync::Arc;
use std::time::Instant;

use client::Traffic;
use config::{Entry as _, Paths, SyncJobConfig};
use formats::Upid;
use replication::{Event, Monitor, Problem, Report, RunControl};
use tasks::control::Listener;
use tasks::{TaskStore, new_upid, now, superuser};

use self::journal::{Journal, Names};
use self::outcome::Outcome;
use self::steering::Steering;
use crate::conditions::{Surroundings, unmet};
use crate::error::JobError;
use crate::hooks::{Facts, Hook};
use crate::lock::{JobLock, JobLockError};
use crate::rates::{Rates, local_now};
use crate::relay::{self, Relay};
use crate::report::JobReport;
use crate::state::JobStates;
use crate::sync::{self, Keys, Kind, ThisRun, attempt, never_started, open, settled};
use crate::tell;

/// Who starts a run: steers it and watches it.
#[derive(Clone)]
pub struct Caller {
    /// Stops, holds and resumes it.
    pub control: RunControl,
    /// Sees what happens.
    pub monitor: Arc<dyn Monitor>,
    /// Hears the lines of its log.
    pub echo: Option<Echo>,
}

/// What came of starting a job.
#[derive(Debug)]
pub enum RunEnd {
    /// It ran; well or not is in the report.
    Done(Box<JobReport>),
    /// It did not run: this does not hold. That is no failure.
    Waiting(String),
    /// It was running already, which is no concern of a scheduler.
    Running,
}

/// Runs `job` to its end.
///
/// Whatever keeps the run from succeeding after its lock is taken is in the report, so that a run always ends with one.
///
/// # Errors
/// The job's settings contradict each other, or it is already running.
pub async fn run_sync(
    paths: &Paths,
    job: &SyncJobConfig,
    kind: Kind,
    this_run: ThisRun,
    caller: Caller,
) -> Result<RunEnd, JobError> {
    let run = Run { paths, job, relay: None, kind, this_run, caller: &caller };
    match kind {
        Kind::Stored => run.stored().await,
        Kind::Adhoc => {
            let keys = run.keys()?;
            let upid = sync::upid(job, kind);
            let journal = run.journal(TaskStore::new(paths).start(upid.clone()));
            let (report, _) = run.task(&upid, Arc::new(journal), Ok(keys)).await;
            Ok(RunEnd::Done(Box::new(report)))
        }
    }
}

/// Copies between two remotes, with the checked `keys`.
pub(crate) async fn perform_relay(
    paths: &Paths,
    relay: &Relay,
    this_run: ThisRun,
    caller: &Caller,
    keys: Keys,
) -> JobReport {
    let run = Run { paths, job: &relay.job, relay: Some(relay), kind: Kind::Adhoc, this_run, caller };
    let upid = new_upid("sync", Some(relay.job.remote_store.to_string()), superuser());
    let journal = run.journal(TaskStore::new(paths).start(upid.clone()));
    run.task(&upid, Arc::new(journal), Ok(keys)).await.0
}

/// A run and its surroundings.
struct Run<'a> {
    paths: &'a Paths,
    job: &'a SyncJobConfig,
    /// Set where both ends are remotes; then `job` is that of the relay.
    relay: Option<&'a Relay>,
    kind: Kind,
    this_run: ThisRun,
    caller: &'a Caller,
}

impl Run<'_> {
    /// Checks the settings and finds the keys they name.
    fn keys(&self) -> Result<Keys, JobError> {
        match self.kind {
            Kind::Stored => config::sync_jobs::check(self.paths, self.job)?,
            Kind::Adhoc => self.job.check()?,
        }
        self.this_run.check(self.job)?;
        Keys::of(self.paths, self.job)
    }

    fn journal(&self, log: tasks::TaskLog) -> Journal {
        let names = self.relay.map_or_else(|| Names::of(self.job), |relay| Names::of_relay(&relay.from, &relay.job));
        Journal::new(log, names, self.caller.monitor.clone(), self.caller.echo.clone())
    }

    async fn stored(&self) -> Result<RunEnd, JobError> {
        let keys = self.keys();
        // What a person starts is refused at once; what the scheduler starts is to be found in the task list.
        let keys = if self.this_run.scheduled { keys } else { Ok(keys?) };
        let id = &self.job.id;
        let lock = match JobLock::of(self.paths, id) {
            Err(JobLockError::Running { .. }) if self.this_run.scheduled => return Ok(RunEnd::Running),
            lock => lock?,
        };
        let states = JobStates::new(self.paths);
        let tasks = TaskStore::new(self.paths);
        match outcome::settle_dead_locked(&states, &tasks, self.job, now(), random()) {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!("the last run of job '{id}' died");
                drop(tasks.reap()); // those that it leaves are listed as what they are
            }
            Err(error) => tracing::warn!(error = crate::chain(&error), "the last run of job '{id}' is forgotten"),
        }
        for warning in tell::of_death(self.paths, self.job, now()).await {
            tracing::warn!("{warning}");
        }
        let request = tasks.take_request(id).unwrap_or_else(|error| {
            tracing::warn!(error = crate::chain(&error), "a request for a run of job '{id}' is left alone");
            None
        });
        let unmet = match self.this_run.ignore_conditions {
            true => None,
            false => unmet(self.paths, self.job, &Surroundings::default()).await,
        };
        // What somebody asked for is not the schedule's, whoever started the process.
        let scheduled = self.this_run.scheduled && request.is_none();
        let run = Run { this_run: ThisRun { scheduled, ..self.this_run }, ..*self };
        let log = match (&unmet, request) {
            (Some(unmet), None) => return Ok(RunEnd::Waiting(unmet.clone())),
            (Some(unmet), Some((_, log))) => {
                // Somebody waits for this very task: it ends, and says why.
                let journal = self.journal(log);
                journal.warn(format!("did not run: this does not hold: {unmet}"));
                journal.finish(tasks::TaskEnd::Ok);
                return Ok(RunEnd::Waiting(unmet.clone()));
            }
            (None, Some((_, log))) => log,
            (None, None) => tasks.start(sync::upid(self.job, self.kind)),
        };
        let upid = log.upid().clone();
        let outcome = Outcome::begin(&states, self.job, &upid);
        let (report, end) = run.task(&upid, Arc::new(run.journal(log)), keys).await;
        outcome.end(&report, &end, scheduled, random());
        drop(lock);
        Ok(RunEnd::Done(Box::new(report)))
    }

    /// Does everything between the first and the last line of the log.
    async fn task(
        &self,
        upid: &Upid,
        journal: Arc<Journal>,
        keys: Result<Keys, JobError>,
    ) -> (JobReport, tasks::TaskEnd) {
        let start = Instant::now();
        let rates = Rates::of(self.job);
        let steering = Arc::new(Steering::new(self.caller.control.clone(), journal.clone(), rates.clone(), local_now));
        journal.opening(upid.worker_id.as_deref().unwrap_or_default(), self.reason());

        let work = self.work(upid, &journal, &steering, &rates, keys);
        let (report, traffic) = tokio::select! {
            biased;
            never = listen(self.paths, upid, &steering) => match never {},
            never = self.watch(&steering) => match never {},
            done = work => done,
        };
        let report = JobReport::new(upid.clone(), report, traffic.as_deref(), start.elapsed());
        journal.closing(&report);
        if report.report.errors.is_empty() && self.kind == Kind::Stored {
            journal.info(format!("sync job '{}' end", self.job.id));
        }
        if self.kind == Kind::Stored {
            let untold = tell::run_ended(self.paths, self.job, &report, now()).await;
            untold.into_iter().for_each(|warning| journal.warn(warning));
        }
        let end = journal.finish(outcome::task_end(&report.report));
        (report, end)
    }

    /// Why the run runs, where that is worth a line.
    fn reason(&self) -> Option<String> {
        if !self.this_run.scheduled {
            return None;
        }
        let schedule = self.job.schedule.as_ref()?;
        Some(format!("task triggered by schedule '{schedule}'"))
    }

    async fn watch(&self, steering: &Steering) -> std::convert::Infallible {
        if self.job.run_when.is_empty() || self.this_run.ignore_conditions || self.kind == Kind::Adhoc {
            return std::future::pending().await;
        }
        watch::watch(&OfJob { paths: self.paths, job: self.job }, steering, watch::LOOK_AGAIN).await
    }

    /// Runs the scripts around the transfer, and the transfer.
    async fn work(
        &self,
        upid: &Upid,
        journal: &Arc<Journal>,
        steering: &Steering,
        rates: &Rates,
        keys: Result<Keys, JobError>,
    ) -> (Report, Option<Arc<Traffic>>) {
        let facts = Facts::gather(self.paths, self.job, upid, self.this_run.scheduled);
        let (mut report, traffic) = match self.script(&facts, Hook::Pre, None, journal).await {
            Err(problem) if !self.caller.control.is_cancelled() => {
                journal.event(Event::Failed(problem.clone()));
                (settled(Report { errors: vec![problem], ..Report::default() }), None)
            }
            // A run that was stopped meanwhile finds out there.
            _ => self.transfer(journal, steering, rates, keys).await,
        };
        let hook = if report.errors.is_empty() && !report.cancelled { Hook::Post } else { Hook::Failure };
        if let Err(problem) = self.script(&facts, hook, Some(&report), journal).await {
            journal.event(Event::Warning(problem.clone()));
            report.warnings.push(problem);
            report.settle();
        }
        (report, traffic)
    }

    /// Runs a script of the job, if it has one for this occasion.
    async fn script(
        &self,
        facts: &Facts<'_>,
        hook: Hook,
        report: Option<&Report>,
        journal: &Journal,
    ) -> Result<(), Problem> {
        if self.kind == Kind::Adhoc {
            return Ok(());
        }
        let service = |name: &str| std::env::var(name).ok();
        let Some(script) = facts.script(hook, report, service) else { return Ok(()) };
        journal.info(format!("running {}", hook.key()));
        let output = |line: &str| journal.info(format!("{}: {line}", hook.key()));
        // The one that runs because the run was stopped is not stopped by that.
        let control = &self.caller.control;
        let stoppable = !control.is_cancelled();
        tokio::select! {
            biased;
            () = control.cancelled(), if stoppable => Err(Problem::new(hook.key(), "stopped on request")),
            ended = script.run(&output) => ended.map_err(|error| Problem::new(hook.key(), crate::chain(&error))),
        }
    }

    /// Opens both ends and copies.
    async fn transfer(
        &self,
        journal: &Arc<Journal>,
        steering: &Steering,
        rates: &Rates,
        keys: Result<Keys, JobError>,
    ) -> (Report, Option<Arc<Traffic>>) {
        let control = &self.caller.control;
        let opened = async {
            match self.relay {
                Some(relay) => relay::open(self.paths, relay, keys?, rates).await,
                None => open(self.paths, self.job, keys?, rates).await,
            }
        };
        let opened = tokio::select! {
            biased;
            () = control.cancelled() => return (settled(Report { cancelled: true, ..Report::default() }), None),
            opened = opened => opened,
        };
        let mut ends = match opened {
            Ok(ends) => ends,
            Err(error) => return (never_started(self.job, &error, &**journal), None),
        };
        let brake = ends.prepare(self.paths, self.job, self.kind, self.this_run);
        let traffic = ends.traffic.take();
        steering.steer(traffic.clone());
        let monitor: Arc<dyn Monitor> = journal.clone();
        let report = tokio::select! {
            biased;
            never = rates.follow(traffic.as_deref(), local_now) => match never {},
            report = attempt(self.paths, self.job, self.kind, &ends, control, monitor) => report,
        };
        if let Some(brake) = brake {
            brake.settle(&report, now());
        }
        (report, traffic)
    }
}

/// Conditions of a job, as they are in this world.
struct OfJob<'a> {
    paths: &'a Paths,
    job: &'a SyncJobConfig,
}

#[async_trait::async_trait]
impl watch::Conditions for OfJob<'_> {
    async fn unmet(&self) -> Option<String> {
        unmet(self.paths, self.job, &Surroundings::default()).await
    }
}

/// Takes requests on the control socket of the run, for ever. A run without one goes on all the same.
async fn listen(paths: &Paths, upid: &Upid, steering: &Arc<Steering>) -> std::convert::Infallible {
    let listener = match Listener::bind(&paths.control(), upid) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "this run cannot be steered from outside");
            return std::future::pending().await;
        }
    };
    let steering = Arc::clone(steering);
    listener
        .serve(move |asked| {
            let steering = Arc::clone(&steering);
            async move { steering.answer(&asked.request, &asked.who) }
        })
        .await;
    std::future::pending().await
}
