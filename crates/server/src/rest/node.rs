//! The server itself: version, identity, the node list.

use api_types::VersionInfo;
use api_types::protocol::{KNOWN_CHUNKS, LISTING_FINGERPRINT};
use serde_json::json;

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;

/// Behaviour that peers may count on, as `MAJOR.MINOR` and release of the protocol that is spoken.
const PROTOCOL_VERSION: (&str, &str) = ("4.2", "3");

/// What we can do beyond that (`docs/protocol-additions.md`). Other peers do not look at it.
const EXTENSIONS: [&str; 2] = [KNOWN_CHUNKS, LISTING_FINGERPRINT];

/// `GET /version`.
pub(crate) async fn version(call: Call) -> Result<Reply, ApiError> {
    let (version, release) = PROTOCOL_VERSION;
    let extensions = if call.state.settings.announce_additions { &EXTENSIONS[..] } else { &[] };
    Reply::json(&VersionInfo {
        version: version.to_owned(),
        release: release.to_owned(),
        repoid: concat!("backup-replicator-", env!("CARGO_PKG_VERSION")).to_owned(),
        extensions: extensions.iter().map(|&name| name.to_owned()).collect(),
    })
}

/// `GET /ping`.
pub(crate) async fn ping(_: Call) -> Result<Reply, ApiError> {
    Reply::json(&json!({ "pong": true }))
}

/// `GET /nodes`.
pub(crate) async fn list(_: Call) -> Result<Reply, ApiError> {
    Reply::json(&json!([{ "node": tasks::node_name() }]))
}

/// `GET /nodes/{node}/identity`: tells this installation from others, and stays the same as long as its secrets do.
pub(crate) async fn identity(call: Call) -> Result<Reply, ApiError> {
    check_name(&call)?;
    let digest = call.state.keys.sign_ticket("instance id");
    Reply::json(&json!({ "pbs-instance-id": hex::encode(&digest[..16]) }))
}

/// Checks that the call names a node at all; which one makes no difference.
///
/// # Errors
/// 400 when it is no host name without dots.
pub(crate) fn check_name(call: &Call) -> Result<(), ApiError> {
    let node = call.params.text("node")?;
    if node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(ApiError::parameter("node", "not a host name"))
}
