//! The handle that steers a run from outside: stop, pause, go on.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::EndError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Cancelled,
}

/// Steers a run; clones steer the same one.
///
/// A paused run finishes what is on its way and starts nothing new. A cancelled one drops its work at the next wait:
/// nothing half-done becomes visible. Rates are the connection's affair: they are set at the client's traffic counter.
#[derive(Clone, Debug)]
pub struct RunControl {
    state: Arc<watch::Sender<State>>,
}

impl Default for RunControl {
    fn default() -> Self {
        Self::new()
    }
}

impl RunControl {
    /// Makes the handle of a run that may run.
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::Running)) }
    }

    /// Stops the run for good.
    pub fn cancel(&self) {
        self.state.send_replace(State::Cancelled);
    }

    /// Holds the run, unless it is cancelled.
    pub fn pause(&self) {
        self.change(State::Running, State::Paused);
    }

    /// Lets a paused run go on.
    pub fn resume(&self) {
        self.change(State::Paused, State::Running);
    }

    /// Whether the run was stopped.
    pub fn is_cancelled(&self) -> bool {
        *self.state.borrow() == State::Cancelled
    }

    /// Whether the run is held.
    pub fn is_paused(&self) -> bool {
        *self.state.borrow() == State::Paused
    }

    fn change(&self, from: State, to: State) {
        self.state.send_if_modified(|state| {
            let applies = *state == from;
            if applies {
                *state = to;
            }
            applies
        });
    }

    /// Waits until the run is cancelled.
    pub async fn cancelled(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`, so this ends with the state alone.
        let _ = state.wait_for(|state| *state == State::Cancelled).await;
    }

    /// Waits until the run may go on.
    pub(crate) async fn ready(&self) -> Result<(), EndError> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| *state != State::Paused).await.map(|state| *state);
        match state {
            Ok(State::Running) => Ok(()),
            _ => Err(EndError::stop("the run was stopped")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_run_stays_cancelled() {
        let control = RunControl::new();

        control.pause();
        assert!(control.is_paused());
        control.resume();
        assert!(!control.is_paused());
        control.cancel();
        control.pause();
        control.resume();

        assert!(control.is_cancelled());
    }

    #[tokio::test]
    async fn a_paused_run_waits_and_goes_on_when_resumed() {
        let control = RunControl::new();
        control.pause();
        let waiting = tokio::spawn({
            let control = control.clone();
            async move { control.ready().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());

        control.resume();

        assert!(waiting.await.unwrap());
    }
}
