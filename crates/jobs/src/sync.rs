//! A sync job from its configuration to its report.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Traffic;
use config::{ConfigError, Entry, Paths, SyncDirection, SyncJobConfig, TransferMode};
use formats::{BackupTime, CryptKey, FilterSet, Upid};
use replication::crypt::{DecryptingTarget, EncryptingSource};
use replication::{
    Direction, EndError, Event, Forecast, JobOptions, Monitor, Patience, Problem, Report, RunControl, Silent, Source,
    Target, TransferOrder,
};
use tasks::{new_upid, now, superuser};

use crate::brakes::HeldBrake;
use crate::ends::{Place, SourceUse, open_source_paced, open_target_verified};
use crate::error::JobError;
use crate::forecast::JobForecast;
use crate::rates::{Rates, local_now};
use crate::receipt::Receipts;

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
    /// Run although a condition of `run-when` does not hold.
    pub ignore_conditions: bool,
    /// The scheduler started it, not a person.
    pub scheduled: bool,
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

/// Runs between open ends. A stored job that left nothing to do last time, and whose ends look the same, ends at once.
pub(crate) async fn attempt(
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

/// Says what [`run_sync`](crate::run_sync) would do now. Nothing is written and no lock of the job is taken.
///
/// As with a run, whatever keeps it from succeeding is in the report.
///
/// # Errors
/// The job's settings contradict each other, or the forecast was stopped.
pub async fn forecast_sync(
    paths: &Paths,
    job: &SyncJobConfig,
    kind: Kind,
    this_run: ThisRun,
    control: RunControl,
) -> Result<JobForecast, JobError> {
    job.check()?;
    this_run.check(job)?;
    let (keys, rates) = (Keys::of(paths, job)?, Rates::of(job));
    forecast(paths, job, kind, this_run, open(paths, job, keys, &rates), control).await
}

/// Opens the ends and says what a run between them would do.
pub(crate) async fn forecast(
    paths: &Paths,
    job: &SyncJobConfig,
    kind: Kind,
    this_run: ThisRun,
    ends: impl Future<Output = Result<Ends, JobError>>,
    control: RunControl,
) -> Result<JobForecast, JobError> {
    let start = Instant::now();
    let stopped = || EndError::stop("stopped on request");
    let opened = tokio::select! {
        biased;
        () = control.cancelled() => return Err(stopped().into()),
        opened = ends => opened,
    };
    let monitor = Arc::new(Silent);
    let forecast = match opened {
        Err(error) => Forecast { report: never_started(job, &error, &*monitor), ..Forecast::default() },
        Ok(mut ends) => {
            ends.prepare(paths, job, kind, this_run);
            match replication::rehearse(&ends.options, ends.source, ends.target, &control, monitor).await {
                Ok(forecast) => forecast,
                Err(error) => {
                    let report = Report { errors: vec![Problem::from_error("listing", &error)], ..Report::default() };
                    Forecast { report: settled(report), ..Forecast::default() }
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
    pub(crate) traffic: Option<Arc<Traffic>>,
}

impl Ends {
    /// Puts encryption or decryption between the ends, and sets the rates that hold now.
    pub(crate) fn between(
        source: Arc<dyn Source>,
        target: Arc<dyn Target>,
        keys: Keys,
        mut options: JobOptions,
        traffic: Option<Arc<Traffic>>,
        rates: &Rates,
    ) -> Self {
        if let Some(traffic) = &traffic {
            rates.set(traffic, local_now());
        }
        options.keys = keys.encrypt.iter().chain(&keys.decrypt).cloned().collect();
        let source = match keys.encrypt {
            Some(key) => Arc::new(EncryptingSource::new(source, key)),
            None => source,
        };
        let target = match keys.decrypt {
            keys if keys.is_empty() => target,
            keys => Arc::new(DecryptingTarget::new(target, keys)),
        };
        Self { options, source, target, traffic }
    }

    /// Adds what holds for this run only. Returns what is remembered of the brake of a stored job.
    pub(crate) fn prepare(
        &mut self,
        paths: &Paths,
        job: &SyncJobConfig,
        kind: Kind,
        this_run: ThisRun,
    ) -> Option<HeldBrake> {
        self.options.allow_removals = this_run.allow_removals;
        let brake = (kind == Kind::Stored).then(|| HeldBrake::read(paths, job, &self.options));
        self.options.held_in_scope = brake.as_ref().and_then(HeldBrake::in_scope);
        brake
    }
}

/// The keys of a run.
#[derive(Default)]
pub(crate) struct Keys {
    /// Encrypts what is plain.
    pub(crate) encrypt: Option<CryptKey>,
    /// Decrypt what is under them.
    pub(crate) decrypt: Vec<CryptKey>,
}

impl Keys {
    /// A push has one key at most, a pull decrypts with any.
    pub(crate) fn of(paths: &Paths, job: &SyncJobConfig) -> Result<Self, JobError> {
        let keys = config::encryption_keys::of_job(paths, job)?;
        Ok(match job.direction() {
            SyncDirection::Push => Self { encrypt: keys.into_iter().next(), ..Self::default() },
            SyncDirection::Pull => Self { decrypt: keys, ..Self::default() },
        })
    }
}

/// Opens both ends.
pub(crate) async fn open(paths: &Paths, job: &SyncJobConfig, keys: Keys, rates: &Rates) -> Result<Ends, JobError> {
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
    let target = open_target_verified(paths, &to, job.verify, &keys.decrypt, None).await?;
    let mut options = options(job);
    if let Some(identity) = target.identity {
        options.owner = identity;
    }
    Ok(Ends::between(source.source, target.target, keys, options, source.traffic.or(target.traffic), rates))
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
        patience: patience(),
        worker_threads: job.worker_threads.map_or(JobOptions::DEFAULT_WORKERS, usize::from),
        ..JobOptions::new(direction, job.owner())
    }
}

/// A line that breaks in the middle of a run gets five minutes to come back. The run that ends then is tried again later,
/// and goes on where this one stopped.
fn patience() -> Patience {
    let seconds = Duration::from_secs;
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    Patience { first: seconds(1), longest: seconds(60), give_up_after: seconds(300), seed }
}

/// The name of a run: remote or `-`, remote store, store, namespace and id of a stored job; the store of another.
pub(crate) fn upid(job: &SyncJobConfig, kind: Kind) -> Upid {
    let (worker_type, worker_id) = match kind {
        Kind::Stored => ("syncjob", job_worker_id(job)),
        Kind::Adhoc => ("sync", job.store.to_string()),
    };
    new_upid(worker_type, Some(worker_id), superuser())
}

/// What a run of a stored job is about, as UPIDs and logs name it.
pub fn job_worker_id(job: &SyncJobConfig) -> String {
    let remote = job.remote.as_ref().map_or("-", |remote| remote.as_str());
    format!("{remote}:{}:{}:{}:{}", job.remote_store, job.store, job.ns(), job.id)
}

/// The report of a run whose ends could not be opened.
pub(crate) fn never_started(job: &SyncJobConfig, error: &JobError, monitor: &dyn Monitor) -> Report {
    let place = match (error, &job.remote) {
        (JobError::UnknownRemote { name, .. }, _) => name.to_string(),
        (JobError::UnknownStore { name, .. } | JobError::Maintenance { name, .. }, _) => name.to_string(),
        (JobError::Client(_), Some(remote)) => remote.to_string(),
        _ => job.store.to_string(),
    };
    let problem = Problem { where_: place, message: chain(error), hint: error.hint(), class: error.class() };
    monitor.event(Event::Failed(problem.clone()));
    settled(Report { errors: vec![problem], ..Report::default() })
}

pub(crate) fn settled(mut report: Report) -> Report {
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
