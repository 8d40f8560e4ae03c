//! Notes and protection: what is kept in step beside the files.

use super::{Engine, GroupJob, Slot};
use crate::error::EndError;
use crate::inventory::place;
use crate::plan::Step;
use crate::report::SnapshotOutcome;

impl Engine {
    /// Sets what the plan says about a snapshot that is at the target.
    pub(super) async fn keep_in_step(
        &self,
        job: &GroupJob,
        step: &Step,
        outcome: SnapshotOutcome,
    ) -> Result<SnapshotOutcome, EndError> {
        if outcome == SnapshotOutcome::Vanished {
            return Ok(outcome);
        }
        let (namespace, snapshot) = (&job.target_ns, &step.snapshot);
        if step.in_step.notes {
            let notes = self.source.notes(&job.source_ns, snapshot).await?;
            self.target.set_notes(namespace, snapshot, &notes).await?;
        }
        if let Some(protected) = step.in_step.protected {
            self.target.set_protected(namespace, snapshot, protected).await?;
        }
        let changed = step.in_step.notes || step.in_step.protected.is_some();
        Ok(match outcome {
            SnapshotOutcome::Unchanged if changed => SnapshotOutcome::Refreshed,
            other => other,
        })
    }

    /// Sets the notes of a group. Returns whether they are set.
    pub(super) async fn group_notes(&self, job: &GroupJob, slot: &Slot) -> bool {
        let (namespace, group) = (&job.target_ns, &job.plan.id);
        let done = async {
            let notes = self.source.group_notes(&job.source_ns, group).await?;
            self.target.set_group_notes(namespace, group, &notes).await
        };
        match done.await {
            Ok(()) => {
                slot.lock().groups_updated += 1;
                true
            }
            Err(error) => {
                self.fail(slot, place(namespace, group), &error.while_doing("setting the notes of the group"));
                false
            }
        }
    }
}
