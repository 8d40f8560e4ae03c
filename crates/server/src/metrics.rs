//! `GET /metrics` over plain HTTP, on an address of its own that is off unless configured.
//!
//! Whoever reaches the address may read: names of jobs, datastores and remotes, times and sizes, nothing that opens
//! anything. What jobs copied is looked up once a minute at most, however often it is asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use jobs::health::{Facts, Look, judge, survey};
use jobs::metrics::{Detail, Exposition, Kind, StoreRoom, add, rooms};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::connections::Connections;
use crate::state::State;

/// How long what was looked up is good for.
const FRESH: Duration = Duration::from_secs(60);

/// A request must have arrived within this time.
const HEAD: Duration = Duration::from_secs(10);

/// A connection ends after this time.
const LIFE: Duration = Duration::from_secs(120);

/// Connections at a time; a few collectors are enough.
const CONNECTIONS: usize = 16;

/// What answers are made of.
pub(crate) struct Metrics {
    state: Arc<State>,
    connections: Connections,
    seen: Mutex<Option<(Instant, Arc<Seen>)>>,
}

struct Seen {
    facts: Option<Facts>,
    rooms: Vec<StoreRoom>,
}

impl Metrics {
    pub(crate) fn new(state: Arc<State>, connections: Connections) -> Self {
        Self { state, connections, seen: Mutex::default() }
    }

    /// The whole text, as of now.
    async fn text(&self) -> String {
        let mut text = Exposition::default();
        text.family("server_info", Kind::Gauge, "Version of the server; always 1")
            .add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        text.family("server_connections", Kind::Gauge, "Open connections").add(&[], count(self.connections.open()));
        text.family("server_sessions", Kind::Gauge, "Backup and restore sessions that run")
            .add(&[], count(self.state.sessions.load(Ordering::Relaxed)));
        let seen = self.seen().await;
        if let Some(facts) = &seen.facts {
            add(&mut text, facts, &judge(facts, tasks::now()), &seen.rooms, Detail::Jobs);
        }
        text.finish()
    }

    /// What there is, not older than a minute. Others wait for who looks.
    async fn seen(&self) -> Arc<Seen> {
        let mut kept = self.seen.lock().await;
        if let Some((at, seen)) = &*kept
            && at.elapsed() < FRESH
        {
            return Arc::clone(seen);
        }
        let zone = jobs::host_zone(std::env::var("TZ").ok().as_deref()).zone;
        let facts = survey(&self.state.paths, None, Look::Here, zone).await;
        let facts = facts.inspect_err(|error| tracing::warn!(%error, "no metrics of jobs")).ok();
        let paths = self.state.paths.clone();
        let rooms = tokio::task::spawn_blocking(move || rooms(&paths)).await.unwrap_or_default();
        let seen = Arc::new(Seen { facts, rooms });
        *kept = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => (StatusCode::OK, Exposition::MEDIA_TYPE, self.text().await),
            (&Method::GET, _) => (StatusCode::NOT_FOUND, "text/plain", "see /metrics\n".to_owned()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format knows floating point numbers only")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Serves until the server stops.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let address: Option<SocketAddr> = listener.local_addr().ok();
    tracing::info!(?address, "showing metrics");
    let state = Arc::clone(&metrics.state);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.tracker.stopped() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service =
                hyper::service::service_fn(|request| async { Ok::<_, Infallible>(metrics.answer(request).await) });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A collector that hangs up or hangs is none of our errors.
            let served = tokio::time::timeout(LIFE, http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = served => {}
                () = metrics.state.tracker.stopped() => {}
            }
            drop(place);
        });
    }
}
