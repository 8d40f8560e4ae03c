//! A server of its own for every test, and clients for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::acl::{AclAction, AclChange, Role};
use config::{DatastoreConfig, Paths, ServerConf, TokenConfig, UserConfig};
use datastore::{CreateOptions, Datastore, StoreConfig};
use formats::{AuthId, UserId};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use server::{Server, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The administrator of every test server.
pub(crate) const ADMIN: &str = "admin@pbs";
/// Password of all users of test servers.
pub(crate) const PASSWORD: &str = "Correct-Horse-1";
/// The store every test server has.
pub(crate) const STORE: &str = "main";
/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct TestServer {
    pub(crate) root: tempfile::TempDir,
    pub(crate) paths: Paths,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) admin: Caller,
    tls: TlsConnector,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<std::io::Result<()>>,
}

/// Somebody with an API token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) id: AuthId,
    pub(crate) secret: String,
}

impl Caller {
    pub(crate) fn authorization(&self) -> String {
        format!("PBSAPIToken={}:{}", self.id, self.secret)
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `data` of a success.
    pub(crate) fn data(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["data"].clone()
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        Self::start_changed(settings, |server, _| server).await
    }

    /// Starts a server after `change`, which also sees the directory of its own.
    pub(crate) async fn start_changed(settings: Settings, change: impl FnOnce(Server, &Path) -> Server) -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        let admin = prepare(&paths, root.path());
        let conf = ServerConf::load(&paths).unwrap().0;
        let certificate = config::cert::ensure(&paths, &conf, chrono::Utc::now()).unwrap();
        let tls =
            server::server_config(certificate.certificate_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap();
        let server = change(Server::new(paths.clone(), settings, tls).unwrap(), root.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server::run(listener, server, async move {
            let _ = stopped.await;
        }));
        let tls = connector(certificate.certificate_pem.as_bytes());
        Self { root, paths, address, admin, tls, stop: Some(stop), running }
    }

    /// Orders the shutdown.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Orders the shutdown and waits for its end.
    pub(crate) async fn stopped(mut self) -> tempfile::TempDir {
        self.stop();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the server does not end").unwrap().unwrap();
        self.root
    }

    /// The store on disk, as another process sees it.
    pub(crate) fn store(&self, name: &str) -> Datastore {
        Datastore::open(StoreConfig::new(name.parse().unwrap(), store_path(self.root.path(), name), self.paths.locks()))
            .unwrap()
    }

    /// Makes a user with a token that has the same role as its user.
    pub(crate) fn caller(&self, user: &str, path: &str, role: Role) -> Caller {
        let caller = add_caller(&self.paths, user);
        for id in [caller.id.clone(), AuthId::from(caller.id.user().clone())] {
            grant(&self.paths, &id, path, role);
        }
        caller
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.tls.connect(name, tcp).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        finish(tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("no answer").unwrap()).await
    }

    /// One request of the administrator.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Answer {
        self.call_as(&self.admin, method, path).await
    }

    pub(crate) async fn call_as(&self, caller: &Caller, method: Method, path: &str) -> Answer {
        self.send(
            Request::builder()
                .method(method)
                .uri(format!("/api2/json{path}"))
                .header(AUTHORIZATION, caller.authorization())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    /// One request of the administrator with a JSON body.
    pub(crate) async fn call_json(&self, method: Method, path: &str, body: &serde_json::Value) -> Answer {
        self.call_json_as(&self.admin, method, path, body).await
    }

    pub(crate) async fn call_json_as(
        &self,
        caller: &Caller,
        method: Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Answer {
        self.send(
            Request::builder()
                .method(method)
                .uri(format!("/api2/json{path}"))
                .header(AUTHORIZATION, caller.authorization())
                .header(CONTENT_TYPE, "application/json")
                .body(Full::from(body.to_string()))
                .unwrap(),
        )
        .await
    }

    /// Asks for a session; an error is the refusal.
    pub(crate) async fn session(&self, caller: &Caller, target: &str, protocol: &str) -> Result<Session, Answer> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::builder()
            .uri(format!("//api2/json/{target}"))
            .header("upgrade", protocol)
            .header("connection", "upgrade")
            .header(AUTHORIZATION, caller.authorization())
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(finish(response).await);
        }
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_frame_size(4 << 20)
            .initial_stream_window_size((1 << 31) - 2)
            .initial_connection_window_size((1 << 31) - 2)
            .handshake(upgraded)
            .await
            .unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Session { sender, connection })
    }

    pub(crate) async fn writer(&self, snapshot: &str) -> Result<Session, Answer> {
        self.writer_as(&self.admin, snapshot).await
    }

    /// A writer session for a snapshot given as query, such as `backup-type=host&backup-id=a&backup-time=1`.
    pub(crate) async fn writer_as(&self, caller: &Caller, snapshot: &str) -> Result<Session, Answer> {
        let target = format!("backup?store={STORE}&{snapshot}&benchmark=false");
        self.session(caller, &target, api_types::protocol::WRITER_PROTOCOL).await
    }

    pub(crate) async fn reader(&self, snapshot: &str) -> Result<Session, Answer> {
        let target = format!("reader?store={STORE}&{snapshot}");
        self.session(&self.admin, &target, api_types::protocol::READER_PROTOCOL).await
    }
}

/// A body that is all there, or never comes.
type UploadBody = http_body_util::Either<Full<Bytes>, Never>;

/// A session, seen from its client. Dropping it breaks the connection.
pub(crate) struct Session {
    sender: hyper::client::conn::http2::SendRequest<UploadBody>,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    /// One call; several may run at once.
    pub(crate) async fn send(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost:8007/{path}"))
            .header(CONTENT_TYPE, content_type)
            .body(UploadBody::Left(Full::from(body)))
            .unwrap();
        self.request(request).await
    }

    /// A POST whose body never comes.
    pub(crate) async fn stall(&self, path: &str) -> Answer {
        let uri = format!("https://localhost:8007/{path}");
        self.request(Request::post(uri).body(UploadBody::Right(Never)).unwrap()).await
    }

    async fn request(&self, request: Request<UploadBody>) -> Answer {
        let mut sender = self.sender.clone();
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("no answer").unwrap();
        finish(response).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "application/x-www-form-urlencoded", Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, "application/x-www-form-urlencoded", Bytes::new()).await
    }

    pub(crate) async fn upload(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, "application/octet-stream", body.into()).await
    }

    pub(crate) async fn put_json(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body.to_string().into()).await
    }
}

async fn finish(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("no end of the body").unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Waits until something is true that becomes true by itself.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

pub(crate) fn store_path(root: &Path, name: &str) -> PathBuf {
    root.join("stores").join(name)
}

/// Makes users, a store and the administrator.
pub(crate) fn prepare(paths: &Paths, root: &Path) -> Caller {
    std::fs::create_dir_all(paths.etc()).unwrap();
    std::fs::create_dir_all(root.join("stores")).unwrap();
    add_store(paths, root, STORE);
    let admin = add_caller(paths, ADMIN);
    for id in [admin.id.clone(), ADMIN.parse().unwrap()] {
        grant(paths, &id, "/", Role::Admin);
    }
    admin
}

pub(crate) fn add_store(paths: &Paths, root: &Path, name: &str) {
    let path = store_path(root, name);
    Datastore::create(&path, &CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() }).unwrap();
    config::datastores::create(paths, &DatastoreConfig::new(name.parse().unwrap(), path)).unwrap();
}

fn add_caller(paths: &Paths, user: &str) -> Caller {
    let user: UserId = user.parse().unwrap();
    config::users::create(paths, &UserConfig::new(user.clone()), Some(PASSWORD)).unwrap();
    let token = TokenConfig::new(&user, &"t1".parse().unwrap()).unwrap();
    let made = config::users::generate_token(paths, &token, None).unwrap();
    Caller { id: made.tokenid, secret: made.value }
}

pub(crate) fn grant(paths: &Paths, id: &AuthId, path: &str, role: Role) {
    let change = AclChange {
        path: path.parse().unwrap(),
        auth_id: id.clone(),
        role,
        action: AclAction::Grant { propagate: true },
    };
    config::acl::update(paths, &change, None).unwrap();
}

/// Accepts exactly one certificate, as peers with a pinned fingerprint do.
#[derive(Debug)]
pub(crate) struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(end_entity.as_ref(), self.0.as_ref());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Pinned {
    /// Settings of a client that accepts nothing else.
    pub(crate) fn client_config(certificate: CertificateDer<'static>) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Self(certificate)))
            .with_no_client_auth()
    }
}

fn connector(certificate_pem: &[u8]) -> TlsConnector {
    let mut config = Pinned::client_config(CertificateDer::from_pem_slice(certificate_pem).unwrap());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// A body of which nothing ever comes.
#[derive(Debug)]
pub(crate) struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
