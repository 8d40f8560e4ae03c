//! A sync job from its configuration to its report.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use client::Traffic;
use config::{ConfigError, Entry, Paths, SyncDirection, SyncJobConfig, TransferMode};
use formats::{BackupTime, CryptKey, FilterSet, Upid};
use replication::crypt::{DecryptingTarget, EncryptingSource};
use replication::{
    Direction, EndError, Event, Forecast, JobOptions, Monitor, Problem, Report, RunControl, Silent, Source, Target,
    TransferOrder,
};

use crate::ends::{Place, SourceUse, open_source_paced, open_target_verified};
use crate::error::JobError;
use crate::forecast::JobForecast;
use crate::lock::JobLock;
use crate::rates::{Rates, local_now};
use crate::receipt::Receipts;
use crate::report::JobReport;
use crate::task::{new_upid, now, superuser};

/// Whether a run is that of a stored job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A job of `sync.cfg`, which runs once at a time.
    Stored,
    /// A `pull` or `push` given on the command line.
    Adhoc,
}

/// What holds for one run only and is stored with no job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThisRun {
    /// Let `remove-vanished` remove any number of snapshots, whatever `max-removals` says.
    pub allow_removals: bool,
}

impl ThisRun {
    /// Checks that it says nothing that `job` has no use for.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with what to leave out.
    pub fn check(self, job: &SyncJobConfig) -> Result<(), ConfigError> {
        if self.allow_removals && job.mode() != TransferMode::Sync {
            let reason = "has no meaning without remove-vanished; leave it out".to_owned();
            return Err(ConfigError::Invalid { property: "allow-removals".to_owned(), reason });
        }
        Ok(())
    }
}

/// Name that stands for the id of a job without one; it is never shown.
pub const ADHOC: &str = "adhoc";

/// Runs `job` to its end.
///
/// Progress goes to `monitor`; `control` stops, holds and resumes the run. Whatever keeps the run from succeeding
/// after its lock is taken is in the report, so that a run always ends with one.
///
/// # Errors
/// The job's settings contradict each other, or it is already running.
pub async fn run_sync(
    paths: &Paths,
    job: &SyncJobConfig,
    kind: Kind,
    this_run: ThisRun,
    control: RunControl,
    monitor: Arc<dyn Monitor>,
) -> Result<JobReport, JobError> {
    match kind {
        Kind::Stored => config::sync_jobs::check(paths, job)?,
        Kind::Adhoc => job.check()?,
    }
    this_run.check(job)?;
    let keys = config::encryption_keys::of_job(paths, job)?;
    let lock = match kind {
        Kind::Stored => Some(JobLock::acquire(&paths.run().join("locks"), "syncjob", job.id.as_str())?),
        Kind::Adhoc => None,
    };
    let start = Instant::now();
    let upid = upid(job, kind);
    let mut traffic = None;
    let opened = tokio::select! {
        biased;
        () = control.cancelled() => None,
        opened = open(paths, job, keys) => Some(opened),
    };
    let report = match opened {
        None => settled(Report { cancelled: true, ..Report::default() }),
        Some(Err(error)) => never_started(job, &error, &*monitor),
        Some(Ok(mut ends)) => {
            ends.options.allow_removals = this_run.allow_removals;
            traffic = ends.traffic.take();
            let rates = Rates::of(job);
            tokio::select! {
                biased;
                never = rates.follow(traffic.as_deref(), local_now) => match never {},
                report = run(paths, job, kind, &ends, &control, monitor) => report,
            }
        }
    };
    drop(lock);
    Ok(JobReport::new(upid, report, traffic.as_deref(), start.elapsed()))
}

/// Runs between open ends. A stored job that left nothing to do last time, and whose ends look the same, ends at once.
async fn run(
    paths: &Paths,
    job: &SyncJobConfig,
    kind: Kind,
    ends: &Ends,
    control: &RunControl,
    monitor: Arc<dyn Monitor>,
) -> Report {
    let receipts = async {
        match kind {
            Kind::Stored => Receipts::take(paths, job, &ends.options, &*ends.source, &*ends.target, now()).await,
            Kind::Adhoc => None,
        }
    };
    let receipts = tokio::select! {
        biased;
        () = control.cancelled() => None,
        receipts = receipts => receipts,
    };
    if receipts.as_ref().is_some_and(Receipts::nothing_to_do) && !control.is_cancelled() {
        return settled(Report::default());
    }
    let (source, target) = (Arc::clone(&ends.source), Arc::clone(&ends.target));
    let report = replication::run(&ends.options, source, target, control, monitor).await;
    if let Some(receipts) = receipts {
        receipts.keep(&report, &*ends.target).await;
    }
    report
}

/// Says what [`run_sync`] would do now. Nothing is written and no lock of the job is taken.
///
/// As with a run, whatever keeps it from succeeding is in the report.
///
/// # Errors
/// The job's settings contradict each other, or the forecast was stopped.
pub async fn forecast_sync(
    paths: &Paths,
    job: &SyncJobConfig,
    this_run: ThisRun,
    control: RunControl,
) -> Result<JobForecast, JobError> {
    job.check()?;
    this_run.check(job)?;
    let keys = config::encryption_keys::of_job(paths, job)?;
    if job.direction() == SyncDirection::Pull && !keys.is_empty() {
        // Which chunks are here already shows only when they are decrypted.
        return Err(JobError::Unusable("a dry run cannot tell what a pull that decrypts would fetch".to_owned()));
    }
    let start = Instant::now();
    let stopped = || EndError::stop("stopped on request");
    let opened = tokio::select! {
        biased;
        () = control.cancelled() => return Err(stopped().into()),
        opened = open(paths, job, keys) => opened,
    };
    let monitor = Arc::new(Silent);
    let forecast = match opened {
        Err(error) => Forecast { report: never_started(job, &error, &*monitor), exact: true, ..Forecast::default() },
        Ok(mut ends) => {
            ends.options.allow_removals = this_run.allow_removals;
            match replication::rehearse(&ends.options, ends.source, ends.target, &control, monitor).await {
                Ok(forecast) => forecast,
                Err(error) => {
                    let report = Report { errors: vec![Problem::from_error("listing", &error)], ..Report::default() };
                    Forecast { report: settled(report), exact: true, ..Forecast::default() }
                }
            }
        }
    };
    if control.is_cancelled() {
        return Err(stopped().into());
    }
    Ok(JobForecast { forecast, elapsed: start.elapsed() })
}

/// Both ends of a run, ready.
pub(crate) struct Ends {
    pub(crate) options: JobOptions,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) target: Arc<dyn Target>,
    traffic: Option<Arc<Traffic>>,
}

pub(crate) async fn open(paths: &Paths, job: &SyncJobConfig, keys: Vec<CryptKey>) -> Result<Ends, JobError> {
    let here = Place::Local(job.store.clone());
    let there = match &job.remote {
        Some(remote) => Place::Remote(remote.clone(), job.remote_store.clone()),
        None => Place::Local(job.remote_store.clone()),
    };
    let (from, to) = match job.direction() {
        SyncDirection::Pull => (there, here),
        SyncDirection::Push => (here, there),
    };
    // Between two datastores of this host there is no line whose bytes could be held to a rate.
    let pace = job.remote.is_none().then(Traffic::new);
    let access = if job.mode() == TransferMode::Move { SourceUse::Move } else { SourceUse::Read };
    let source = open_source_paced(paths, &from, &job.owner(), pace, access)?;
    let target = open_target_verified(paths, &to, job.verify).await?;
    let traffic = source.traffic.or(target.traffic);
    if let Some(traffic) = &traffic {
        Rates::of(job).set(traffic, local_now());
    }
    let mut options = options(job);
    if let Some(identity) = target.identity {
        options.owner = identity;
    }
    options.keys.clone_from(&keys);
    let (source, target) = with_keys(source.source, target.target, options.direction, keys);
    Ok(Ends { options, source, target, traffic })
}

/// Puts encryption or decryption between the ends: a push has one key at most, a pull decrypts with any.
fn with_keys(
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    direction: Direction,
    keys: Vec<CryptKey>,
) -> (Arc<dyn Source>, Arc<dyn Target>) {
    match direction {
        Direction::Push => match keys.into_iter().next() {
            Some(key) => (Arc::new(EncryptingSource::new(source, key)), target),
            None => (source, target),
        },
        Direction::Pull if keys.is_empty() => (source, target),
        Direction::Pull => (source, Arc::new(DecryptingTarget::new(target, keys))),
    }
}

/// The job as the engine sees it.
pub(crate) fn options(job: &SyncJobConfig) -> JobOptions {
    let (direction, source_ns, target_ns, target_store) = match job.direction() {
        SyncDirection::Pull => (Direction::Pull, job.remote_ns(), job.ns(), &job.store),
        SyncDirection::Push => (Direction::Push, job.ns(), job.remote_ns(), &job.remote_store),
    };
    JobOptions {
        source_ns,
        target_ns,
        target_store: Some(target_store.to_string()),
        max_depth: job.max_depth.map(usize::from),
        group_filter: FilterSet::new(job.group_filter.clone()),
        transfer_last: job.transfer_last.and_then(NonZeroU64::new),
        encrypted_only: job.encrypted_only.unwrap_or(false),
        verified_only: job.verified_only.unwrap_or(false),
        resync_corrupt: job.resync_corrupt.unwrap_or(false),
        remove_vanished: job.mode() == TransferMode::Sync,
        moves: job.mode() == TransferMode::Move,
        sync_metadata: job.sync_metadata.unwrap_or(false),
        fill_gaps: job.fill_gaps.unwrap_or(false),
        transfer_order: match job.transfer_order.unwrap_or_default() {
            config::TransferOrder::OldestFirst => TransferOrder::OldestFirst,
            config::TransferOrder::NewestFirst => TransferOrder::NewestFirst,
        },
        now: BackupTime::from_unix(now()).ok(),
        max_removals: job.max_removals,
        worker_threads: job.worker_threads.map_or(JobOptions::DEFAULT_WORKERS, usize::from),
        ..JobOptions::new(direction, job.owner())
    }
}

/// The name of a run: remote or `-`, remote store, store, namespace and id of a stored job; the store of another.
fn upid(job: &SyncJobConfig, kind: Kind) -> Upid {
    let (worker_type, worker_id) = match kind {
        Kind::Stored => ("syncjob", job_worker_id(job)),
        Kind::Adhoc => ("sync", job.store.to_string()),
    };
    new_upid(worker_type, Some(worker_id), superuser())
}

fn job_worker_id(job: &SyncJobConfig) -> String {
    let remote = job.remote.as_ref().map_or("-", |remote| remote.as_str());
    format!("{remote}:{}:{}:{}:{}", job.remote_store, job.store, job.ns(), job.id)
}

/// The report of a run whose ends could not be opened.
fn never_started(job: &SyncJobConfig, error: &JobError, monitor: &dyn Monitor) -> Report {
    let place = match (error, &job.remote) {
        (JobError::UnknownRemote { name, .. }, _) => name.to_string(),
        (JobError::UnknownStore { name, .. } | JobError::Maintenance { name, .. }, _) => name.to_string(),
        (JobError::Client(_), Some(remote)) => remote.to_string(),
        _ => job.store.to_string(),
    };
    let problem = Problem { where_: place, message: chain(error), hint: error.hint() };
    monitor.event(Event::Failed(problem.clone()));
    settled(Report { errors: vec![problem], ..Report::default() })
}

fn settled(mut report: Report) -> Report {
    report.settle();
    report
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(remote: Option<&str>) -> SyncJobConfig {
        SyncJobConfig::new(
            "pbs2-local".parse().unwrap(),
            "local".parse().unwrap(),
            remote.map(|name| name.parse().unwrap()),
            "there".parse().unwrap(),
        )
    }

    #[test]
    fn a_stored_run_is_named_after_both_ends_and_the_job() {
        assert_eq!(job_worker_id(&job(Some("pbs2"))), "pbs2:there:local::pbs2-local");
        let nested = SyncJobConfig { ns: Some("a/b".parse().unwrap()), ..job(None) };
        assert_eq!(job_worker_id(&nested), "-:there:local:a/b:pbs2-local");
        assert_eq!(upid(&nested, Kind::Adhoc).worker_id.as_deref(), Some("local"));
    }

    #[test]
    fn a_push_turns_the_namespaces_around() {
        let mut job = job(Some("pbs2"));
        job.ns = Some("mine".parse().unwrap());
        job.remote_ns = Some("theirs".parse().unwrap());
        assert_eq!((options(&job).source_ns.as_str(), options(&job).target_ns.as_str()), ("theirs", "mine"));

        job.sync_direction = Some(SyncDirection::Push);

        assert_eq!((options(&job).source_ns.as_str(), options(&job).target_ns.as_str()), ("mine", "theirs"));
    }
}
