//! Taking broken connections up again: how long a run waits, and for what.
//!
//! A snapshot whose transfer broke off is begun again; what was stored of it is found there, so it goes on at the chunk
//! where it stopped. A listing is asked for once more. Pauses double and are spread at random, so that many runs cut off
//! together do not come back together; each chunk that gets through starts them anew.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::control::RunControl;
use crate::error::EndError;
use crate::report::{Event, Monitor, Problem};

/// How a run takes a broken connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Pause before the second try; up to twice that, at random.
    pub first: Duration,
    /// Longest pause, before chance doubles it at most.
    pub longest: Duration,
    /// Pauses that may add up without any progress; then the error counts.
    pub give_up_after: Duration,
    /// What chance starts from.
    pub seed: u64,
}

impl Patience {
    /// The first broken connection counts.
    pub const NONE: Self =
        Self { first: Duration::ZERO, longest: Duration::ZERO, give_up_after: Duration::ZERO, seed: 0 };

    fn pauses(self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .without_max_times()
            .with_total_delay(Some(self.give_up_after))
            .with_jitter()
            .with_jitter_seed(self.seed)
            .build()
    }
}

/// The tries of one piece of work.
pub(crate) struct Tries<'a> {
    patience: Patience,
    pauses: ExponentialBackoff,
    control: &'a RunControl,
    monitor: &'a dyn Monitor,
    broke: bool,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(patience: Patience, control: &'a RunControl, monitor: &'a dyn Monitor) -> Self {
        Self { patience, pauses: patience.pauses(), control, monitor, broke: false }
    }

    /// Starts the pauses anew: something got through.
    pub(crate) fn progressed(&mut self) {
        self.pauses = self.patience.pauses();
    }

    /// Waits before the next try of what failed with `error`.
    ///
    /// # Errors
    /// The error, when trying again is of no use, was done for long enough, or the run is stopped.
    pub(crate) async fn after(&mut self, at: &str, error: EndError) -> Result<(), EndError> {
        // The other end may not have seen yet that our own broken session is gone, and calls the group busy.
        let broken = error.is_broken_connection() || (self.broke && error.is_busy());
        if !broken || self.patience == Patience::NONE {
            return Err(error);
        }
        self.broke = true;
        let Some(pause) = self.pauses.next() else { return Err(error) };
        self.monitor.event(Event::Retrying { problem: Problem::from_error(at, &error), pause });
        tokio::select! {
            () = self.control.cancelled() => Err(error),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Repeats `call` until it succeeds, or patience ends.
    pub(crate) async fn persist<T>(
        mut self,
        at: &str,
        call: impl AsyncFn() -> Result<T, EndError>,
    ) -> Result<T, EndError> {
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) => self.after(at, error).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;
    use crate::report::Silent;

    fn patience() -> Patience {
        let seconds = Duration::from_secs;
        Patience { first: seconds(1), longest: seconds(60), give_up_after: seconds(300), seed: 7 }
    }

    async fn persist(control: &RunControl, answer: impl Fn(u32) -> Result<(), EndError>) -> (bool, u32, Duration) {
        let (count, start) = (AtomicU32::new(0), Instant::now());
        let tries = Tries::new(patience(), control, &Silent);
        let outcome = tries.persist("there", async || answer(count.fetch_add(1, Ordering::SeqCst) + 1)).await;
        (outcome.is_ok(), count.into_inner(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_connection_is_tried_again_after_pauses_that_double() {
        let broken = |n| if n < 5 { Err(EndError::retry("cut")) } else { Ok(()) };

        let (well, count, took) = persist(&RunControl::new(), broken).await;

        assert!(well && count == 5, "{count} tries");
        let least = Duration::from_secs(1 + 2 + 4 + 8);
        assert!(took >= least && took <= least * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_where_nothing_gets_through() {
        let (well, count, took) = persist(&RunControl::new(), |_| Err(EndError::retry("cut"))).await;

        assert!(!well && count > 5);
        assert!(took <= Duration::from_secs(300), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_trying_again_cannot_mend_counts_at_once() {
        for error in [|| EndError::skip("refused"), || EndError::stop("no login"), || EndError::busy("locked")] {
            assert_eq!(persist(&RunControl::new(), |_| Err(error())).await, (false, 1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_our_own_broken_session_may_hold_is_waited_for() {
        let answers = |n| match n {
            1 => Err(EndError::retry("cut")),
            2 => Err(EndError::busy("locked")),
            _ => Ok(()),
        };
        assert!(persist(&RunControl::new(), answers).await.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_run_waits_no_longer() {
        let control = RunControl::new();
        control.cancel();

        let (well, count, took) = persist(&control, |_| Err(EndError::retry("cut"))).await;

        assert_eq!((well, count, took), (false, 1, Duration::ZERO));
    }
}
