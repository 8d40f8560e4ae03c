//! How far a session is; says which calls are still accepted.

use std::sync::{Mutex, PoisonError};

use crate::http::error::ApiError;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It accepts everything.
    Open,
    /// It is finishing, or could not and never will.
    Finishing,
    /// The snapshot is complete and visible.
    Finished,
}

/// The phase of a session, shared by its calls.
pub(crate) struct PhaseCell(Mutex<Phase>);

impl PhaseCell {
    /// A session that has just begun.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Phase::Open))
    }

    /// The present phase.
    pub(crate) fn get(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the phase.
    pub(crate) fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Refuses calls that write once the session is finishing.
    ///
    /// # Errors
    /// 400 in any phase but the first.
    pub(crate) fn require_open(&self) -> Result<(), ApiError> {
        match self.get() {
            Phase::Open => Ok(()),
            Phase::Finishing => Err(ApiError::bad_request("backup is already in the process of finishing.")),
            Phase::Finished => Err(ApiError::bad_request("backup already marked as finished.")),
        }
    }

    /// Goes from open to finishing, for one caller only.
    ///
    /// # Errors
    /// As [`PhaseCell::require_open`].
    pub(crate) fn begin_finishing(&self) -> Result<(), ApiError> {
        let mut phase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *phase {
            Phase::Open => {
                *phase = Phase::Finishing;
                Ok(())
            }
            Phase::Finishing => Err(ApiError::bad_request("backup is already in the process of finishing.")),
            Phase::Finished => Err(ApiError::bad_request("backup already marked as finished.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_call_begins_finishing() {
        let phase = PhaseCell::new();
        assert!(phase.require_open().is_ok());
        assert!(phase.begin_finishing().is_ok());
        assert!(phase.begin_finishing().is_err());
        assert!(phase.require_open().unwrap_err().message.contains("process of finishing"));
        phase.set(Phase::Finished);
        assert!(phase.require_open().unwrap_err().message.contains("marked as finished"));
    }
}
