//! Answers of calls and how they look on the wire.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_DISPOSITION, CONTENT_TYPE, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::body::{Body, Held};
use super::error::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
/// JSON as handlers write it that make their own envelope.
pub(crate) const PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Text.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Expires the ticket cookie at the browser.
pub(crate) const CLEARING_COOKIE: HeaderValue = HeaderValue::from_static(
    "__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax; HttpOnly; Path=/;",
);

/// Which envelope a call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// `/api2/json`: real status codes, plain error texts.
    Json,
    /// `/api2/extjs`: always 200, errors wrapped.
    Extjs,
    /// An upgraded session: like JSON, but parameter errors go without a content type.
    Session,
}

/// What a handler answers.
pub(crate) enum Reply {
    /// `data`, already as JSON, and attributes beside it.
    Data {
        /// JSON of `data`.
        data: Vec<u8>,
        /// Attributes beside `data`: name and JSON.
        attributes: Vec<(&'static str, String)>,
        /// A cookie to set.
        cookie: Option<HeaderValue>,
    },
    /// Success of a login: `status` and `success` stand beside `data` in both trees.
    Login {
        /// JSON of `data`.
        data: Vec<u8>,
        /// A cookie to set.
        cookie: Option<HeaderValue>,
    },
    /// Bytes of a file.
    Octets {
        /// The bytes.
        bytes: Bytes,
        /// Whether the length is announced.
        sized: bool,
        /// Kept until the bytes are sent.
        held: Option<Held>,
    },
    /// A document of its own, without envelope.
    Document {
        /// The bytes.
        bytes: Bytes,
        /// What they are.
        content_type: HeaderValue,
        /// Name under which a browser saves it.
        file_name: Option<String>,
    },
    /// 101: the connection changes to that protocol.
    Switch(&'static str),
}

impl Reply {
    /// Answers with a value.
    pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ApiError> {
        Ok(Self::Data { data: to_json(value)?, attributes: Vec::new(), cookie: None })
    }

    /// Puts an attribute beside `data`.
    pub(crate) fn with(mut self, name: &'static str, value: impl Serialize) -> Result<Self, ApiError> {
        if let Self::Data { attributes, .. } = &mut self {
            let json = to_json(&value)?;
            attributes.push((name, String::from_utf8_lossy(&json).into_owned()));
        }
        Ok(self)
    }

    /// Answers `null`.
    pub(crate) fn null() -> Self {
        Self::Data { data: b"null".to_vec(), attributes: Vec::new(), cookie: None }
    }

    /// Answers with a file, ended by its stream.
    pub(crate) fn file(bytes: Bytes) -> Self {
        Self::Octets { bytes, sized: false, held: None }
    }
}

/// Serialises what a handler answers.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::internal(format!("cannot encode the answer: {error}")))
}

/// Puts an answer into its envelope.
pub(crate) fn render(envelope: Envelope, result: Result<Reply, ApiError>) -> Response<Body> {
    match result {
        Ok(Reply::Data { data, attributes, cookie }) => {
            let body = wrap(&data, &attributes, envelope == Envelope::Extjs);
            with_cookie(respond(StatusCode::OK, Some(JSON), Body::sized(body.into())), cookie)
        }
        Ok(Reply::Login { data, cookie }) => {
            with_cookie(respond(StatusCode::OK, Some(PLAIN_JSON), Body::sized(wrap(&data, &[], true).into())), cookie)
        }
        Ok(Reply::Octets { bytes, sized, held }) => {
            let body = if sized { Body::sized(bytes) } else { Body::streamed(bytes) };
            let body = match held {
                Some(held) => body.hold(held),
                None => body,
            };
            respond(StatusCode::OK, Some(OCTETS), body)
        }
        Ok(Reply::Document { bytes, content_type, file_name }) => {
            let mut response = respond(StatusCode::OK, Some(content_type), Body::sized(bytes));
            let disposition = file_name.map(|name| format!("attachment; filename=\"{name}\""));
            if let Some(value) = disposition.and_then(|text| HeaderValue::try_from(text).ok()) {
                response.headers_mut().insert(CONTENT_DISPOSITION, value);
            }
            response
        }
        Ok(Reply::Switch(protocol)) => {
            let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, None, Body::empty());
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
            response
        }
        Err(error) => render_error(envelope, &error),
    }
}

fn render_error(envelope: Envelope, error: &ApiError) -> Response<Body> {
    let cookie = error.clears_cookie.then_some(CLEARING_COOKIE);
    if envelope == Envelope::Extjs && !error.bare {
        let body = api_types::ExtjsError {
            success: false,
            status: error.status.as_u16(),
            message: error.message.clone(),
            errors: error.parameters.iter().cloned().collect(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        return with_cookie(respond(StatusCode::OK, Some(JSON), Body::sized(body.into())), cookie);
    }
    let bare = error.bare || (envelope == Envelope::Session && !error.parameters.is_empty());
    let text = Body::sized(Bytes::from(error.message.clone()));
    with_cookie(respond(error.status, (!bare).then_some(JSON), text), cookie)
}

/// `{"data":X, attributes...}`, with the marks of `/api2/extjs` when asked for.
fn wrap(data: &[u8], attributes: &[(&'static str, String)], marked: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend_from_slice(b"{\"data\":");
    body.extend_from_slice(data);
    for (name, value) in attributes {
        body.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    if marked {
        body.extend_from_slice(b",\"status\":200,\"success\":true");
    }
    body.push(b'}');
    body
}

/// Builds a response from its parts.
pub(crate) fn respond(status: StatusCode, content_type: Option<HeaderValue>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

fn with_cookie(mut response: Response<Body>, cookie: Option<HeaderValue>) -> Response<Body> {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
