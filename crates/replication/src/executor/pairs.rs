//! Before the groups: showing the target what is at both ends, where it stores chunks under other names.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Engine, GroupJob};
use crate::error::EndError;
use crate::inventory::place;
use crate::plan::Action;

/// Snapshots opened at the same time for this.
const PAIRED_AT_ONCE: usize = 4;

impl Engine {
    /// Pairs the base of every group that is about to be copied, if the target wants that.
    ///
    /// All of them come before the first chunk of any group, so that which chunks are fetched does not depend on which
    /// group is faster, and a rehearsal can say.
    pub(super) async fn pair_bases(&self, jobs: &[GroupJob]) {
        if !self.target.wants_pairs() {
            return;
        }
        let copies = |job: &&GroupJob| job.plan.steps.iter().any(|step| matches!(step.action, Action::Copy(_)));
        stream::iter(jobs.iter().filter(copies))
            .for_each_concurrent(PAIRED_AT_ONCE, |job| async move {
                if let Err(error) = self.pair_base(job).await {
                    let at = place(&job.target_ns, &job.plan.id);
                    tracing::debug!("{at}: nothing is learnt from its newest snapshot: {}", error.chain());
                }
            })
            .await;
    }

    async fn pair_base(&self, job: &GroupJob) -> Result<(), EndError> {
        let Some(base) = &job.plan.base else { return Ok(()) };
        match self.source.open(&job.source_ns, base).await? {
            Some(open) => self.target.pair(&job.target_ns, open.as_ref()).await,
            None => Ok(()),
        }
    }
}
