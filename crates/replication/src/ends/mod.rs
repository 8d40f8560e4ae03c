//! The real ends: a datastore on this machine, and one at a remote.

mod local_probe;
mod local_source;
mod local_target;
mod presence;
mod remote_probe;
mod remote_source;
mod remote_target;

pub use local_source::LocalSource;
pub use local_target::LocalTarget;
pub use remote_source::RemoteSource;
pub use remote_target::RemoteTarget;

use std::time::Duration;

use client::ClientError;
use datastore::DatastoreError;
use tokio::time::Instant;

use crate::error::EndError;

/// How long to wait for a group or snapshot that somebody else works on.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Pause before the second try; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether a call to a local datastore failed because of somebody else's lock.
fn is_busy(error: &EndError) -> bool {
    error.is_busy()
}

/// Repeats `attempt` for a while as long as it fails because of somebody else's lock.
async fn while_busy<T, E, A: Future<Output = Result<T, E>>>(
    is_busy: impl Fn(&E) -> bool,
    attempt: impl Fn() -> A,
) -> Result<T, E> {
    let deadline = Instant::now() + BUSY_WAIT;
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if is_busy(&error) && Instant::now() + pause <= deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Says what an error of the local datastore means for a run.
impl From<DatastoreError> for EndError {
    fn from(error: DatastoreError) -> Self {
        if error.is_busy() {
            return EndError::busy("somebody else works on it")
                .caused_by(error)
                .with_hint("a backup, prune or another sync holds the lock; the next run tries again");
        }
        if error.is_out_of_space() {
            return EndError::stop("the disk is full").caused_by(error).with_hint("make room and run again");
        }
        EndError::skip("the datastore refused").caused_by(error)
    }
}

/// Says what an error of a remote means for a run.
impl From<ClientError> for EndError {
    fn from(error: ClientError) -> Self {
        let (hint, message) = (error.hint(), "the remote failed");
        let end = match error.class() {
            _ if error.is_busy() => EndError::busy(message),
            client::ErrorClass::Retry => EndError::retry(message),
            client::ErrorClass::Skip => EndError::skip(message),
            client::ErrorClass::Stop => EndError::stop(message),
        };
        let end = end.caused_by(error);
        match hint {
            Some(hint) => end.with_hint(hint),
            None => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Answers what `answer` says to the tries, counted from 1; returns the outcome, the tries and the time taken.
    async fn tries(answer: impl Fn(u32) -> Result<u32, &'static str>) -> (Result<u32, &'static str>, u32, Duration) {
        let (count, start) = (AtomicU32::new(0), Instant::now());
        let outcome =
            while_busy(|error| *error == "busy", || async { answer(count.fetch_add(1, Ordering::SeqCst) + 1) }).await;
        (outcome, count.into_inner(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_busy_for_a_moment_is_waited_for() {
        let (outcome, _, took) = tries(|n| if n < 4 { Err("busy") } else { Ok(n) }).await;

        assert_eq!((outcome, took), (Ok(4), Duration::from_millis(50 + 100 + 200)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_busy_is_given_up_and_other_failures_are_at_once() {
        let (outcome, count, took) = tries(|_| Err("busy")).await;

        assert_eq!(outcome, Err("busy"));
        assert!(took <= BUSY_WAIT && took > BUSY_WAIT / 2 && count > 5, "{count} tries in {took:?}");
        assert_eq!(tries(|_| Err("broken")).await, (Err("broken"), 1, Duration::ZERO));
    }
}
