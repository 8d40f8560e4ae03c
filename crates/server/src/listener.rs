//! Accepting connections until told to stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Server;
use crate::connections::{Admission, Connections, Watched};
use crate::housekeeping;
use crate::metrics::{self, Metrics};
use crate::redirect;
use crate::rest::service;
use crate::state::State;

/// First byte of a TLS handshake record.
const HANDSHAKE: u8 = 0x16;

/// TLS reads in small steps; behind a buffer they do not all become system calls.
const READ_BUFFER: usize = 64 * 1024;

/// Bytes TLS may hold that the network has not taken yet.
const WRITE_BUFFER: usize = 1024 * 1024;

/// Probes of silent peers begin after this time.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// How long accepting pauses when the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `shutdown` resolves; returns when every call and session has ended.
///
/// At the shutdown idle connections are closed, running calls get [`Settings::shutdown_timeout`], and sessions end at
/// once: what an unfinished writer session made is removed.
///
/// [`Settings::shutdown_timeout`]: crate::Settings::shutdown_timeout
///
/// # Errors
/// None at present; a failing accept is logged and tried again.
pub(crate) async fn serve(listener: TcpListener, server: Server, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let Server { state, done, tls, mut heartbeat, metrics } = server;
    let state = Arc::new(state);
    state.tracker.spawn(housekeeping::keep_house(Arc::clone(&state)));
    let connections = Connections::new(state.settings.max_connections);
    if let Some(listener) = metrics {
        let metrics = Metrics::new(Arc::clone(&state), connections.clone());
        state.tracker.spawn(metrics::serve(listener, Arc::new(metrics)));
    }
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
            () = heartbeat.next() => {
                heartbeat.beat();
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = connections.admit() else {
                    tracing::warn!(%peer, "too many connections, none of them idle: refused");
                    continue;
                };
                let (acceptor, state) = (TlsAcceptor::from(tls.get()), Arc::clone(&state));
                state.tracker.clone().spawn(async move {
                    if let Err(error) = connection(stream, acceptor, &state, place).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracing::info!("shutting down");
    state.tracker.stop();
    drop(state);
    done.wait().await;
    Ok(())
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, state: &Arc<State>, place: Admission) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE))?;
    let settings = &state.settings;
    let started = tokio::time::Instant::now();
    let handshake = async {
        let mut first = [0_u8];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first[0] != HANDSHAKE {
            let left = settings.head_timeout.saturating_sub(started.elapsed());
            let _ = tokio::time::timeout(left, redirect::serve(stream)).await;
            return Ok(None);
        }
        acceptor.accept(BufReader::with_capacity(READ_BUFFER, stream)).await.map(Some)
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(settings.handshake_timeout, handshake) => shaken,
        () = state.tracker.stopped() => return Ok(()),
    };
    let Some(mut stream) = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else { return Ok(()) };
    stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));

    let watched = Arc::clone(place.connection());
    let service = {
        let (state, watched) = (Arc::clone(state), Arc::clone(&watched));
        hyper::service::service_fn(move |request| {
            let (state, watched) = (Arc::clone(&state), Arc::clone(&watched));
            async move { Ok::<_, Infallible>(service::answer(state, watched, request).await) }
        })
    };
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(true).half_close(false);
    let served = http.serve_connection(TokioIo::new(Watched::new(stream, place)), service).with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        reason = watched.overdue(settings) => {
            tracing::debug!(reason, "closing a connection");
            return Ok(());
        }
        () = state.tracker.stopped() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(settings.shutdown_timeout, served).await {
                Ok(ended) => ended,
                Err(_) => return Ok(()),
            }
        }
    };
    ended.map_err(io::Error::other)
}
