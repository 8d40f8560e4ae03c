//! Tasks that the server itself runs: sessions, verifications, prunes.

use std::future::Future;
use std::sync::Arc;

use formats::Upid;
use tasks::control::{Answer, Listener, Request};
use tasks::{TaskEnd, TaskLog};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::http::error::ApiError;
use crate::state::State;

/// A task that the server runs. It can be stopped like any other, through a socket of its own.
pub(crate) struct RunningTask {
    log: TaskLog,
    stop: Arc<watch::Sender<Option<String>>>,
    listening: Option<AbortHandle>,
}

/// Why a task is to end before its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Somebody asked for it.
    OnRequest,
    /// The server ends.
    Shutdown,
}

impl Stopped {
    /// The end it makes.
    pub(crate) fn end(self) -> TaskEnd {
        TaskEnd::Error(
            match self {
                Self::OnRequest => "stopped on request",
                Self::Shutdown => "stopped, since the server ends",
            }
            .to_owned(),
        )
    }
}

impl RunningTask {
    /// Begins the log of a task and listens for requests to it.
    pub(crate) async fn begin(state: &State, upid: Upid) -> Result<Arc<Self>, ApiError> {
        let tasks = state.tasks.clone();
        let log = state.blocking(move || tasks.start(upid)).await?;
        let stop = Arc::new(watch::Sender::new(None));
        let listening = match Listener::bind(&state.paths.control(), log.upid()) {
            Ok(listener) => Some(listen(listener, Arc::clone(&stop))),
            Err(error) => {
                tracing::warn!(upid = %log.upid(), %error, "a task cannot be stopped, since its socket cannot be made");
                None
            }
        };
        Ok(Arc::new(Self { log, stop, listening }))
    }

    /// Its name.
    pub(crate) fn upid(&self) -> &Upid {
        self.log.upid()
    }

    /// Its log.
    pub(crate) fn log(&self) -> &TaskLog {
        &self.log
    }

    /// Resolves when the task is to end.
    pub(crate) async fn stopped(&self, state: &State) -> Stopped {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            // The sender lives in `self`, so waiting cannot fail.
            asked = stop.wait_for(Option::is_some) => {
                if let Some(who) = asked.ok().as_deref().and_then(Option::as_deref) {
                    self.log.info(format!("asked to stop by {who}"));
                }
                Stopped::OnRequest
            }
            () = state.tracker.stopped() => Stopped::Shutdown,
        }
    }

    /// Does work that may be stopped.
    pub(crate) async fn unless_stopped<T>(&self, state: &State, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased; // Work that ends because of the shutdown was stopped by it.
            why = self.stopped(state) => Err(why),
            done = work => Ok(done),
        }
    }

    /// Ends it.
    pub(crate) async fn finish(self: &Arc<Self>, state: &State, end: TaskEnd) {
        let task = Arc::clone(self);
        if let Err(error) = state.blocking(move || task.log.finish(end)).await {
            tracing::error!(%error, "cannot record the end of a task");
        }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

fn listen(listener: Listener, stop: Arc<watch::Sender<Option<String>>>) -> AbortHandle {
    let serving = tokio::spawn(async move {
        listener
            .serve(move |asked| {
                let answer = match asked.request {
                    Request::Stop => {
                        stop.send_replace(Some(asked.who));
                        Answer::ok()
                    }
                    Request::Status => Answer(Ok([("state".to_owned(), "running".into())].into_iter().collect())),
                    Request::Pause | Request::Resume | Request::Set { .. } => {
                        Answer::error("this kind of task can only be stopped")
                    }
                };
                async move { answer }
            })
            .await;
    });
    serving.abort_handle()
}
