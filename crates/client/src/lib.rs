//! Speaks to a backup server: REST calls, and reader and writer sessions over HTTP/2.
//!
//! A [`Remote`] is one server under one identity. REST calls go over a few kept-alive HTTP/1.1 connections; each session
//! takes over a connection by an HTTP upgrade. All bytes of all connections of a run pass one [`Traffic`], which counts
//! them and holds them to a rate. Every wait has an end ([`Timeouts`]), every body a limit, and every error names the
//! server and says what it was: see [`ClientError`].
//!
//! The crate knows no files, no configuration and no datastore, and it does not check contents: what a server sends is
//! compared with index and manifest by the caller.

mod activity;
mod address;
mod body;
mod bucket;
mod call;
mod connect;
mod error;
mod proxy;
mod reader;
mod remote;
mod rest;
mod session;
mod tls;
mod traffic;
mod writer;

pub use address::{BadAddress, Credentials, RemoteAddress, Timeouts, Trust};
pub use connect::shown_certificate;
pub use error::{ClientError, ErrorClass, ProtocolError};
pub use proxy::{BadProxy, Proxy};
pub use reader::ReaderSession;
pub use remote::Remote;
pub use tls::{ShownCertificate, Verdict};
pub use traffic::Traffic;
pub use writer::{IndexKind, MAX_APPEND, WriterSession};
