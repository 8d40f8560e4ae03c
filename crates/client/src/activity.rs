//! Remembers when a connection last moved a byte, so that a stalled one can be told from a slow one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Last sign of life of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    base: Instant,
    /// Milliseconds from `base` to the last byte moved.
    last: AtomicU64,
    /// Directions that are held back by our own rate limit: silence is then our doing.
    throttled: AtomicUsize,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { base: Instant::now(), last: AtomicU64::new(0), throttled: AtomicUsize::new(0) })
    }

    /// Notes that a byte moved.
    pub(crate) fn touch(&self) {
        let millis = u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Returns whether our own rate limit holds the connection back.
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled.load(Ordering::Relaxed) > 0
    }

    /// Returns when the last byte moved; now, while our own rate limit holds the connection back.
    pub(crate) fn last(&self) -> Instant {
        if self.is_throttled() {
            return Instant::now();
        }
        self.base + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Notes that the rate limit holds a direction back, until the answer is dropped.
    pub(crate) fn throttled(self: &Arc<Self>) -> ThrottleGuard {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        ThrottleGuard(Arc::clone(self))
    }
}

/// Says that a rate limit holds back one direction of a connection.
#[derive(Debug)]
pub(crate) struct ThrottleGuard(Arc<Activity>);

impl Drop for ThrottleGuard {
    fn drop(&mut self) {
        self.0.touch();
        self.0.throttled.fetch_sub(1, Ordering::Relaxed);
    }
}
