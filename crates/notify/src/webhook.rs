//! Webhooks: one POST of a JSON object.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

use crate::{LIMIT, NotifyError, limited};

/// Posts `body` to `url` with one more `header`, which may be a secret.
///
/// Any 2xx is success; redirects are not followed, since the header would go along. Certificates are checked against the
/// system's roots, proxies are those of the environment, except for this machine itself.
///
/// # Errors
/// The webhook cannot be reached, answers something else, or takes too long.
pub async fn post(url: &str, header: Option<&(String, String)>, body: &serde_json::Value) -> Result<(), NotifyError> {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or("?").to_owned();
    let failed = |source: reqwest::Error| NotifyError::Webhook { host: host.clone(), source: source.without_url() };
    let client = client(is_loopback(&host)).map_err(failed)?;
    let headers = header.map(|(name, value)| sensitive(name, value)).unwrap_or_default();
    let request = client.post(url).headers(headers).json(body);
    let answer = limited(&format!("the webhook at {host}"), request.send()).await?.map_err(failed)?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(NotifyError::Answer { host, status: status.as_u16() }) }
}

/// A header that no log shows; one that cannot be sent is left out, and the webhook will say what it misses.
fn sensitive(name: &str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

fn client(direct: bool) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls())
        .redirect(redirect::Policy::none())
        .timeout(LIMIT)
        .user_agent(concat!("backup-manager/", env!("CARGO_PKG_VERSION")));
    if direct {
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Trusts the system's root certificates.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(clippy::expect_used, reason = "these versions belong to this provider")]
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("sound");
    versions.with_root_certificates(roots).with_no_client_auth()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
