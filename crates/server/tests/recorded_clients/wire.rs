//! HTTP as stock clients send it: request by request as recorded, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Flow control of stock clients, as recorded.
const STREAM_WINDOW: u32 = 2_147_483_646;
const CONNECTION_WINDOW: u32 = 65_535 + 2_147_418_111;
const FRAME: u32 = 4_194_304;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    /// The status line of HTTP/1.1.
    pub(crate) line: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl RawAnswer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A TLS connection that speaks HTTP/1.1 by hand.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
}

impl Wire {
    /// Connects as stock clients do: no server name, no protocol list.
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        Self { stream: TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap() }
    }

    /// Sends a request; a failure shows when its answer is awaited.
    pub(crate) async fn send(&mut self, line: &str, headers: &[(String, String)], body: &[u8]) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.stream.write_all(format!("{line}\r\n{headers}\r\n").as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> std::io::Result<RawAnswer> {
        tokio::time::timeout(PATIENCE, self.read_answer()).await?
    }

    async fn read_answer(&mut self) -> std::io::Result<RawAnswer> {
        let line = self.read_line().await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = Vec::new();
        loop {
            let header = self.read_line().await?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').expect("a header");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = RawAnswer { line: Some(line), status, headers, body: Bytes::new() };
        if status == 101 {
            return Ok(answer);
        }
        answer.body = match answer.header("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => self.read_bytes(length).await?,
            None => {
                assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{answer:?}");
                self.read_pieces().await?
            }
        };
        Ok(answer)
    }

    async fn read_pieces(&mut self) -> std::io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let length = usize::from_str_radix(&self.read_line().await?, 16).unwrap();
            body.extend_from_slice(&self.read_bytes(length).await?);
            assert_eq!(self.read_line().await?, "");
            if length == 0 {
                return Ok(body.freeze());
            }
        }
    }

    /// Reads up to the end of a line and no further, for behind an upgrade comes something else.
    async fn read_line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await?);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8(line).unwrap())
    }

    async fn read_bytes(&mut self, length: usize) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes.into())
    }

    /// Ends the connection, telling TLS or not.
    pub(crate) async fn close(mut self, notify: bool) {
        if notify {
            // The server may have gone already.
            let _ = self.stream.shutdown().await;
        }
    }

    /// Goes on with HTTP/2.
    pub(crate) async fn upgrade(self) -> Session {
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .handshake(self.stream)
            .await
            .unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Session { sender, driver, broken_off: Vec::new() }
    }
}

/// The HTTP/2 session behind an upgrade.
pub(crate) struct Session {
    sender: h2::client::SendRequest<Bytes>,
    driver: JoinHandle<()>,
    broken_off: Vec<h2::SendStream<Bytes>>,
}

impl Session {
    /// Sends a request; the answer comes when it comes. With `cut`, only so many bytes of the body are sent, and no end.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Option<Bytes>,
        cut: Option<usize>,
    ) -> JoinHandle<RawAnswer> {
        let pseudo = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let uri = format!("{}://{}{target}", pseudo(":scheme").unwrap(), pseudo(":authority").unwrap());
        let mut request = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            request = request.header(name, value);
        }
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, mut upload) = sender.send_request(request.body(()).unwrap(), body.is_none()).unwrap();
        if let Some(cut) = cut {
            upload.send_data(body.unwrap_or_default().slice(..cut), false).unwrap();
            self.broken_off.push(upload);
            return tokio::spawn(std::future::pending());
        }
        tokio::spawn(async move {
            let upload = async move {
                if let Some(body) = body {
                    send_all(&mut upload, body).await;
                }
            };
            let download = async move {
                let (head, mut stream) = answer.await.expect("no answer").into_parts();
                let mut body = BytesMut::new();
                while let Some(data) = stream.data().await {
                    let data = data.expect("the body breaks off");
                    stream.flow_control().release_capacity(data.len()).unwrap();
                    body.extend_from_slice(&data);
                }
                let (status, headers) = (head.status.as_u16(), pairs(&head.headers));
                RawAnswer { line: None, status, headers, body: body.freeze() }
            };
            tokio::time::timeout(PATIENCE, async { tokio::join!(upload, download).1 }).await.expect("no answer")
        })
    }

    /// Ends the session in good order, or just closes the socket.
    pub(crate) async fn close(self, notify: bool) {
        if !notify {
            self.driver.abort();
        }
        drop((self.sender, self.broken_off));
        let _ = tokio::time::timeout(PATIENCE, self.driver).await.expect("the session does not end");
    }
}

/// Sends a body as fast as the receiver takes it.
async fn send_all(upload: &mut h2::SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        upload.reserve_capacity(body.len());
        let room = match std::future::poll_fn(|context| upload.poll_capacity(context)).await {
            Some(Ok(room)) => room,
            // The server answered without reading on; what it said tells why.
            _ => return,
        };
        let piece = body.split_to(room.min(body.len()));
        if upload.send_data(piece, false).is_err() {
            return;
        }
    }
    let _ = upload.send_data(Bytes::new(), true);
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// The address is the server of this very test.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
