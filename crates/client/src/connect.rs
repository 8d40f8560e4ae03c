//! Opens connections: name resolution, TCP, TLS, HTTP/1.1.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

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
    ClientError, RemoteAddress, Timeouts, Traffic, Trust,
    activity::Activity,
    tls::{self, Untrusted},
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
}

impl Connector {
    /// Reads the system's root certificates (blocking, some milliseconds).
    pub(crate) fn new(
        address: RemoteAddress,
        trust: &Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        Self::with_roots(address, tls::system_roots(), trust, traffic, timeouts)
    }

    fn with_roots(
        address: RemoteAddress,
        roots: RootCertStore,
        trust: &Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        let expected = match trust {
            Trust::SystemRoots => Vec::new(),
            Trust::Fingerprints(pinned) => pinned.clone(),
        };
        let name = ServerName::try_from(address.host.clone()).map_err(|error| ClientError::Resolve {
            remote: address.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
        let config: ClientConfig = tls::config(roots, &expected)
            .map_err(|error| ClientError::Tls { remote: address.clone(), source: io::Error::other(error) })?;
        Ok(Self { address, name, tls: TlsConnector::from(Arc::new(config)), expected, traffic, timeouts })
    }

    /// Opens a connection that is ready for a request.
    pub(crate) async fn open(&self) -> Result<Link, ClientError> {
        let tcp = self.limited("connect", self.tcp()).await??;
        let activity = Activity::new();
        let metered = Metered::new(tcp, Arc::clone(&self.traffic), Arc::clone(&activity));
        let tls = self
            .limited("TLS handshake", self.tls.connect(self.name.clone(), metered))
            .await?
            .map_err(|error| self.handshake_error(error))?;
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

    async fn tcp(&self) -> Result<TcpStream, ClientError> {
        let resolve = |source| ClientError::Resolve { remote: self.address.clone(), source };
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((self.address.host.as_str(), self.address.port)).await.map_err(resolve)?.collect();
        if addresses.is_empty() {
            return Err(resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        let stream = first_to_connect(&addresses).await.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => ClientError::Refused { remote: self.address.clone() },
            _ => ClientError::Connect { remote: self.address.clone(), source },
        })?;
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
