//! Proof that the server still does its work.
//!
//! A timer of its own would beat on in a server that serves nobody. The listener decides when it is time, between two
//! connections, and the beat itself is a task like those that serve connections: it comes only if both still run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// What is called regularly, and when.
pub(crate) struct Heartbeat(Option<(Interval, Arc<dyn Fn() + Send + Sync>)>);

impl Heartbeat {
    /// Never beats.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Beats at every `interval`, for the first time after one. Needs a runtime.
    pub(crate) fn new(interval: Duration, beat: impl Fn() + Send + Sync + 'static) -> Self {
        let mut times = tokio::time::interval_at(Instant::now() + interval, interval);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Some((times, Arc::new(beat))))
    }

    /// Resolves when the next beat is due.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some((times, _)) => {
                times.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Beats as soon as a worker is free.
    pub(crate) fn beat(&self) {
        if let Some((_, beat)) = &self.0 {
            let beat = Arc::clone(beat);
            tokio::spawn(async move { beat() });
        }
    }
}
