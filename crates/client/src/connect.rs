//! Opens connections: name resolution, TCP, TLS, HTTP/1.1.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Once, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    ClientError, Proxy, RemoteAddress, ShownCertificate, Timeouts, Traffic, Trust, Verdict,
    activity::Activity,
    proxy::Refusal,
    tls::{self, Seen, Untrusted},
    traffic::Metered,
};

/// Between probes on a silent TCP connection.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// How long an address may try alone before the next of the same host joins.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Ends a task when dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    pub(crate) fn new<T>(task: &JoinHandle<T>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: http1::SendRequest<Full<Bytes>>,
    pub(crate) activity: Arc<Activity>,
    _task: AbortOnDrop,
}

/// Knows how to reach one server and which certificate to accept.
pub(crate) struct Connector {
    address: RemoteAddress,
    name: ServerName<'static>,
    tls: TlsConnector,
    expected: Vec<formats::Fingerprint>,
    traffic: Arc<Traffic>,
    timeouts: Timeouts,
    proxy: Option<Proxy>,
    seen: Seen,
    /// Says once that the certificate of a planned renewal is in use.
    renewed: Once,
}

impl Connector {
    /// Reads the system's root certificates (blocking, some milliseconds).
    pub(crate) fn new(
        address: RemoteAddress,
        trust: &Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
        proxy: Option<Proxy>,
    ) -> Result<Self, ClientError> {
        Self::with_roots(address, tls::system_roots(), trust, traffic, timeouts, proxy)
    }

    fn with_roots(
        address: RemoteAddress,
        roots: RootCertStore,
        trust: &Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
        proxy: Option<Proxy>,
    ) -> Result<Self, ClientError> {
        let expected = match trust {
            Trust::SystemRoots => Vec::new(),
            Trust::Fingerprints(pinned) => pinned.clone(),
        };
        let name = ServerName::try_from(address.host.clone()).map_err(|error| ClientError::Resolve {
            remote: address.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
        let seen = Seen::default();
        let config: ClientConfig = tls::config(roots, &expected, Arc::clone(&seen))
            .map_err(|error| ClientError::Tls { remote: address.clone(), source: io::Error::other(error) })?;
        let (tls, renewed) = (TlsConnector::from(Arc::new(config)), Once::new());
        Ok(Self { address, name, tls, expected, traffic, timeouts, proxy, seen, renewed })
    }

    /// Returns the certificate of the last handshake.
    pub(crate) fn certificate(&self) -> Option<ShownCertificate> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a connection that is ready for a request.
    pub(crate) async fn open(&self) -> Result<Link, ClientError> {
        let tcp = self.limited("connect", self.tcp()).await??;
        let activity = Activity::new();
        let mut metered = Metered::new(tcp, Arc::clone(&self.traffic), Arc::clone(&activity));
        if let Some(proxy) = &self.proxy {
            self.limited("answer of the proxy", proxy.tunnel(&mut metered, &self.address))
                .await?
                .map_err(|refusal| self.proxy_error(proxy, refusal))?;
        }
        let tls = self
            .limited("TLS handshake", self.tls.connect(self.name.clone(), metered))
            .await?
            .map_err(|error| self.handshake_error(error))?;
        self.tell_of_renewal();
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|source| ClientError::Closed {
            remote: self.address.clone(),
            call: "HTTP handshake".into(),
            source,
        })?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection ended with an error");
            }
        });
        Ok(Link { sender, activity, _task: AbortOnDrop::new(&task) })
    }

    async fn limited<T>(&self, waiting_for: &str, step: impl Future<Output = T>) -> Result<T, ClientError> {
        timeout(self.timeouts.connect, step).await.map_err(|_| ClientError::Timeout {
            remote: self.address.clone(),
            waiting_for: waiting_for.into(),
            after: self.timeouts.connect,
        })
    }

    /// Warns once when the server shows a certificate that was pinned for a renewal.
    fn tell_of_renewal(&self) {
        if let Some(ShownCertificate { fingerprint, verdict: Verdict::Pinned(1..), .. }) = self.certificate() {
            self.renewed.call_once(|| {
                tracing::warn!(
                    "{}: the server's certificate was renewed as planned; make {fingerprint} the remote's fingerprint \
                     and unset fingerprint-next",
                    self.address
                );
            });
        }
    }

    fn proxy_error(&self, proxy: &Proxy, refusal: Refusal) -> ClientError {
        ClientError::Proxy {
            remote: self.address.clone(),
            proxy: proxy.address().clone(),
            status: refusal.status,
            problem: refusal.problem,
        }
    }

    async fn tcp(&self) -> Result<TcpStream, ClientError> {
        let stream = match &self.proxy {
            Some(proxy) => connect(proxy.address()).await.map_err(|(step, error)| {
                let problem = match step {
                    Step::Resolve => format!("its name could not be resolved: {error}"),
                    Step::Connect => format!("no connection to it: {error}"),
                };
                self.proxy_error(proxy, Refusal { status: None, problem })
            })?,
            None => connect(&self.address).await.map_err(|(step, source)| {
                let remote = self.address.clone();
                match (step, source.kind()) {
                    (Step::Resolve, _) => ClientError::Resolve { remote, source },
                    (Step::Connect, io::ErrorKind::ConnectionRefused) => ClientError::Refused { remote },
                    (Step::Connect, _) => ClientError::Connect { remote, source },
                }
            })?,
        };
        // Neither is worth failing for.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tuned = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        if let Err(error) = tuned {
            tracing::debug!(%error, "socket options were not set");
        }
        Ok(stream)
    }

    fn handshake_error(&self, source: io::Error) -> ClientError {
        let remote = self.address.clone();
        match Untrusted::in_error(&source) {
            Some(untrusted) => ClientError::Fingerprint {
                remote,
                expected: self.expected.clone(),
                found: untrusted.found,
                reason: untrusted.reason(),
            },
            None => ClientError::Tls { remote, source },
        }
    }
}

/// What was being done when no connection came about.
enum Step {
    Resolve,
    Connect,
}

/// Resolves a name and connects.
async fn connect(to: &RemoteAddress) -> Result<TcpStream, (Step, io::Error)> {
    let resolved = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
    let addresses: Vec<SocketAddr> = resolved.map_err(|error| (Step::Resolve, error))?.collect();
    if addresses.is_empty() {
        return Err((Step::Resolve, io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    first_to_connect(&addresses).await.map_err(|error| (Step::Connect, error))
}

/// Looks at the certificate a server shows, whatever it is; nothing is sent to the server.
///
/// # Errors
/// The host has no address, nothing listens there, or it does not speak TLS.
pub async fn shown_certificate(
    address: &RemoteAddress,
    proxy: Option<Proxy>,
    timeouts: Timeouts,
) -> Result<ShownCertificate, ClientError> {
    let connector = Connector::new(address.clone(), &Trust::SystemRoots, Traffic::new(), timeouts, proxy)?;
    let opened = connector.open().await;
    match (connector.certificate(), opened) {
        (Some(shown), Ok(_) | Err(ClientError::Fingerprint { .. })) => Ok(shown),
        (_, Err(error)) => Err(error),
        (None, Ok(_)) => {
            let source = io::Error::other("the server showed no certificate");
            Err(ClientError::Tls { remote: address.clone(), source })
        }
    }
}

/// Connects to whichever address answers first; each gets a small head start over the next.
async fn first_to_connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        match waiting.next() {
            Some(address) => running.push(TcpStream::connect(address)),
            None if running.is_empty() => break,
            None => {}
        }
        tokio::select! {
            Some(attempt) = running.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => { first_error.get_or_insert(error); }
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if waiting.len() > 0 => {}
        }
    }
    Err(first_error.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)))
}
