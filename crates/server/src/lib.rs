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
mod heartbeat;
mod housekeeping;
mod http;
mod listener;
mod metrics;
mod options;
mod redirect;
mod rest;
mod running_task;
mod scheduler_command;
mod session;
mod settings;
mod stamp;
mod state;
mod stores;
mod tls;
mod tracker;
mod vouch;

use std::future::Future;
use std::io;
use std::time::Duration;

use config::Paths;
use tokio::net::TcpListener;

pub use options::Options;
pub use scheduler_command::SchedulerCommand;
pub use settings::Settings;
pub use tls::{CurrentTls, TlsError, server_config, server_config_from_files};

use heartbeat::Heartbeat;
use state::State;
use tracker::AllDone;

/// A server that is ready to serve.
pub struct Server {
    state: State,
    done: AllDone,
    tls: CurrentTls,
    heartbeat: Heartbeat,
    metrics: Option<TcpListener>,
}

impl Server {
    /// Prepares a server for the configuration below `paths`; secrets that do not exist yet are made.
    ///
    /// # Errors
    /// When the secrets of tickets can be neither read nor made.
    pub fn new(paths: Paths, settings: Settings, tls: impl Into<CurrentTls>) -> Result<Self, config::ConfigError> {
        let (state, done) = State::new(paths, settings)?;
        Ok(Self { state, done, tls: tls.into(), heartbeat: Heartbeat::none(), metrics: None })
    }

    /// Shows metrics over plain HTTP to whoever connects to `listener`.
    #[must_use]
    pub fn with_metrics(mut self, listener: TcpListener) -> Self {
        self.metrics = Some(listener);
        self
    }

    /// Calls `beat` at every `interval` for as long as connections are accepted and somebody is there to serve them.
    #[must_use]
    pub fn with_heartbeat(mut self, interval: Duration, beat: impl Fn() + Send + Sync + 'static) -> Self {
        self.heartbeat = Heartbeat::new(interval, beat);
        self
    }

    /// Runs `command` when somebody asks for a run of a job. Without, a request lies where a service manager looks.
    #[must_use]
    pub fn with_scheduler(mut self, command: SchedulerCommand) -> Self {
        self.state.scheduler = Some(command);
        self
    }
}

/// Serves connections until `shutdown` resolves, and returns when every call and session has ended.
///
/// # Errors
/// When the listener cannot be used.
pub async fn run(listener: TcpListener, server: Server, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    listener::serve(listener, server, shutdown).await
}
