//! Collecting the parameters of a call from query, form or JSON body.

use std::time::Duration;

use api_types::protocol::MAX_PARSED_BODY;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;

use super::body::read_limited;
use super::error::ApiError;
use super::params::{RawParams, add_form, add_json};

/// Where a call's parameters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// From the body, and for forms the query too.
    Parsed,
    /// From the query alone; the body belongs to the handler and may be of any type.
    Stream,
}

/// Reads the parameters of a call; the body is returned when the handler reads it.
///
/// A JSON body stands alone: the query is then ignored.
///
/// # Errors
/// 400 for another content type, or a body that is too long or malformed.
pub(crate) async fn gather(
    input: Input,
    headers: &HeaderMap,
    query: Option<&str>,
    body: Incoming,
    patience: Duration,
    raw: &mut RawParams,
) -> Result<Option<Incoming>, ApiError> {
    let query = query.unwrap_or_default().as_bytes();
    if input == Input::Stream {
        add_form(raw, query);
        return Ok(Some(body));
    }
    let json = is_json(headers)?;
    let body = read_limited(body, MAX_PARSED_BODY, patience).await?;
    if json {
        add_json(raw, &body)?;
    } else {
        add_form(raw, &body);
        add_form(raw, query);
    }
    Ok(None)
}

/// Whether the body is JSON; it is a form when the type is missing.
fn is_json(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(false) };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(true)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(false)
    } else {
        Err(ApiError::bad_request(format!("unsupported content type {essence:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_and_forms_are_parsed() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers).ok()
        };
        assert_eq!(check("application/json; charset=UTF-8"), Some(true));
        assert_eq!(check("APPLICATION/JSON"), Some(true));
        assert_eq!(check("application/x-www-form-urlencoded"), Some(false));
        assert_eq!(check("text/plain"), None);
        assert_eq!(is_json(&HeaderMap::new()).ok(), Some(false));
    }
}
