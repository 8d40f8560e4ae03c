//! The one error of every call: a status and a line of text.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// How long a 401 waits, so that guessing is slow.
pub(crate) const UNAUTHORIZED_DELAY: Duration = Duration::from_secs(3);

/// How long a refusal by a route's own privilege check waits.
pub(crate) const FORBIDDEN_DELAY: Duration = Duration::from_millis(500);

/// Shortest error text: a client in use slices that many bytes off it unchecked.
const SHORTEST_TEXT: usize = 8;

/// Why a call was refused.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// One line for people.
    pub(crate) message: String,
    /// Per parameter what is wrong with it.
    pub(crate) parameters: Vec<(String, String)>,
    /// How long the answer is held back.
    pub(crate) delay: Option<Duration>,
    /// Whether the answer clears the ticket cookie.
    pub(crate) clears_cookie: bool,
    /// Whether the answer goes without a content type.
    pub(crate) bare: bool,
}

impl ApiError {
    /// An error with that status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: one_line(&message.into()),
            parameters: Vec::new(),
            delay: None,
            clears_cookie: false,
            bare: false,
        }
    }

    /// 400: the usual refusal.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: one parameter is wrong.
    pub(crate) fn parameter(name: &str, reason: impl fmt::Display) -> Self {
        let reason = one_line(&reason.to_string());
        let mut error = Self::bad_request(format!("parameter verification failed - '{name}': {reason}"));
        error.parameters.push((name.to_owned(), reason));
        error
    }

    /// 401 after three seconds: who calls is not known.
    pub(crate) fn unauthenticated() -> Self {
        Self { bare: true, clears_cookie: true, ..Self::unauthorized("authentication failed") }
    }

    /// 401 after three seconds: a login that failed.
    pub(crate) fn login_failed() -> Self {
        Self { clears_cookie: true, ..Self::unauthorized("permission check failed.") }
    }

    /// 401 after three seconds.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self { delay: Some(UNAUTHORIZED_DELAY), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// 403 at once.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 403 after half a second: a route's own check failed.
    pub(crate) fn forbidden_by_route() -> Self {
        Self { delay: Some(FORBIDDEN_DELAY), ..Self::forbidden("permission check failed") }
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 404: no such path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::not_found(format!("Path '{path}' not found."))
    }

    /// 400 for something of ours that broke.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let error = Self::bad_request(message);
        tracing::error!(error = %error.message, "internal error");
        error
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Error texts travel as a single line of at least eight bytes.
fn one_line(text: &str) -> String {
    let mut line: String = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if line.len() < SHORTEST_TEXT {
        line.insert_str(0, "failed: ");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_single_lines_of_eight_bytes_or_more() {
        assert_eq!(ApiError::bad_request("a\nb").message, "failed: a b");
        assert_eq!(ApiError::bad_request("two\nlines of text").message, "two lines of text");
    }

    #[test]
    fn a_parameter_error_names_parameter_and_reason() {
        let error = ApiError::parameter("backup-time", "too small");
        assert_eq!(error.status, 400);
        assert!(error.message.contains("'backup-time': too small"));
        assert_eq!(error.parameters, [("backup-time".to_owned(), "too small".to_owned())]);
    }
}
