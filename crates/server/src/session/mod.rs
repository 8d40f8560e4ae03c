//! Upgraded connections: HTTP/2 sessions that write or read one snapshot.

mod h2;
pub(crate) mod reader;
pub(crate) mod upgrade;
pub(crate) mod writer;
