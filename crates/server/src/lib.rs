//! `backup-server`: the REST API and the writer and reader protocols over TLS.
//!
//! A connection begins with HTTP/1.1. Its calls go through one table of routes (`rest::routes`) that says, as data, which
//! parameters a call takes and what its caller needs; handlers only parse, authorise, call and render. Two calls take the
//! connection over for an HTTP/2 session that writes or reads one snapshot. Nothing is kept in memory that is not in
//! files as well, except sessions - when one ends without being finished, what it made is removed - and who sent which chunks
//! lately, which only saves sending them again.

mod auth;
mod budget;
mod connections;
mod http;
mod listener;
mod redirect;
mod rest;
mod session;
mod settings;
mod stamp;
mod state;
mod stores;
mod tls;
mod tracker;
mod upid;
mod vouch;

use std::future::Future;
use std::io;
use std::sync::Arc;

use config::Paths;
use tokio::net::TcpListener;

pub use settings::Settings;
pub use tls::{TlsError, server_config, server_config_from_files};

use state::State;
use tracker::AllDone;

/// A server that is ready to serve.
pub struct Server {
    state: Arc<State>,
    done: AllDone,
    tls: Arc<rustls::ServerConfig>,
}

impl Server {
    /// Prepares a server for the configuration below `paths`; secrets that do not exist yet are made.
    ///
    /// # Errors
    /// When the secrets of tickets can be neither read nor made.
    pub fn new(paths: Paths, settings: Settings, tls: Arc<rustls::ServerConfig>) -> Result<Self, config::ConfigError> {
        let (state, done) = State::new(paths, settings)?;
        Ok(Self { state: Arc::new(state), done, tls })
    }
}

/// Serves connections until `shutdown` resolves, and returns when every call and session has ended.
///
/// # Errors
/// When the listener cannot be used.
pub async fn run(listener: TcpListener, server: Server, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let Server { state, done, tls } = server;
    listener::serve(listener, tls, state, done, shutdown).await
}
