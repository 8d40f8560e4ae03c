//! Recorded requests, with the twin's contents and real secrets.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use traces::{Exchange, Twin};

use crate::site::PASSWORD;

/// The login whose ticket the following requests carry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) ticket: String,
    pub(crate) csrf: String,
}

/// A request ready to be sent.
pub(crate) struct Prepared {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Bytes>,
}

/// Writers of a session: the recorded number, and the one the server under test gave.
pub(crate) type Wids = HashMap<u64, u64>;

pub(crate) fn prepare(twin: &Twin, exchange: &Exchange, secret: &str, login: &Login, wids: &Wids) -> Prepared {
    let body = body(twin, exchange, login, wids);
    let length = body.as_ref().map_or(0, Bytes::len);
    let headers = exchange.headers.iter().map(|(name, value)| {
        let value = match name.as_str() {
            "authorization" => value.replace("SECRET", secret),
            "cookie" => value.replace("TICKET", &login.ticket),
            "csrfpreventiontoken" => login.csrf.clone(),
            "content-length" => length.to_string(),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Prepared { target: target(twin, exchange, length, wids), headers: headers.collect(), body }
}

/// The recorded target with each value that depends on contents replaced, and every other byte kept.
fn target(twin: &Twin, exchange: &Exchange, length: usize, wids: &Wids) -> String {
    let Some((path, query)) = exchange.target.split_once('?') else { return exchange.target.clone() };
    let pieces = query.split('&').map(|piece| match piece.split_once('=') {
        Some((name @ ("digest" | "csum"), value)) => format!("{name}={}", twin.text(value)),
        Some((name @ "encoded-size", _)) => format!("{name}={length}"),
        Some((name @ "wid", value)) => format!("{name}={}", wids[&value.parse().unwrap()]),
        _ => piece.to_owned(),
    });
    format!("{path}?{}", pieces.collect::<Vec<_>>().join("&"))
}

fn body(twin: &Twin, exchange: &Exchange, login: &Login, wids: &Wids) -> Option<Bytes> {
    match exchange.path() {
        // Also without a recorded body: the upload that was cut off has none.
        "/dynamic_chunk" | "/fixed_chunk" => {
            return Some(twin.chunk(&exchange.param("digest").unwrap()).blob.into_bytes());
        }
        "/blob" => return Some(blob(twin, exchange)),
        _ => {}
    }
    let mut json = twin.value(exchange.body.as_ref()?.json.as_ref().expect("a body is JSON or a blob"));
    if let Some(wid) = json.get_mut("wid") {
        *wid = wids[&wid.as_u64().unwrap()].into();
    }
    if let Some(password) = json.get_mut("password") {
        *password = match password.as_str() {
            Some("TICKET") => login.ticket.clone(),
            _ => PASSWORD.to_owned(),
        }
        .into();
    }
    Some(json.to_string().into())
}

fn blob(twin: &Twin, exchange: &Exchange) -> Bytes {
    let body = exchange.body.as_ref().unwrap();
    match &body.blob {
        Some(manifest @ Value::Object(_)) => twin.manifest(manifest).to_blob().unwrap().into_bytes(),
        _ => twin.blob_like(body).unwrap_or_else(|| panic!("nothing is known of the body of {}", exchange.target)),
    }
}
