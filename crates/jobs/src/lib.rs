//! What a run needs beyond the engine: its ends opened by name, its lock, its name, and its report; and the two things
//! that only ever have one end in a datastore, backup and restore.
//!
//! Nothing here prints: progress goes to monitors, results are plain data.

mod backup;
mod brakes;
mod check;
mod conditions;
mod ends;
mod error;
mod explain;
mod forecast;
pub mod health;
mod hooks;
mod lock;
pub mod metrics;
mod rates;
mod receipt;
mod record;
mod relay;
mod report;
mod restore;
mod run;
pub mod scheduler;
mod script;
mod state;
mod sync;
pub mod tell;
mod verify;
mod zone;

pub use backup::{ArchiveInput, BackupError, BackupMonitor, BackupReport, BackupRequest, backup};
pub use brakes::forget_job;
pub use check::{CheckStep, CheckedStep, RemoteCheck, StepState, StoreRights, check_remote};
pub use conditions::{Surroundings, unmet};
pub use ends::{
    Place, SourceEnd, TargetEnd, address_of, find_remote, open_as_configured, open_remote, open_source, open_store,
    open_target, proxy_for,
};
pub use error::JobError;
pub use explain::explain_sync;
pub use forecast::{ForecastSummary, JobForecast};
pub use hooks::VARIABLES as HOOK_VARIABLES;
pub use lock::{JobLock, JobLockError};
pub use record::RunRecord;
pub use relay::{Relay, forecast_relay, run_relay};
pub use report::{JobReport, JobSummary};
pub use restore::{RestoreError, RestoreMonitor, RestoreReport, RestoreRequest, restore};
pub use run::{Attempts, Caller, Echo, RunEnd, run_sync, settle_dead};
pub use state::{EndState, JobState, JobStates};
pub use sync::{ADHOC, Kind, ThisRun, forecast_sync, job_worker_id};
pub use verify::{Again, VerifyOutcome, VerifyRow, snapshots_to_verify, verify};
pub use zone::{HostZone, host_zone};

pub(crate) use sync::chain;
