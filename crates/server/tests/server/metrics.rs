//! Metrics over plain HTTP, on an address of their own.

use http::StatusCode;
use server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::TestServer;

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown_on_their_own_address_and_end_with_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = TestServer::start_changed(Settings::default(), |server, _| server.with_metrics(listener)).await;
    let _open = server.connect().await;

    let answer = ask(address, "GET /metrics").await;

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "backup_replicator_server_connections 1\n",
        "backup_replicator_server_sessions 0\n",
        "backup_replicator_status 0\n",
        "# TYPE backup_replicator_datastore_free_bytes gauge\n",
    ] {
        assert!(body.contains(line), "{line} in {body}");
    }
    for (request, status) in [("GET /", StatusCode::NOT_FOUND), ("POST /metrics", StatusCode::METHOD_NOT_ALLOWED)] {
        assert!(ask(address, request).await.starts_with(&format!("HTTP/1.1 {}", status.as_u16())), "{request}");
    }

    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}
