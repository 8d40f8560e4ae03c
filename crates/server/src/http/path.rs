//! Request targets: splitting, then decoding.

use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// Splits a path at `/`, drops empty segments and decodes each segment on its own, so that an encoded slash is data.
///
/// # Errors
/// 400 when a segment begins with a dot or is not UTF-8.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            let text =
                percent_decode_str(segment).decode_utf8().map_err(|_| ApiError::bad_request("path is not UTF-8"))?;
            if text.starts_with('.') {
                return Err(ApiError::bad_request("path segments must not begin with a dot"));
            }
            Ok(text.into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_comes_after_splitting() {
        assert_eq!(segments("//api2/a%2Fb/UPID%3Ax%5Cx2d/").unwrap(), ["api2", "a/b", "UPID:x\\x2d"]);
    }

    #[test]
    fn dots_and_bad_utf8_are_refused() {
        assert!(segments("/a/../b").is_err());
        assert!(segments("/a/%2e%2e/b").is_err());
        assert!(segments("/%ff").is_err());
    }
}
