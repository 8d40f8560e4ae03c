//! Looks at what there is of every job: state, running tasks, and the snapshots at its target.

use chrono_tz::Tz;
use config::check::{Finding, Severity};
use config::{ConfigError, Paths, SyncDirection, SyncJobConfig};
use formats::{AuthId, GroupId, JobId, Namespace, VerifyResult};
use futures_util::{StreamExt as _, stream};
use replication::{GroupInfo, Inventoried, LocalSource, RemoteSource, SnapshotInfo};
use tasks::{TaskStatus, TaskStore};

use super::{Copies, Facts, GroupCopies, JobFacts};
use crate::ends::{open_remote, open_store};
use crate::error::JobError;
use crate::state::{JobState, JobStates};
use crate::sync::{chain, options};

/// Listings of snapshots asked for at the same time.
const LISTINGS_IN_FLIGHT: usize = 8;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At the target of every job, also where that is another server.
    Everywhere,
    /// At datastores of this host alone.
    Here,
}

/// Looks at every job, or at `only` one. `zone` is that of the host, in which schedules are meant.
///
/// What cannot be seen of one job is told with it.
///
/// # Errors
/// `sync.cfg` cannot be read, or there is no such job.
pub async fn survey(paths: &Paths, only: Option<&JobId>, look: Look, zone: Tz) -> Result<Facts, JobError> {
    let loaded = config::sync_jobs::load(paths)?;
    let broken = loaded.problems.iter().filter(|problem| problem.breaks_section && only.is_none());
    let broken = broken.map(|problem| Finding {
        file: problem.path.clone(),
        line: problem.line,
        severity: Severity::Error,
        reason: problem.reason.clone(),
    });
    let broken = broken.collect();
    let chosen: Vec<SyncJobConfig> = match only {
        Some(id) => vec![config::sync_jobs::get(paths, id)?],
        None => loaded.entries,
    };
    let mut jobs = Vec::new();
    for job in chosen {
        let copies = copies(paths, &job, look).await;
        jobs.push(look_at(paths, job, copies, zone));
    }
    Ok(Facts { jobs, broken })
}

/// What files of this host say about a job.
fn look_at(paths: &Paths, config: SyncJobConfig, copies: Copies, zone: Tz) -> JobFacts {
    let states = JobStates::new(paths);
    let state = told(states.load(&config.id)).flatten();
    let kept = told(states.attempts(&config.id)).unwrap_or_default();
    let record = told(states.record(&config.id)).flatten();
    let running = match &state {
        Some(JobState::Started { upid }) => matches!(TaskStore::new(paths).status(upid), Ok(Some(TaskStatus::Running))),
        _ => false,
    };
    let due = config.schedule.as_ref().filter(|_| config.is_enabled()).and_then(|schedule| {
        let last = state.as_ref().and_then(JobState::reference)?;
        schedule.next_after(last, zone)
    });
    JobFacts {
        state,
        running,
        failures: kept.failures,
        retry_at: kept.retry_at,
        last_good: kept.last_good,
        record,
        due,
        copies,
        config,
    }
}

/// A state file that cannot be read is as good as none, but worth telling.
fn told<T>(read: Result<T, ConfigError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!("{}", chain(error))).ok()
}

/// The groups of a job at its target.
async fn copies(paths: &Paths, job: &SyncJobConfig, look: Look) -> Copies {
    if !job.is_enabled() {
        return Copies::NotAsked;
    }
    let listed = match (job.direction(), &job.remote) {
        (SyncDirection::Push, Some(_)) if look == Look::Here => return Copies::NotAsked,
        (SyncDirection::Push, Some(remote)) => match open_remote(paths, remote) {
            Ok((remote, _)) => {
                let owner = remote.auth_id().clone();
                list(job, &RemoteSource::new(remote, job.remote_store.clone()), &owner).await
            }
            Err(error) => Err(error),
        },
        _ => match open_store(paths, &job.store) {
            Ok(store) => list(job, &LocalSource::new(store), &job.owner()).await,
            Err(error) => Err(error),
        },
    };
    listed.map_or_else(|error| Copies::Failed(chain(&error)), Copies::Listed)
}

async fn list<E: Inventoried + ?Sized>(
    job: &SyncJobConfig,
    end: &E,
    owner: &AuthId,
) -> Result<Vec<GroupCopies>, JobError> {
    let options = options(job);
    let mut found = Vec::new();
    for ns in end.namespaces(&options.target_ns, options.max_depth).await? {
        // The groups of others are none of this job's.
        let is_ours = |group: &GroupInfo| group.owner.as_ref().is_none_or(|is| is == owner) && options.wants(&group.id);
        let groups: Vec<GroupInfo> = end.groups(&ns).await?.into_iter().filter(is_ours).collect();
        let mut listed = stream::iter(groups)
            .map(|group| async {
                let snapshots = end.snapshots(&ns, &group.id).await;
                (group.id, snapshots)
            })
            .buffered(LISTINGS_IN_FLIGHT);
        while let Some((group, snapshots)) = listed.next().await {
            found.push(copies_of(&ns, group, &snapshots?));
        }
    }
    Ok(found)
}

fn copies_of(ns: &Namespace, group: GroupId, snapshots: &[SnapshotInfo]) -> GroupCopies {
    let good = newest(snapshots, is_good);
    let any = newest(snapshots, |one| one.finished);
    GroupCopies { ns: ns.clone(), group, newest: good, newest_is_bad: any > good }
}

fn is_good(snapshot: &SnapshotInfo) -> bool {
    snapshot.finished && !snapshot.manifest_unreadable && snapshot.verified != Some(VerifyResult::Failed)
}

fn newest(snapshots: &[SnapshotInfo], counts: impl Fn(&SnapshotInfo) -> bool) -> Option<i64> {
    snapshots.iter().filter(|one| counts(one)).map(|one| one.id.time.unix()).max()
}
