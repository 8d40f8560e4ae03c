//! Turning a REST connection into a session.

use http::HeaderMap;
use http::header::UPGRADE;

use crate::http::error::ApiError;

/// Checks that the request asks for exactly this protocol. Its `Connection` header does not matter.
///
/// # Errors
/// 400 when the header is missing or names something else.
pub(crate) fn check(headers: &HeaderMap, protocol: &str) -> Result<(), ApiError> {
    match headers.get(UPGRADE) {
        None => Err(ApiError::bad_request("missing Upgrade header")),
        Some(value) if value.as_bytes() == protocol.as_bytes() => Ok(()),
        Some(_) => Err(ApiError::bad_request("invalid protocol name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_is_accepted() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&headers, "p-v1").unwrap_err().message, "missing Upgrade header");
        for (value, good) in [("p-v1", true), ("P-V1", false), ("p-v1, x", false)] {
            headers.insert(UPGRADE, value.parse().unwrap());
            assert_eq!(check(&headers, "p-v1").is_ok(), good, "{value}");
        }
    }
}
