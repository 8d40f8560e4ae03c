//! One group: its snapshots oldest first, then what vanished.

use formats::{Namespace, SnapshotId};

use super::{Engine, GroupJob, Slot};
use crate::error::EndError;
use crate::inventory::place;
use crate::patience::Tries;
use crate::plan::{Action, CopyReason, Step};
use crate::rehearsal::{Amount, SnapshotForecast};
use crate::report::{Event, Removal, SnapshotOutcome};

impl Engine {
    /// Does everything the plan says about a group. The first error ends it: what comes later is not done.
    pub(super) async fn group(&self, job: GroupJob, slot: &Slot) {
        let (namespace, group) = (job.target_ns.clone(), job.plan.id.clone());
        self.monitor.event(Event::GroupStarted { namespace: namespace.clone(), group: group.clone() });

        let mut base = job.plan.base.clone();
        let removes = |step: &&Step| matches!(step.action, Action::Remove(_));
        let transfers = job.plan.steps.iter().filter(|step| !removes(step));
        for step in transfers.chain(job.plan.steps.iter().filter(removes)) {
            if self.is_over() || self.control.ready().await.is_err() {
                break;
            }
            if let Err(error) = self.persist(&job, step, &mut base, slot).await {
                self.fail(slot, place(&namespace, &step.snapshot), &error);
                break;
            }
        }
        self.monitor.event(Event::GroupFinished { namespace, group });
    }

    /// Does one step, and does it again while only the connection breaks.
    ///
    /// What got through before counts as transferred, not as found at the target when it is found there. A removal is
    /// not repeated: nobody knows whether it happened before the line broke.
    async fn persist(
        &self,
        job: &GroupJob,
        step: &Step,
        base: &mut Option<SnapshotId>,
        slot: &Slot,
    ) -> Result<(), EndError> {
        if matches!(step.action, Action::Remove(_)) {
            return self.step(job, step, base, slot).await;
        }
        let at = place(&job.target_ns, &step.snapshot);
        let mut tries = Tries::new(self.options.patience, &self.control, &*self.monitor);
        let before = Amount::of(&slot.lock());
        let mut got_through = Amount::default();
        loop {
            let broke = match self.step(job, step, base, slot).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let now = Amount::of(&slot.lock()).since(before);
            if now.chunks > got_through.chunks {
                tries.progressed();
            }
            got_through = now;
            tries.after(&at, broke).await?;
            let mut report = slot.lock();
            (report.chunks_reused, report.bytes_reused) = (before.chunks_reused, before.bytes_reused);
        }
        let mut report = slot.lock();
        report.chunks_reused = report.chunks_reused.saturating_sub(got_through.chunks).max(before.chunks_reused);
        report.bytes_reused = report.bytes_reused.saturating_sub(got_through.logical_bytes).max(before.bytes_reused);
        Ok(())
    }

    async fn step(
        &self,
        job: &GroupJob,
        step: &Step,
        base: &mut Option<SnapshotId>,
        slot: &Slot,
    ) -> Result<(), EndError> {
        let again = match step.action {
            Action::Skip(_) | Action::Keep(_) => return Ok(()),
            Action::Remove(_) => return self.remove(&job.target_ns, &step.snapshot, slot).await,
            Action::Copy(CopyReason::New | CopyReason::Gap) => false,
            Action::Copy(CopyReason::Corrupt) | Action::Refresh => true,
        };
        let (namespace, snapshot) = (job.target_ns.clone(), step.snapshot.clone());
        self.monitor.event(Event::SnapshotStarted { namespace, snapshot, again });
        let before = Amount::of(&slot.lock());
        let outcome = match step.action {
            Action::Refresh => self.refresh(job, &step.snapshot, base.as_ref(), slot).await,
            Action::Copy(CopyReason::Corrupt) => self.mend(job, &step.snapshot, slot).await,
            _ => self.copy(job, &step.snapshot, base.as_ref(), slot).await,
        };
        if let Some(notes) = &self.rehearsal {
            let amount = Amount::of(&slot.lock()).since(before);
            let forecast = SnapshotForecast { outcome: outcome.as_ref().ok().copied(), amount };
            notes.note(&job.target_ns, &step.snapshot, forecast);
        }
        let outcome = outcome?;
        let mut report = slot.lock();
        match outcome {
            SnapshotOutcome::Copied => report.snapshots_copied += 1,
            SnapshotOutcome::Refreshed => report.snapshots_refreshed += 1,
            SnapshotOutcome::Unchanged => report.snapshots_unchanged += 1,
            SnapshotOutcome::Vanished => report.snapshots_skipped += 1,
        }
        drop(report);
        if outcome == SnapshotOutcome::Copied {
            *base = Some(step.snapshot.clone());
        }
        let (namespace, snapshot) = (job.target_ns.clone(), step.snapshot.clone());
        self.monitor.event(Event::SnapshotFinished { namespace, snapshot, outcome });
        Ok(())
    }

    async fn remove(&self, namespace: &Namespace, snapshot: &SnapshotId, slot: &Slot) -> Result<(), EndError> {
        self.target.remove_snapshot(namespace, snapshot).await?;
        slot.lock().snapshots_removed += 1;
        let what = Removal::Snapshot(namespace.clone(), snapshot.clone());
        self.monitor.event(Event::Removed { what });
        Ok(())
    }
}
