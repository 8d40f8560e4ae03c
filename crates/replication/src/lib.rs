//! The replication engine: compares two places where snapshots live, plans, and moves what is missing.
//!
//! Pull, push and local sync are the same program with its ends swapped. [`Source`] and [`Target`] are the two ends,
//! [`plan()`] decides by comparing their [`Inventory`], [`execute`] obeys the [`Plan`], and a [`Report`] tells what came
//! of it. [`run`] does all of that in one call.
//!
//! This crate reads no configuration and no clock, and prints nothing.

mod brake;
mod control;
pub mod crypt;
mod ends;
mod error;
mod executor;
mod explain;
mod future;
mod inventory;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod notes;
mod options;
mod patience;
mod plan;
mod planner;
mod prepare;
mod rehearsal;
mod report;
#[cfg(test)]
mod tests;
mod traits;
mod verify;

pub use control::RunControl;
pub use ends::{LocalSource, LocalTarget, RemoteSource, RemoteTarget};
pub use executor::{execute, rehearse, run};
pub use explain::{Explained, Explanation, Presence, explain};
pub use inventory::{GroupInventory, Inventory, NamespaceInventory, Snapshots};
pub use notes::ListedNotes;
pub use options::{Direction, JobOptions, Scope, TransferOrder};
pub use patience::Patience;
pub use plan::{
    Action, AtSource, Brake, CopyReason, GroupPlan, InStep, KeepReason, NamespacePlan, Plan, RemoveReason, SkipReason,
    StayReason, Step, VanishedGroup, VanishedNamespace,
};
pub use planner::{Finding, Rule, Verdict, plan};
pub use prepare::prepare;
pub use rehearsal::{
    Amount, Forecast, GroupOutline, NamespaceOutline, Outline, Probe, Probing, Rehearsed, SnapshotForecast,
    SnapshotOutline, VanishedGroupOutline, VanishedNamespaceOutline,
};
pub use report::{Event, Monitor, Problem, Removal, Report, RunResult, Silent, SnapshotOutcome};
pub use traits::{
    ArchiveHandle, ArchiveLayout, CHUNK_OVERHEAD, ChunkRef, EndError, ErrorClass, Expectation, GroupInfo, Inventoried,
    OpenSnapshot, Removed, SnapshotInfo, SnapshotSink, Source, Target, max_file_len,
};
