//! The daemon: reads its configuration, listens, serves until it is told to end.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use config::{Paths, ServerConf};
use server::{Options, SchedulerCommand, Server, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

mod daemon;

use daemon::certificate::Certificate;
use daemon::service_manager;

/// Threads that may wait for the disk at once.
const BLOCKING_THREADS: usize = 32;

/// How often the files of the certificate are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    complete();
    let options = Options::parse();
    let paths = options.root.as_deref().map_or_else(Paths::system, Paths::under_root);
    let (conf, problems) = ServerConf::load(&paths).context("cannot read the configuration of the server")?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&conf.log_level));
    logging::start(filter, logging::Prefix::Time)?;
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let certificate = Certificate::load(&paths, &conf).context("cannot get a certificate")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut server =
            Server::new(paths, Settings::from(&conf), certificate.tls()).context("cannot prepare the server")?;
        let own = std::env::current_exe().ok();
        let systemd = Path::new("/run/systemd/system");
        if let Some(command) = SchedulerCommand::where_needed(options.root.as_deref(), systemd, own.as_deref()) {
            server = server.with_scheduler(command);
        }
        if let Some(interval) = service_manager::heartbeat() {
            server = server.with_heartbeat(interval, service_manager::alive);
        }
        if let Some(address) = conf.metrics {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("cannot show metrics on {address}"))?;
            server = server.with_metrics(listener);
        }
        let listener = listener(options.listen.unwrap_or(conf.listen)).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let refreshing = tokio::spawn(keep_fresh(certificate, signal(SignalKind::hangup())?));
        announce(listener.local_addr()?)?;
        server::run(listener, server, async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            refreshing.abort();
            service_manager::stopping();
        })
        .await
        .context("cannot serve")
    })
}

/// Answers a shell that asks how to go on, and ends the process then.
fn complete() {
    let answer = clap_complete::CompleteEnv::with_factory(Options::command);
    // Not the usual `COMPLETE`, which may be set for another reason.
    answer.var("_BACKUP_MANAGER_COMPLETE").bin("backup-server").completer("backup-server").complete();
}

/// Looks for a new certificate every minute, and at once when told to by SIGHUP.
async fn keep_fresh(mut certificate: Certificate, mut hangup: tokio::signal::unix::Signal) {
    let mut minutes = tokio::time::interval(CERTIFICATE_INTERVAL);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minutes.tick() => tokio::task::block_in_place(|| certificate.refresh()),
            told = hangup.recv() => {
                if told.is_none() {
                    return;
                }
                service_manager::reloading();
                tokio::task::block_in_place(|| certificate.refresh());
                service_manager::reloaded();
            }
        }
    }
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

/// Says that connections are accepted: on standard output, in one line, and to the service manager.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()?;
    service_manager::ready(address);
    Ok(())
}
