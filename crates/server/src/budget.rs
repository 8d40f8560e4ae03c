//! One byte budget for the uploads of all sessions.
//!
//! HTTP/2 couples the streams of a session: data of streams that wait for the budget fills the connection's window, and
//! then a stream that has its share cannot get the rest of its body. So waiting must end: when nothing moves for a
//! while, *one* session at a time may go beyond the budget until it has nothing beyond it any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes one permit stands for.
const UNIT: u64 = 1024;

/// How long an upload waits before its session asks to go beyond the budget.
const PATIENCE: Duration = Duration::from_millis(200);

/// The budget.
#[derive(Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    total: u32,
    beyond: Arc<Mutex<Beyond>>,
}

/// Which session is beyond the budget, and with how many uploads.
#[derive(Default)]
struct Beyond {
    session: Option<u64>,
    uploads: usize,
}

/// A share of the budget, given back when dropped.
pub(crate) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
    beyond: Option<Arc<Mutex<Beyond>>>,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total, beyond: Arc::default() }
    }

    /// Waits for a share of `bytes` for an upload of `session`.
    pub(crate) async fn share(&self, session: u64, bytes: u64) -> Share {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.total);
        let waiting = Arc::clone(&self.permits).acquire_many_owned(wanted);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                permit = &mut waiting => return Share { _permit: permit.ok(), beyond: None },
                () = tokio::time::sleep(PATIENCE) => {
                    if self.go_beyond(session) {
                        return Share { _permit: None, beyond: Some(Arc::clone(&self.beyond)) };
                    }
                }
            }
        }
    }

    fn go_beyond(&self, session: u64) -> bool {
        let mut beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        let free = beyond.session.is_none_or(|other| other == session);
        if free {
            beyond.session = Some(session);
            beyond.uploads += 1;
        }
        free
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(beyond) = &self.beyond {
            let mut beyond = beyond.lock().unwrap_or_else(PoisonError::into_inner);
            beyond.uploads = beyond.uploads.saturating_sub(1);
            if beyond.uploads == 0 {
                beyond.session = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn uploads_within_the_budget_do_not_wait() {
        let budget = Budget::new(10 * 1024);
        let _one = budget.share(1, 4 * 1024).await;
        let _two = budget.share(2, 6 * 1024).await;
        assert_eq!(budget.permits.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_session_at_a_time_goes_beyond_the_budget() {
        let budget = Budget::new(1024);
        let _all = budget.share(1, 1024).await;
        let beyond = budget.share(2, 1024).await;
        let other = tokio::time::timeout(Duration::from_secs(60), budget.share(3, 1024)).await;
        assert!(other.is_err(), "a second session went beyond the budget");
        let more = budget.share(2, 1024).await;
        drop((beyond, more));
        let _other = budget.share(3, 1024).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_larger_than_the_budget_is_still_served() {
        let budget = Budget::new(1024);
        let _share = budget.share(1, 1 << 24).await;
        assert_eq!(budget.permits.available_permits(), 0);
    }
}
