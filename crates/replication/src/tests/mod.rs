//! The engine's promises, on ends in memory.

mod faults;
mod hostile;
mod moving;
mod notation;
mod planning;
mod property;
mod shared;
mod table;
mod transfers;

use std::sync::{Arc, Mutex};

use crate::memory::MemoryStore;
use crate::{Direction, Event, JobOptions, Monitor, Report, RunControl, Silent, run};

/// Options of a pull job of `root@pam`.
pub(crate) fn pull() -> JobOptions {
    JobOptions::new(Direction::Pull, "root@pam".parse().unwrap())
}

/// Options of a push job.
pub(crate) fn push() -> JobOptions {
    JobOptions { direction: Direction::Push, ..pull() }
}

/// Runs a job to its end.
pub(crate) async fn sync_with(options: &JobOptions, source: &MemoryStore, target: &MemoryStore) -> Report {
    run(options, Arc::new(source.clone()), Arc::new(target.clone()), &RunControl::new(), Arc::new(Silent)).await
}

/// Whether a store takes snapshots as a remote does.
pub(crate) trait IsRemote {
    fn is_remote(&self) -> bool;
}

impl IsRemote for MemoryStore {
    fn is_remote(&self) -> bool {
        !crate::Target::shares_chunks(self)
    }
}

/// Pulls everything.
pub(crate) async fn sync(source: &MemoryStore, target: &MemoryStore) -> Report {
    sync_with(&pull(), source, target).await
}

/// Collects events.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Monitor for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
