//! One group: its snapshots oldest first, its notes, then what vanished, then what is moved away from the source.

use formats::{Namespace, SnapshotId};

use super::{Engine, GroupJob, Slot};
use crate::error::EndError;
use crate::inventory::place;
use crate::patience::Tries;
use crate::plan::{Action, AtSource, CopyReason, Step};
use crate::rehearsal::{Amount, SnapshotForecast};
use crate::report::{Event, Removal, SnapshotOutcome};

impl Engine {
    /// Does everything the plan says about a group. The first error ends the copying, and nothing is removed at the target
    /// then. What is there all the same is moved.
    pub(super) async fn group(&self, job: GroupJob, slot: &Slot) {
        let (namespace, group) = (job.target_ns.clone(), job.plan.id.clone());
        self.monitor.event(Event::GroupStarted { namespace: namespace.clone(), group: group.clone() });

        let mut base = job.plan.base.clone();
        let removes = |step: &&Step| matches!(step.action, Action::Remove(_));
        let transfers = job.plan.steps.iter().filter(|step| !removes(step));
        let mut there = Vec::new();
        let mut whole = true;
        for step in transfers.chain(job.plan.steps.iter().filter(removes)) {
            if self.is_over() || self.control.ready().await.is_err() {
                whole = false;
                break;
            }
            match self.persist(&job, step, &mut base, slot).await {
                Ok(true) if step.at_source == AtSource::Moves => there.push(step),
                Ok(_) => {}
                Err(error) => {
                    self.fail(slot, place(&namespace, &step.snapshot), &error);
                    whole = false;
                    break;
                }
            }
        }
        // Before the last snapshot goes, and the group's notes with it.
        let noted = !job.plan.notes || (whole && self.group_notes(&job, slot).await);
        if noted {
            self.move_away(&job, &there, slot).await;
        }
        self.monitor.event(Event::GroupFinished { namespace, group });
    }

    /// Does one step, as [`Engine::step`] does, and does it again while only the connection breaks.
    ///
    /// What got through before counts as transferred, not as found at the target when it is found there. A removal is
    /// not repeated: nobody knows whether it happened before the line broke.
    async fn persist(
        &self,
        job: &GroupJob,
        step: &Step,
        base: &mut Option<SnapshotId>,
        slot: &Slot,
    ) -> Result<bool, EndError> {
        if matches!(step.action, Action::Remove(_)) {
            return self.step(job, step, base, slot).await;
        }
        let at = place(&job.target_ns, &step.snapshot);
        let mut tries = Tries::new(self.options.patience, &self.control, &*self.monitor);
        let before = Amount::of(&slot.lock());
        let mut got_through = Amount::default();
        let there = loop {
            let broke = match self.step(job, step, base, slot).await {
                Ok(there) => break there,
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
        };
        let mut report = slot.lock();
        report.chunks_reused = report.chunks_reused.saturating_sub(got_through.chunks).max(before.chunks_reused);
        report.bytes_reused = report.bytes_reused.saturating_sub(got_through.logical_bytes).max(before.bytes_reused);
        Ok(there)
    }

    /// Does one step. Returns whether the snapshot is at the target now, as good as that is known.
    async fn step(
        &self,
        job: &GroupJob,
        step: &Step,
        base: &mut Option<SnapshotId>,
        slot: &Slot,
    ) -> Result<bool, EndError> {
        let again = match step.action {
            Action::Skip(_) => return Ok(true),
            Action::Keep(_) => return Ok(false),
            Action::Remove(_) => return self.remove(&job.target_ns, &step.snapshot, slot).await.map(|()| false),
            Action::Copy(CopyReason::New | CopyReason::Gap) => false,
            Action::Copy(CopyReason::Corrupt) | Action::Refresh | Action::Update => true,
        };
        let (namespace, snapshot) = (job.target_ns.clone(), step.snapshot.clone());
        self.monitor.event(Event::SnapshotStarted { namespace, snapshot, again });
        let before = Amount::of(&slot.lock());
        let outcome = match step.action {
            Action::Refresh => self.refresh(job, &step.snapshot, base.as_ref(), slot).await,
            Action::Update => Ok(SnapshotOutcome::Unchanged),
            Action::Copy(CopyReason::Corrupt) => self.mend(job, &step.snapshot, slot).await,
            _ => self.copy(job, &step.snapshot, base.as_ref(), slot).await,
        };
        let outcome = match outcome {
            Ok(outcome) => self.keep_in_step(job, step, outcome).await,
            failed => failed,
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
        Ok(outcome != SnapshotOutcome::Vanished)
    }

    async fn remove(&self, namespace: &Namespace, snapshot: &SnapshotId, slot: &Slot) -> Result<(), EndError> {
        self.target.remove_snapshot(namespace, snapshot).await?;
        slot.lock().snapshots_removed += 1;
        let what = Removal::Snapshot(namespace.clone(), snapshot.clone());
        self.monitor.event(Event::Removed { what });
        Ok(())
    }
}
