//! Knowing what still runs, and telling it to stop.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

/// Counts running work and carries the order to stop.
#[derive(Clone)]
pub(crate) struct Tracker {
    alive: mpsc::Sender<std::convert::Infallible>,
    stop: Arc<watch::Sender<bool>>,
}

/// Work that has not ended yet; dropped when it has.
#[derive(Clone)]
pub(crate) struct Running {
    _alive: mpsc::Sender<std::convert::Infallible>,
}

/// Resolves when every [`Running`] and the [`Tracker`] itself are gone.
pub(crate) struct AllDone(mpsc::Receiver<std::convert::Infallible>);

impl Tracker {
    /// A tracker and the end that waits for it.
    pub(crate) fn new() -> (Self, AllDone) {
        let (alive, done) = mpsc::channel(1);
        (Self { alive, stop: Arc::new(watch::Sender::new(false)) }, AllDone(done))
    }

    /// Marks work as running until the mark is dropped.
    pub(crate) fn running(&self) -> Running {
        Running { _alive: self.alive.clone() }
    }

    /// Tells everything to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when everything has been told to stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Runs a future as a task that is waited for at the end.
    pub(crate) fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = self.running();
        tokio::spawn(async move {
            future.await;
            drop(running);
        });
    }
}

impl AllDone {
    /// Waits until nothing runs any more.
    pub(crate) async fn wait(mut self) {
        let _ = self.0.recv().await;
    }
}

/// Lets HTTP/2 run the calls of a session as tasks that are waited for at the end.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) Tracker);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let running = self.0.running();
        tokio::spawn(async move {
            future.await;
            drop(running);
        });
    }
}
