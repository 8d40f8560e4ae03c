//! The HTTP/2 phase of an upgraded connection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use api_types::protocol::{CLIENT_MAX_FRAME, CLIENT_WINDOW};
use bytes::Bytes;
use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2,
    rt::Executor,
};
use serde::de::DeserializeOwned;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    ClientError, Timeouts,
    activity::Activity,
    body::{self, Stalled, Watch},
    call::{self, Call},
    connect::AbortOnDrop,
    rest::{MAX_ERROR_TEXT, Peer, Rest, parse_answer},
};

/// Scheme and authority of every request inside a session, whatever the server's real name.
const ORIGIN: &str = "https://localhost:8007";

/// Longest JSON answer inside a session.
const MAX_JSON: u64 = 64 * 1024;

/// The tasks that drive one session; dropping them closes its connection.
#[derive(Default)]
struct Tasks(Mutex<JoinSet<()>>);

/// Lets the session's own tasks start more without keeping the session alive.
#[derive(Clone)]
struct Spawner(Weak<Tasks>);

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let Some(tasks) = self.0.upgrade() else {
            return;
        };
        let mut set = tasks.0.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn(async move { drop(future.await) });
    }
}

/// Body of a request. It hides its length, since an official client sends no `content-length` inside a session.
struct Outgoing(Option<Bytes>);

impl Outgoing {
    fn new(body: Bytes) -> Self {
        Self(Some(body).filter(|body| !body.is_empty()))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// What every request of a session needs.
struct Line {
    peer: Peer,
    sender: http2::SendRequest<Outgoing>,
    activity: Arc<Activity>,
}

/// An open session. Requests may overlap; the connection closes when the session is dropped.
///
/// Each request is driven by a task of its own. So a caller that is busy elsewhere holds nobody up, and what a server
/// sends beyond a limit is refused as it comes in instead of gathering in the large receive window.
pub(crate) struct Session {
    line: Arc<Line>,
    timeouts: Timeouts,
    _tasks: Arc<Tasks>,
}

impl Session {
    /// Opens a session by upgrading a connection with `call`.
    pub(crate) async fn open(rest: &Rest, call: &Call, protocol: &'static str) -> Result<Self, ClientError> {
        let (upgraded, activity) = rest.upgrade(call, protocol).await?;
        let tasks = Arc::new(Tasks::default());
        let spawner = Spawner(Arc::downgrade(&tasks));
        let handshake = http2::Builder::new(spawner.clone())
            .initial_stream_window_size(CLIENT_WINDOW)
            .initial_connection_window_size(CLIENT_WINDOW)
            .max_frame_size(CLIENT_MAX_FRAME)
            .handshake(upgraded);
        let (sender, connection) = timeout(rest.timeouts.request, handshake)
            .await
            .map_err(|_| rest.peer.timed_out(call, rest.timeouts.request))?
            .map_err(|source| rest.peer.closed(call, source))?;
        spawner.execute(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session ended with an error");
            }
        });
        let line = Arc::new(Line { peer: rest.peer.clone(), sender, activity });
        Ok(Self { line, timeouts: rest.timeouts, _tasks: tasks })
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.line.peer
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Makes a call and returns the raw body of its answer.
    pub(crate) async fn bytes(&self, call: &Call, max: u64) -> Result<Bytes, ClientError> {
        self.exchange(call, max, self.timeouts.stall).await
    }

    /// Makes a call and parses its result.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        self.json_within(call, self.timeouts.stall).await
    }

    /// Makes a call that may be without an answer for `patience`.
    pub(crate) async fn json_within<T: DeserializeOwned>(
        &self,
        call: &Call,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let body = self.exchange(call, MAX_JSON, patience).await?;
        // An empty success is read as null, as official clients do.
        let body: &[u8] = if body.is_empty() { br#"{"data":null}"# } else { &body };
        parse_answer(self.peer(), call, body)
    }

    /// Drives a call in a task, which ends when this future is dropped.
    async fn exchange(&self, call: &Call, max: u64, patience: Duration) -> Result<Bytes, ClientError> {
        let (line, call) = (Arc::clone(&self.line), call.clone());
        let task = tokio::spawn(async move { line.exchange(&call, max, patience).await });
        let _abort = AbortOnDrop::new(&task);
        match task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only a runtime that shuts down gets here, and it drops this future next.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Line {
    async fn exchange(&self, call: &Call, max: u64, patience: Duration) -> Result<Bytes, ClientError> {
        let request = self.request(call)?;
        let mut watch = Watch::new(&self.activity, patience);
        let response = watch
            .step(self.sender.clone().send_request(request))
            .await
            .map_err(|Stalled(after)| self.peer.timed_out(call, after))?
            .map_err(|source| self.peer.closed(call, source))?;
        let status = response.status();
        if status.is_success() {
            return self.collect(call, response, max, &mut watch).await;
        }
        Err(self.refusal(call, status, response, &mut watch).await)
    }

    async fn refusal(
        &self,
        call: &Call,
        status: StatusCode,
        response: Response<Incoming>,
        watch: &mut Watch<'_>,
    ) -> ClientError {
        let text = self.collect(call, response, MAX_ERROR_TEXT, watch).await.unwrap_or_default();
        self.peer.refused(call, status, &text)
    }

    async fn collect(
        &self,
        call: &Call,
        response: Response<Incoming>,
        max: u64,
        watch: &mut Watch<'_>,
    ) -> Result<Bytes, ClientError> {
        body::collect(response, max, watch)
            .await
            .map_err(|error| self.peer.body(call, error, max, !self.sender.is_closed()))
    }

    fn request(&self, call: &Call) -> Result<Request<Outgoing>, ClientError> {
        let target: Uri =
            call.target(ORIGIN).parse().map_err(|error| self.peer.request(call, format!("bad target: {error}")))?;
        let mut request = Request::new(Outgoing::new(call.body()));
        *request.method_mut() = call.method().clone();
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, call::USER_AGENT);
        headers.insert(CONTENT_TYPE, call.content_type());
        Ok(request)
    }
}
