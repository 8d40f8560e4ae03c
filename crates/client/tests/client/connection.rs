use std::time::Duration;

use client::{ClientError, ErrorClass, Remote, RemoteAddress, Timeouts, Traffic, Trust};
use formats::Fingerprint;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::server::{Reply, Server, data, impatient, remote_address, token};

fn version() -> Reply {
    data(json!({"version": "4.2", "release": "3", "repoid": "abc"}))
}

fn remote(address: RemoteAddress, trust: Trust, timeouts: Timeouts) -> Remote {
    Remote::with_timeouts(address, token("sync@pbs!t1", "SECRET"), trust, Traffic::new(), timeouts).unwrap()
}

async fn failure(address: RemoteAddress, trust: Trust, timeouts: Timeouts) -> ClientError {
    remote(address, trust, timeouts).version().await.unwrap_err()
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_refused_with_host_and_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = remote_address(listener.local_addr().unwrap());
    drop(listener);

    let error = failure(address.clone(), Trust::SystemRoots, Timeouts::default()).await;

    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{address}: connection refused"));
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.hint().unwrap().contains(&address.port.to_string()));
}

#[tokio::test]
async fn a_host_that_can_be_no_name_is_a_resolution_error() {
    let address = RemoteAddress::new("not a host", 8007);
    let result = Remote::new(address, token("a@pbs!t", "S"), Trust::SystemRoots, Traffic::new());

    let error = result.unwrap_err();

    assert!(matches!(error, ClientError::Resolve { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("not a host"));
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = remote_address(listener.local_addr().unwrap());
    let timeouts = Timeouts { connect: Duration::from_millis(200), ..Timeouts::default() };

    let error = failure(address, Trust::SystemRoots, timeouts).await;

    assert!(matches!(&error, ClientError::Timeout { waiting_for, .. } if waiting_for == "TLS handshake"), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error_that_hints_at_the_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = remote_address(listener.local_addr().unwrap());
    let plain = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        tcp
    };

    let (error, _tcp) = tokio::join!(failure(address, Trust::SystemRoots, Timeouts::default()), plain);

    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("8007"));
    assert_eq!(error.class(), ErrorClass::Stop);
}

#[tokio::test]
async fn the_pinned_fingerprint_is_enough() {
    let server = Server::start(|_| version()).await;
    let other = Fingerprint::from_bytes([1; 32]);
    let trust = Trust::Fingerprints(vec![other, server.fingerprint]);

    let info = remote(server.address.clone(), trust, Timeouts::default()).version().await.unwrap();

    assert_eq!(info.version, "4.2");
}

#[tokio::test]
async fn another_fingerprint_is_an_error_that_shows_the_one_found() {
    let server = Server::start(|_| version()).await;
    let wrong = Fingerprint::from_bytes([1; 32]);

    let error = failure(server.address.clone(), Trust::Fingerprints(vec![wrong]), Timeouts::default()).await;

    let ClientError::Fingerprint { expected, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((expected.as_slice(), *found), ([wrong].as_slice(), server.fingerprint));
    assert!(error.to_string().contains(&server.fingerprint.to_string()));
    assert!(error.hint().unwrap().contains(&server.fingerprint.to_string()));
    assert_eq!(server.seen().len(), 0, "nothing is sent to a server that is not trusted");
}

#[tokio::test]
async fn without_a_pin_a_self_signed_certificate_is_refused() {
    let server = Server::start(|_| version()).await;

    let error = failure(server.address.clone(), Trust::SystemRoots, Timeouts::default()).await;

    assert!(matches!(error, ClientError::Fingerprint { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Stop);
}

#[tokio::test]
async fn a_call_that_is_never_answered_times_out() {
    let server = Server::start(|_| Reply::Never).await;

    let error = server.remote_as(token("a@pbs!t", "S"), impatient()).version().await.unwrap_err();

    assert!(matches!(&error, ClientError::Timeout { waiting_for, .. } if waiting_for == "GET /version"), "{error:?}");
}

#[tokio::test]
async fn bytes_on_the_wire_are_counted_tls_included() {
    let server = Server::start(|_| version()).await;
    let traffic = Traffic::new();
    let trust = Trust::Fingerprints(vec![server.fingerprint]);
    let credentials = token("a@pbs!t", "S");
    let remote = Remote::new(server.address.clone(), credentials, trust, traffic.clone()).unwrap();

    remote.version().await.unwrap();

    assert!(traffic.bytes_out() > 300, "{}", traffic.bytes_out());
    assert!(traffic.bytes_in() > 800, "{}", traffic.bytes_in());
}
