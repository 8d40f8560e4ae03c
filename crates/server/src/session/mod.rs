//! Upgraded connections: HTTP/2 sessions that write or read one snapshot.

mod h2;
pub(crate) mod reader;
pub(crate) mod upgrade;
pub(crate) mod writer;

use formats::Namespace;

/// How logs of sessions name the place inside a datastore; nothing for its root.
fn in_namespace(ns: &Namespace) -> String {
    if ns.is_root() { String::new() } else { format!(", namespace '{ns}'") }
}
