//! API tokens: the `Authorization` header, and a short memory of secrets that were right.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api_types::protocol::TOKEN_PREFIX;
use formats::AuthId;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

/// How long a secret that was right is not hashed again.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Returns identity and secret of a token, from `PBSAPIToken=AUTHID:SECRET` or the same with a blank.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<(AuthId, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let rest = value.strip_prefix(TOKEN_PREFIX)?;
    let rest = rest.strip_prefix(['=', ' '])?;
    let (id, secret) = rest.split_once(':')?;
    let id: AuthId = id.trim().parse().ok()?;
    let secret = percent_decode_str(secret).decode_utf8().ok()?;
    id.is_token().then(|| (id, secret.into_owned()))
}

/// Secrets that were right a moment ago, as digests.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<AuthId, ([u8; 32], Instant)>>);

impl Remembered {
    /// Whether this secret was right within the last seconds.
    pub(crate) fn knows(&self, id: &AuthId, secret: &str) -> bool {
        let digest = formats::sha256(secret.as_bytes());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).is_some_and(|(good, since)| {
            since.elapsed() < REMEMBERED && aws_lc_rs::constant_time::verify_slices_are_equal(good, &digest).is_ok()
        })
    }

    /// Notes that this secret is right.
    pub(crate) fn note(&self, id: &AuthId, secret: &str) {
        let digest = formats::sha256(secret.as_bytes());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, since)| since.elapsed() < REMEMBERED);
        known.insert(id.clone(), (digest, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        credentials(&headers).map(|(id, secret)| (id.to_string(), secret))
    }

    #[test]
    fn both_separators_name_the_same_token() {
        let wanted = Some(("a@pbs!t".to_owned(), "x:y z".to_owned()));
        assert_eq!(read("PBSAPIToken=a@pbs!t:x:y%20z"), wanted);
        assert_eq!(read("PBSAPIToken a@pbs!t:x:y%20z"), wanted);
    }

    #[test]
    fn other_schemes_and_plain_users_are_no_tokens() {
        for bad in ["pbsapitoken a@pbs!t:x", "PBSAPIToken:a@pbs!t:x", "PBSAPIToken a@pbs:x", "Bearer x", "PBSAPIToken "]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_noted_secret_is_remembered() {
        let remembered = Remembered::default();
        let id: AuthId = "a@pbs!t".parse().unwrap();
        assert!(!remembered.knows(&id, "s"));
        remembered.note(&id, "s");
        assert!(remembered.knows(&id, "s"));
        assert!(!remembered.knows(&id, "other"));
    }
}
