//! Why a run, or a step before it, failed.

use client::ClientError;
use config::ConfigError;
use datastore::DatastoreError;
use formats::{RemoteName, StoreName};
use replication::{EndError, ErrorClass};

use crate::lock::JobLockError;

/// What keeps work from starting. What fails later is in the report of the run.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No datastore has this name.
    #[error("there is no datastore '{name}'")]
    UnknownStore {
        /// The name.
        name: StoreName,
        /// The names there are.
        known: Vec<StoreName>,
    },
    /// No remote has this name.
    #[error("there is no remote '{name}'")]
    UnknownRemote {
        /// The name.
        name: RemoteName,
        /// The names there are.
        known: Vec<RemoteName>,
    },
    /// The datastore is in maintenance.
    #[error("datastore '{name}' is in maintenance ({mode})")]
    Maintenance {
        /// The datastore.
        name: StoreName,
        /// Mode and message.
        mode: String,
    },
    /// A setting cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The settings cannot be read or contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The datastore failed.
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    /// The remote failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// One end failed.
    #[error(transparent)]
    End(#[from] EndError),
    /// The job runs already, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] JobLockError),
}

impl JobError {
    /// What the error means for who would try again.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Client(error) => match error.class() {
                client::ErrorClass::Retry => ErrorClass::Retry,
                client::ErrorClass::Skip | client::ErrorClass::Stop => ErrorClass::Stop,
            },
            Self::End(error) => error.class(),
            _ => ErrorClass::Stop,
        }
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownStore { known, .. } => Some(there_is("datastore", known)),
            Self::UnknownRemote { known, .. } => Some(there_is("remote", known)),
            Self::Maintenance { name, .. } => {
                Some(format!("end it with: backup-manager datastore update {name} --delete maintenance-mode"))
            }
            Self::Client(error) => error.hint(),
            Self::End(error) => error.hint().map(str::to_owned),
            Self::Lock(JobLockError::Running { .. }) => Some("wait until it ends, or stop it".to_owned()),
            Self::Unusable(_) | Self::Config(_) | Self::Datastore(_) | Self::Lock(_) => None,
        }
    }
}

fn there_is(what: &str, known: &[impl ToString]) -> String {
    let mut known: Vec<String> = known.iter().map(ToString::to_string).collect();
    known.sort();
    if known.is_empty() { format!("there is no {what} at all yet") } else { format!("there is: {}", known.join(", ")) }
}
