//! Jobs that follow others (`after`).

use formats::JobId;

use crate::sync_jobs::SyncJobConfig;

/// Finds the circles in which jobs wait for each other, each from its smallest id on.
pub fn circles<'a>(jobs: impl IntoIterator<Item = &'a SyncJobConfig>) -> Vec<Vec<JobId>> {
    let jobs: Vec<&SyncJobConfig> = jobs.into_iter().collect();
    let leader = |id: &JobId| jobs.iter().find(|job| job.id == *id).and_then(|job| job.after.as_ref());
    let mut circles: Vec<Vec<JobId>> = Vec::new();
    for job in &jobs {
        let mut chain = vec![&job.id];
        while let Some(next) = chain.last().and_then(|last| leader(last)).filter(|next| !chain.contains(next)) {
            chain.push(next);
        }
        let closes = chain.last().and_then(|last| leader(last)) == Some(&job.id);
        if closes && chain.iter().all(|id| **id >= job.id) {
            circles.push(chain.into_iter().cloned().collect());
        }
    }
    circles.sort();
    circles
}
