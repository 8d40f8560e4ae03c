//! A server that answers what a test tells it to, and remembers what it was asked.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use client::{Credentials, Remote, RemoteAddress, Timeouts, Traffic, Trust};
use formats::Fingerprint;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Connections are counted from 1.
    pub(crate) connection: usize,
    /// Whether it came inside an upgraded session.
    pub(crate) session: bool,
    pub(crate) method: String,
    pub(crate) target: String,
    /// In the order of the wire.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) authority: Option<String>,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to answer.
pub(crate) enum Reply {
    /// 200 and `{"data": ...}`.
    Data(Value),
    /// 200 and this body, sent as these frames without a length.
    Frames(Vec<Bytes>),
    /// 200 and this body, with its length.
    Body(Bytes),
    /// A status and a text.
    Status(u16, &'static str),
    /// Data and a `set-cookie`.
    Cookie(Value, &'static str),
    /// 101, then HTTP/2.
    Upgrade(&'static str),
    /// 200 and a body shorter than announced.
    Short(u64, Bytes),
    /// 200 and a body that never ends.
    Endless,
    /// Nothing, ever.
    Never,
}

pub(crate) fn data(value: impl Into<Value>) -> Reply {
    Reply::Data(value.into())
}

type Body = BoxBody<Bytes, io::Error>;
type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: RemoteAddress,
    pub(crate) fingerprint: Fingerprint,
    state: Arc<State>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

struct State {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    /// Open requests inside sessions, and the most there ever were.
    open: watch::Sender<usize>,
    /// Sessions that have ended.
    ended: watch::Sender<usize>,
}

impl Server {
    /// Starts a server on a free loopback port.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = key.cert.der().clone();
        let fingerprint = Fingerprint::of_certificate(&certificate);
        let secret = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], secret)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = remote_address(listener.local_addr().unwrap());
        let state = Arc::new(State {
            script: Box::new(script),
            seen: Mutex::default(),
            open: watch::Sender::new(0),
            ended: watch::Sender::new(0),
        });
        let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let (shared, set) = (Arc::clone(&state), Arc::clone(&connections));
        accepting.spawn(async move {
            let mut number = 0;
            while let Ok((tcp, _)) = listener.accept().await {
                number += 1;
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                set.lock().unwrap().spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(Arc::clone(&state), number, request));
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Self { address, fingerprint, state, connections, _accepting: accepting }
    }

    /// A remote that trusts this server and logs in with a token.
    pub(crate) fn remote(&self) -> Remote {
        self.remote_as(token("sync@pbs!t1", "SECRET"), Timeouts::default())
    }

    /// A remote that trusts this server.
    pub(crate) fn remote_as(&self, credentials: Credentials, timeouts: Timeouts) -> Remote {
        let trust = Trust::Fingerprints(vec![self.fingerprint]);
        Remote::with_timeouts(self.address.clone(), credentials, trust, Traffic::new(), timeouts).unwrap()
    }

    /// Everything asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Method and target of everything asked so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// Closes all connections that are not upgraded.
    pub(crate) async fn close_connections(&self) {
        let mut set = std::mem::take(&mut *self.connections.lock().unwrap());
        set.shutdown().await;
    }

    /// Waits until `count` sessions have ended.
    pub(crate) async fn sessions_ended(&self, count: usize) {
        self.state.ended.subscribe().wait_for(|ended| *ended >= count).await.unwrap();
    }

    /// Waits until `count` requests were open at once inside sessions.
    pub(crate) async fn open_at_once(&self, count: usize) {
        self.state.open.subscribe().wait_for(|open| *open >= count).await.unwrap();
    }
}

pub(crate) fn remote_address(address: SocketAddr) -> RemoteAddress {
    RemoteAddress::new(address.ip().to_string(), address.port())
}

pub(crate) fn token(auth_id: &str, secret: &str) -> Credentials {
    Credentials::Token { auth_id: auth_id.parse().unwrap(), secret: secret.into() }
}

pub(crate) fn password(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.parse().unwrap(), password: password.into() }
}

/// Timeouts for servers that do not answer: what should come at once may take this long.
pub(crate) fn impatient() -> Timeouts {
    let short = Duration::from_millis(300);
    Timeouts { request: short, stall: short, finish: short, ..Timeouts::default() }
}

async fn answer(
    state: Arc<State>,
    connection: usize,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let reply = script(&state, connection, false, request).await;
    if let Reply::Upgrade(protocol) = reply {
        tokio::spawn(session(Arc::clone(&state), connection, upgrade));
        let switching = Response::builder().status(101).header("connection", "upgrade").header("upgrade", protocol);
        return Ok(switching.body(body(Bytes::new())).unwrap());
    }
    Ok(respond(reply).await)
}

async fn session(state: Arc<State>, connection: usize, upgrade: hyper::upgrade::OnUpgrade) {
    let upgraded = upgrade.await.unwrap();
    let shared = Arc::clone(&state);
    let service = service_fn(move |request| {
        let state = Arc::clone(&shared);
        async move {
            state.open.send_modify(|open| *open += 1);
            let reply = script(&state, connection, true, request).await;
            let response = respond(reply).await;
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_frame_size(4 * 1024 * 1024)
        .initial_stream_window_size(32 * 1024 * 1024)
        .initial_connection_window_size(32 * 1024 * 1024)
        .serve_connection(upgraded, service)
        .await;
    state.ended.send_modify(|ended| *ended += 1);
}

async fn script(state: &State, connection: usize, session: bool, request: Request<Incoming>) -> Reply {
    let (head, incoming) = request.into_parts();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let mut seen = Seen {
        connection,
        session,
        method: head.method.to_string(),
        target: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        authority: head.uri.authority().map(ToString::to_string),
        body: Bytes::new(),
    };
    if let Ok(whole) = incoming.collect().await {
        seen.body = whole.to_bytes();
    }
    state.seen.lock().unwrap().push(seen.clone());
    (state.script)(&seen)
}

fn body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn frames(frames: impl stream::Stream<Item = Bytes> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))))
}

async fn respond(reply: Reply) -> Response<Body> {
    let json = |value: Value| body(serde_json::json!({ "data": value }).to_string().into());
    match reply {
        Reply::Data(value) => Response::new(json(value)),
        Reply::Cookie(value, cookie) => Response::builder().header("set-cookie", cookie).body(json(value)).unwrap(),
        Reply::Frames(parts) => Response::new(frames(stream::iter(parts))),
        Reply::Body(bytes) => Response::new(body(bytes)),
        Reply::Status(status, text) => Response::builder().status(status).body(body(text.into())).unwrap(),
        Reply::Short(announced, bytes) => {
            // The stream ends with a frame of its own, so that the length is not known beforehand.
            let parts = stream::iter([bytes]);
            Response::builder().header("content-length", announced).body(frames(parts)).unwrap()
        }
        Reply::Endless => Response::new(frames(stream::repeat(Bytes::from_static(&[0; 16 * 1024])))),
        Reply::Never => std::future::pending().await,
        Reply::Upgrade(_) => unreachable!("only outside sessions"),
    }
}
