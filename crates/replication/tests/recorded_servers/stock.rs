//! A server that gives recorded answers, and complains about everything that the recorded client did not do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use client::{Credentials, Remote, RemoteAddress, Traffic, Trust};
use formats::Fingerprint;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use traces::{Answer, Connection, Exchange, Step, Twin};

use crate::differences::{self, MORE_CALLS};
use crate::session::{ReaderScript, Script, WriterScript};

/// Flow control of stock servers, as recorded.
const STREAMS: u32 = 200;
const STREAM_WINDOW: u32 = 33_554_432;
const CONNECTION_WINDOW: u32 = 65_535 + 33_488_897;
const FRAME: u32 = 4_194_304;
const HEADERS: u32 = 16_384;

type Body = BoxBody<Bytes, io::Error>;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Decoded.
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) target: String,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What to answer.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    /// Whether the answer tells its length.
    pub(crate) length: bool,
    pub(crate) body: Bytes,
}

impl Told {
    /// The recorded head with a body of our own.
    pub(crate) fn like(answer: &Answer, body: impl Into<Bytes>) -> Self {
        Self {
            status: answer.status,
            content_type: answer.header("content-type").map(str::to_owned),
            length: answer.header("content-length").is_some(),
            body: body.into(),
        }
    }

    /// The recorded answer, translated.
    pub(crate) fn recorded(twin: &Twin, answer: &Answer) -> Self {
        let body = match (&answer.body.json, &answer.body.text) {
            (Some(json), _) => twin.value(json).to_string(),
            (None, text) => text.clone().unwrap_or_default(),
        };
        Self::like(answer, body)
    }

    pub(crate) fn refusal(text: &str) -> Self {
        Self {
            status: 400,
            content_type: Some("application/json;charset=UTF-8".to_owned()),
            length: true,
            body: Bytes::copy_from_slice(text.as_bytes()),
        }
    }
}

/// A running server.
pub(crate) struct Stock {
    pub(crate) address: RemoteAddress,
    pub(crate) fingerprint: Fingerprint,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

struct State {
    twin: Arc<Twin>,
    step: Step,
    complaints: Mutex<Vec<String>>,
    lines: Mutex<Vec<String>>,
    sessions: Mutex<Vec<Arc<dyn Script>>>,
}

impl State {
    /// A namespace that was removed in this step is no longer listed. Recorded clients did not ask again.
    fn as_of_now(&self, asked: &Asked, answer: &Answer) -> Answer {
        let mut answer = answer.clone();
        let list = answer.body.json.as_mut().and_then(|json| json["data"].as_array_mut());
        if let (true, Some(list)) = (asked.method == "GET" && asked.path.ends_with("/namespace"), list) {
            let lines = lock(&self.lines);
            let removed = |item: &Value| {
                let end = format!("/namespace?error-on-protected=false&ns={}", item["ns"].as_str().unwrap_or_default());
                lines.iter().any(|line| line.starts_with("DELETE ") && line.ends_with(&end))
            };
            list.retain(|item| !removed(item));
        }
        answer
    }
}

impl Stock {
    /// Starts a server that knows what was asked in one step.
    pub(crate) async fn start(twin: &Arc<Twin>, step: &Step) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = key.cert.der().clone();
        let fingerprint = Fingerprint::of_certificate(&certificate);
        let secret = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], secret)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            twin: Arc::clone(twin),
            step: step.clone(),
            complaints: Mutex::default(),
            lines: Mutex::default(),
            sessions: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| rest(Arc::clone(&state), request));
                    let serving =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
                    let _ = serving.with_upgrades().await;
                });
            }
        });
        let address = RemoteAddress::new(address.ip().to_string(), address.port());
        Self { address, fingerprint, state, _accepting: accepting }
    }

    /// A remote that trusts this server, with the credentials that were used in the step.
    pub(crate) fn remote(&self) -> Remote {
        let calls = || self.state.step.connections.iter().flat_map(|connection| &connection.exchanges);
        let credentials = if calls().any(|exchange| exchange.path().ends_with("/access/ticket")) {
            Credentials::Password { user: "sync@pbs".parse().unwrap(), password: "SECRET".to_owned() }
        } else {
            Credentials::Token { auth_id: "root@pam!t1".parse().unwrap(), secret: "SECRET".to_owned() }
        };
        let trust = Trust::Fingerprints(vec![self.fingerprint]);
        Remote::new(self.address.clone(), credentials, trust, Traffic::new()).unwrap()
    }

    /// Everything asked so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.state.lines).clone()
    }

    /// Fails the test when something was asked that should not have been, or not asked that should.
    pub(crate) fn expect_no_complaints(&self) {
        let mut complaints = lock(&self.state.complaints).clone();
        for session in lock(&self.state.sessions).iter() {
            complaints.extend(session.left_undone());
        }
        let step = &self.state.step;
        for connection in step.connections.iter().filter(|connection| connection.upgrade().is_some()) {
            let upgrade = connection.upgrade().unwrap();
            let key = differences::essential(&collapsed(upgrade.path()), &upgrade.query().into_iter().collect());
            let opened = lock(&self.state.sessions).iter().filter(|session| session.key() == key).count();
            if opened != 1 {
                complaints.push(format!("{} was asked {opened} times", upgrade.target));
            }
        }
        for exchange in step.connections.iter().flat_map(|connection| &connection.exchanges) {
            if ["POST", "DELETE"].contains(&exchange.method.as_str()) && exchange.stream.is_none() {
                let query = exchange.query().into_iter().collect();
                let key = differences::essential(&collapsed(exchange.path()), &query);
                let body = exchange.body.as_ref().and_then(|body| body.json.as_ref());
                let body = body.map(|body| format!(" {}", differences::essential_body(body))).unwrap_or_default();
                if !self.lines().contains(&format!("{} {key}{body}", exchange.method)) {
                    complaints.push(format!("{} {} was not asked", exchange.method, exchange.target));
                }
            }
        }
        assert!(
            complaints.is_empty(),
            "{}:\n{}\nasked:\n{}",
            step.name,
            complaints.join("\n"),
            self.lines().join("\n")
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leading slashes count as one.
fn collapsed(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

async fn rest(state: Arc<State>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let asked = receive(request).await;
    let key = differences::essential(&collapsed(&asked.path), &asked.query);
    let body = json(&asked).map(|body| format!(" {}", differences::essential_body(&body))).unwrap_or_default();
    lock(&state.lines).push(format!("{} {key}{body}", asked.method));
    let matches = |exchange: &&Exchange| {
        let body = exchange.body.as_ref().and_then(|body| body.json.as_ref());
        exchange.method == asked.method
            && body.map(differences::essential_body) == json(&asked).ok().as_ref().map(differences::essential_body)
            && differences::essential(&collapsed(exchange.path()), &exchange.query().into_iter().collect()) == key
    };
    for connection in &state.step.connections {
        if connection.upgrade().as_ref().is_some_and(matches) {
            let script = script(&state, connection, key);
            lock(&state.sessions).push(Arc::clone(&script));
            tokio::spawn(session(Arc::clone(&state), script, upgrade));
            let mut switching = Response::builder().status(101);
            for (name, value) in &connection.upgrade().unwrap().answer.as_ref().unwrap().headers {
                switching = switching.header(name, value);
            }
            return Ok(switching.body(full(Bytes::new())).unwrap());
        }
    }
    let calls = state.step.connections.iter().flat_map(|connection| &connection.exchanges);
    let recorded = calls.filter(|exchange| exchange.stream.is_none()).find(matches);
    let told = match recorded.and_then(|exchange| exchange.answer.as_ref()) {
        Some(answer) => Told::recorded(&state.twin, &state.as_of_now(&asked, answer)),
        None => match MORE_CALLS.iter().find(|more| more.line == format!("{} {key}", asked.method)) {
            Some(more) => Told { status: 200, ..Told::refusal(more.answer) },
            None => {
                lock(&state.complaints).push(format!("nobody asked this when it was recorded: {}", asked.line()));
                Told::refusal("not in the recording")
            }
        },
    };
    Ok(respond(told))
}

fn script(state: &State, connection: &Connection, key: String) -> Arc<dyn Script> {
    let twin = Arc::clone(&state.twin);
    if connection.upgrade().unwrap().path().ends_with("/reader") {
        Arc::new(ReaderScript::new(twin, connection, key))
    } else {
        Arc::new(WriterScript::new(twin, connection, key))
    }
}

async fn session(state: Arc<State>, script: Arc<dyn Script>, upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let service = service_fn(move |request| {
        let (state, script) = (Arc::clone(&state), Arc::clone(&script));
        async move {
            let asked = receive(request).await;
            lock(&state.lines).push(asked.line());
            let told = script.answer(&asked).unwrap_or_else(|complaint| {
                lock(&state.complaints).push(format!("{}: {}: {complaint}", script.key(), asked.line()));
                Told::refusal(&complaint)
            });
            Ok::<_, Infallible>(respond(told))
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADERS)
        .serve_connection(upgraded, service)
        .await;
}

async fn receive(request: Request<Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        target: head.uri.path_and_query().unwrap().to_string(),
        body: body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default(),
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn respond(told: Told) -> Response<Body> {
    let body = if told.length {
        full(told.body)
    } else {
        BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(told.body))])))
    };
    let mut response = Response::builder().status(told.status);
    if let Some(kind) = told.content_type {
        response = response.header("content-type", kind);
    }
    response.body(body).unwrap()
}

/// Reads JSON that a client sent.
pub(crate) fn json(asked: &Asked) -> Result<Value, String> {
    serde_json::from_slice(&asked.body).map_err(|error| error.to_string())
}
