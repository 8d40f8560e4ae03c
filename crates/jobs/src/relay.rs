//! Copying between two remotes, with no datastore of this host in between.

use std::sync::Arc;

use client::Traffic;
use config::{Entry as _, Paths, SyncJobConfig};
use formats::RemoteName;
use replication::{Direction, RunControl};

use crate::ends::{Place, SourceUse, open_source_paced, open_target_verified};
use crate::error::JobError;
use crate::forecast::JobForecast;
use crate::rates::Rates;
use crate::report::JobReport;
use crate::run::{Caller, perform_relay};
use crate::sync::{Ends, Keys, Kind, ThisRun, forecast, options};

/// What to relay, from where to where.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The remote that has the source.
    pub from: RemoteName,
    /// A push of what is in `store` there, and begins in `ns`, to `remote-store` at `remote`. It has at most one kind of
    /// keys: one that encrypts, or associated ones that decrypt. The owner is the identity that the second remote knows
    /// us by.
    pub job: SyncJobConfig,
}

/// Copies from one remote to another. Chunks pass through memory and touch no disk here.
///
/// # Errors
/// Both ends are the same place, or the settings contradict each other. What fails later is in the report.
pub async fn run_relay(paths: &Paths, relay: &Relay, this_run: ThisRun, caller: Caller) -> Result<JobReport, JobError> {
    this_run.check(&relay.job)?;
    let keys = check(paths, relay)?;
    Ok(perform_relay(paths, relay, this_run, &caller, keys).await)
}

/// Says what [`run_relay`] would do now. Nothing is written at either end.
///
/// # Errors
/// As there, or the forecast was stopped.
pub async fn forecast_relay(
    paths: &Paths,
    relay: &Relay,
    this_run: ThisRun,
    control: RunControl,
) -> Result<JobForecast, JobError> {
    this_run.check(&relay.job)?;
    let (keys, rates) = (check(paths, relay)?, Rates::of(&relay.job));
    forecast(paths, &relay.job, Kind::Adhoc, this_run, open(paths, relay, keys, &rates), control).await
}

fn check(paths: &Paths, relay: &Relay) -> Result<Keys, JobError> {
    let Relay { from, job } = relay;
    job.check()?;
    if job.remote.as_ref() == Some(from) && job.store == job.remote_store && job.ns() == job.remote_ns() {
        let same = format!("source and target are the same: datastore '{}' at '{from}'", job.store);
        return Err(JobError::Unusable(same));
    }
    let encrypt = config::encryption_keys::of_job(paths, job)?;
    let decrypt = config::encryption_keys::associated_with(paths, job)?;
    if !encrypt.is_empty() && !decrypt.is_empty() {
        return Err(JobError::Unusable("a relay encrypts or decrypts, not both".to_owned()));
    }
    Ok(Keys { encrypt: encrypt.into_iter().next(), decrypt })
}

/// Opens both ends.
pub(crate) async fn open(paths: &Paths, relay: &Relay, keys: Keys, rates: &Rates) -> Result<Ends, JobError> {
    let Relay { from, job } = relay;
    let Some(to) = &job.remote else { return Err(JobError::Unusable("a relay needs two remotes".to_owned())) };
    // One for both, so that counters and rates are those of the whole job.
    let traffic = Traffic::new();
    let from = Place::Remote(from.clone(), job.store.clone());
    let to = Place::Remote(to.clone(), job.remote_store.clone());
    let source = open_source_paced(paths, &from, &job.owner(), Some(Arc::clone(&traffic)), SourceUse::Read)?;
    let target = open_target_verified(paths, &to, Some(false), &[], Some(Arc::clone(&traffic))).await?;
    let mut options = options(job);
    debug_assert_eq!(options.direction, Direction::Push, "a remote takes only what is newer");
    if let Some(identity) = target.identity {
        options.owner = identity;
    }
    Ok(Ends::between(source.source, target.target, keys, options, Some(traffic), rates))
}
