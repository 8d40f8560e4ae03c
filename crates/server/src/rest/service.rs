//! From an HTTP/1.1 request to its answer.

use std::sync::Arc;

use api_types::Subdirectory;
use api_types::protocol::MAX_URI;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::access::Access;
use super::call::Call;
use super::routes::ROUTES;
use crate::auth::identify::identify;
use crate::connections::Connection;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::input::gather;
use crate::http::params::{Params, RawParams, RawValue};
use crate::http::path;
use crate::http::reply::{Envelope, Reply, render, respond};
use crate::http::route;
use crate::state::State;

/// Answers a request; `connection` is busy until the answer is sent.
pub(crate) async fn answer(
    state: Arc<State>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let busy = connection.busy();
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    tracing::debug!(%method, target, "call");
    let (envelope, result) = process(&state, request).await;
    if let Err(error) = &result {
        tracing::debug!(%method, target, status = error.status.as_u16(), error = %error.message, "call refused");
        state.hold_back(error).await;
    }
    if matches!(result, Ok(Reply::Switch(_))) {
        connection.becomes_session();
    }
    match (envelope, result) {
        (None, Err(error)) => respond(error.status, None, Body::empty()),
        (envelope, result) => render(envelope.unwrap_or(Envelope::Json), result),
    }
    .map(|body| body.hold(Box::new(busy)))
}

/// Finds envelope and result; without an envelope the answer is a bare status.
async fn process(state: &Arc<State>, mut request: Request<Incoming>) -> (Option<Envelope>, Result<Reply, ApiError>) {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (parts, body) = request.into_parts();
    let length = parts.uri.path().len() + parts.uri.query().map_or(0, |query| query.len() + 1);
    if length > MAX_URI {
        return (None, Err(ApiError::new(StatusCode::URI_TOO_LONG, "URI too long")));
    }
    let segments = match path::segments(parts.uri.path()) {
        Ok(segments) => segments,
        Err(error) => return (Some(Envelope::Json), Err(error)),
    };
    let envelope = match (segments.first().map(String::as_str), segments.get(1).map(String::as_str)) {
        (Some("api2"), Some("json")) => Envelope::Json,
        (Some("api2"), Some("extjs")) => Envelope::Extjs,
        _ if parts.method == Method::GET || parts.method == Method::HEAD => {
            return (Some(Envelope::Json), Err(ApiError::no_such_path(parts.uri.path())));
        }
        _ => return (Some(Envelope::Json), Err(ApiError::bad_request("only the API takes this method"))),
    };
    let path = segments.get(2..).unwrap_or_default();
    let request = Rest { state, method: parts.method, headers: parts.headers, body, upgrade };
    let result = request.run(path, parts.uri.path(), parts.uri.query()).await;
    (Some(envelope), result)
}

struct Rest<'a> {
    state: &'a Arc<State>,
    method: Method,
    headers: HeaderMap,
    body: Incoming,
    upgrade: Option<OnUpgrade>,
}

impl Rest<'_> {
    async fn run(self, path: &[String], full_path: &str, query: Option<&str>) -> Result<Reply, ApiError> {
        let found = route::find(ROUTES, &self.method, path);
        let identity = match &found {
            Some((route, _)) if route.access == Access::Nobody => None,
            _ => Some(identify(self.state, &self.method, &self.headers).await?),
        };
        let Some((route, variables)) = found else {
            return match route::children(ROUTES, path) {
                Some(children) if self.method == Method::GET => list(&children),
                _ => Err(ApiError::no_such_path(full_path)),
            };
        };
        let mut raw: RawParams =
            variables.into_iter().map(|(name, value)| (name.to_owned(), RawValue::Text(value))).collect();
        let patience = self.state.settings.body_timeout;
        let body = gather(route.input, &self.headers, query, self.body, patience, &mut raw).await?;
        let params = Params::check(route.params, raw)?;
        let call = Call::new(Arc::clone(self.state), identity, params, self.headers, body, self.upgrade, route.access)?;
        (route.handler)(call).await
    }
}

fn list(children: &[&'static str]) -> Result<Reply, ApiError> {
    let children: Vec<Subdirectory> =
        children.iter().map(|child| Subdirectory { subdir: (*child).to_owned() }).collect();
    Reply::json(&children)
}
