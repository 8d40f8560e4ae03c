//! What a sync job would do with one snapshot, and why.

use config::{Paths, SyncJobConfig};
use formats::{Namespace, SnapshotId};
use replication::Explained;

use crate::error::JobError;
use crate::rates::Rates;
use crate::sync::{Keys, Kind, ThisRun, open};

/// Says what `job` would do now with `snapshot` in `ns`, a namespace of the source; by default that where the job
/// begins. Nothing is written.
///
/// # Errors
/// The stored job's settings contradict each other, an end cannot be opened, or a listing without which nothing can be said.
pub async fn explain_sync(
    paths: &Paths,
    job: &SyncJobConfig,
    ns: Option<&Namespace>,
    snapshot: &SnapshotId,
) -> Result<Explained, JobError> {
    config::sync_jobs::check(paths, job)?;
    let mut ends = open(paths, job, Keys::of(paths, job)?, &Rates::of(job)).await?;
    ends.prepare(paths, job, Kind::Stored, ThisRun::default());
    let ns = ns.unwrap_or(&ends.options.source_ns);
    Ok(replication::explain(&ends.options, &ends.source, &ends.target, ns, snapshot).await?)
}
