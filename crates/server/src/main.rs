//! The daemon: reads its configuration, listens, serves until it is told to end.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use config::{Paths, ServerConf};
use server::{Server, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads that may wait for the disk at once.
const BLOCKING_THREADS: usize = 32;

/// Serves datastores to backup clients and to other backup servers.
#[derive(Debug, Parser)]
#[command(name = "backup-server", version)]
struct Options {
    /// Puts configuration, state, logs and locks below this directory.
    #[arg(long, value_name = "DIR", env = "BACKUP_MANAGER_ROOT")]
    root: Option<PathBuf>,
    /// Address and port to listen on, instead of the configured one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let paths = options.root.as_deref().map_or_else(Paths::system, Paths::under_root);
    let (conf, problems) = ServerConf::load(&paths).context("cannot read the configuration of the server")?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&conf.log_level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let certificate = config::cert::ensure(&paths, &conf, chrono::Utc::now()).context("cannot get a certificate")?;
    let tls = server::server_config(certificate.certificate_pem.as_bytes(), certificate.key_pem.as_bytes())
        .context("cannot use the certificate")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let server = Server::new(paths, Settings::from(&conf), tls).context("cannot prepare the server")?;
        let listener = listener(options.listen.unwrap_or(conf.listen)).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        announce(listener.local_addr()?)?;
        server::run(listener, server, async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
        .context("cannot serve")
    })
}

/// Takes the socket that the service manager opened, or opens one.
async fn listener(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let passed = listenfd::ListenFd::from_env().take_tcp_listener(0).context("cannot use the passed socket")?;
    match passed {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(TcpListener::from_std(listener)?)
        }
        None => TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}")),
    }
}

/// Says on standard output, in one line, that connections are accepted.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()
}
