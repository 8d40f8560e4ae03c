//! What both kinds of sessions share: the HTTP/2 connection and its calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_types::Subdirectory;
use api_types::protocol::{CLIENT_MAX_FRAME, MAX_FRAME, MAX_HEADER_LIST, MAX_STREAMS};
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;

use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::input::{Input, gather};
use crate::http::params::{Param, Params, RawParams};
use crate::http::reply::{Envelope, Reply, render};
use crate::http::{path, route};
use crate::state::State;
use crate::tracker::Executor;

/// Bytes of one stream that wait in memory for the network.
const SEND_BUFFER: usize = CLIENT_MAX_FRAME as usize;

/// One call of a session.
pub(crate) struct SessionCall<S> {
    /// What all connections share.
    pub(crate) state: Arc<State>,
    /// The session.
    pub(crate) session: Arc<S>,
    /// Checked parameters.
    pub(crate) params: Params,
    /// The body of calls that read it themselves.
    pub(crate) body: Option<Incoming>,
}

impl<S> SessionCall<S> {
    /// Takes the body.
    ///
    /// # Errors
    /// 400 when it was parsed already.
    pub(crate) fn take_body(&mut self) -> Result<Incoming, ApiError> {
        self.body.take().ok_or_else(|| ApiError::internal("request body was taken already"))
    }
}

/// What a session's call runs as.
pub(crate) type SessionHandler<S> = fn(SessionCall<S>) -> BoxFuture<'static, Result<Reply, ApiError>>;

/// One call that a kind of session knows.
pub(crate) struct SessionRoute<S> {
    /// Method it answers.
    pub(crate) method: Method,
    /// Path relative to the session's root.
    pub(crate) path: &'static str,
    /// Parameters it allows.
    pub(crate) params: &'static [Param],
    /// Where they come from.
    pub(crate) input: Input,
    /// What it does.
    pub(crate) handler: SessionHandler<S>,
}

impl<S> route::Routed for SessionRoute<S> {
    fn method(&self) -> &Method {
        &self.method
    }

    fn pattern(&self) -> &'static str {
        self.path
    }
}

/// Serves a session until its peer goes, or everything stops.
pub(crate) async fn serve<S: Send + Sync + 'static>(
    state: &Arc<State>,
    io: Upgraded,
    session: &Arc<S>,
    routes: &'static [SessionRoute<S>],
) {
    let window = state.settings.window(state.sessions.load(Ordering::Relaxed));
    let service = {
        let (state, session) = (Arc::clone(state), Arc::clone(session));
        hyper::service::service_fn(move |request| {
            let (state, session) = (Arc::clone(&state), Arc::clone(&session));
            async move { Ok::<_, Infallible>(answer(state, session, routes, request).await) }
        })
    };
    let mut http = hyper::server::conn::http2::Builder::new(Executor(state.tracker.clone()));
    http.adaptive_window(false)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER);
    tokio::select! {
        ended = http.serve_connection(io, service) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "session connection broke off");
            }
        }
        () = state.tracker.stopped() => tracing::info!("session ended by the shutdown"),
    }
}

async fn answer<S: Send + Sync + 'static>(
    state: Arc<State>,
    session: Arc<S>,
    routes: &'static [SessionRoute<S>],
    request: Request<Incoming>,
) -> Response<Body> {
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let result = run(&state, session, routes, request).await;
    if let Err(error) = &result {
        tracing::debug!(%method, target, status = error.status.as_u16(), error = %error.message, "session call refused");
        state.hold_back(error).await;
    }
    render(Envelope::Session, result)
}

async fn run<S: Send + Sync + 'static>(
    state: &Arc<State>,
    session: Arc<S>,
    routes: &'static [SessionRoute<S>],
    request: Request<Incoming>,
) -> Result<Reply, ApiError> {
    let (parts, body) = request.into_parts();
    let segments = path::segments(parts.uri.path())?;
    let Some((route, _)) = route::find(routes, &parts.method, &segments) else {
        return match route::children(routes, &segments) {
            Some(children) if parts.method == Method::GET => {
                let list = children.into_iter().map(|name| Subdirectory { subdir: name.to_owned() });
                Reply::json(&list.collect::<Vec<_>>())
            }
            _ => Err(ApiError::no_such_path(parts.uri.path())),
        };
    };
    let mut raw = RawParams::new();
    let patience = state.settings.body_timeout;
    let body = gather(route.input, &parts.headers, parts.uri.query(), body, patience, &mut raw).await?;
    let params = Params::check(route.params, raw)?;
    (route.handler)(SessionCall { state: Arc::clone(state), session, params, body }).await
}
