//! Connections: TLS, plain HTTP, limits.

use std::time::Duration;

use http::Method;
use server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{PATIENCE, TestServer};

/// Waits for the end of a stream and returns what came before it.
async fn rest_of(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_sent_to_https() {
    let server = TestServer::start().await;
    for (request, wanted) in [
        ("GET /x HTTP/1.1\r\nHost: name:8007\r\n\r\n", "HTTP/1.1 301 "),
        ("POST /x HTTP/1.1\r\nHost: name:8007\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 308 "),
        ("GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest_of(&mut stream).await;
        assert!(answer.starts_with(wanted), "{answer}");
        assert_eq!(
            answer.to_lowercase().contains("location: https://name:8007\r\n"),
            !wanted.contains("400"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alpn_selects_nothing() {
    let server = TestServer::start().await;
    let stream = server.connect().await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_head_that_dawdles_ends_its_connection_but_silence_does_not() {
    let settings = Settings { head_timeout: Duration::from_millis(300), ..Settings::default() };
    let server = TestServer::start_with(settings).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /api2/json/ping HT").await.unwrap();
    slow.flush().await.unwrap();
    assert_eq!(rest_of(&mut slow).await, "");
    // By now the silent one has been silent for longer than a head may take.
    silent.write_all(b"GET /api2/json/ping HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest_of(&mut silent).await.ends_with("{\"data\":{\"pong\":true}}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_after_its_time() {
    let settings = Settings { idle_timeout: Duration::from_millis(300), ..Settings::default() };
    let server = TestServer::start_with(settings).await;
    assert_eq!(rest_of(&mut server.connect().await).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_handshake_a_connection_ends() {
    let settings = Settings { handshake_timeout: Duration::from_millis(300), ..Settings::default() };
    let server = TestServer::start_with(settings).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(rest_of(&mut stream).await, "");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[0x16]).await.unwrap();
    assert_eq!(rest_of(&mut stream).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_cap_the_oldest_idle_connection_makes_room() {
    let server = TestServer::start_with(Settings { max_connections: 2, ..Settings::default() }).await;
    let mut oldest = server.connect().await;
    let mut younger = server.connect().await;
    let answer = server.call(Method::GET, "/version").await;
    assert_eq!(answer.status, 200);
    assert_eq!(rest_of(&mut oldest).await, "");
    younger.write_all(b"GET /api2/json/ping HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest_of(&mut younger).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_targets_beyond_their_limits_are_refused() {
    let server = TestServer::start().await;
    let long = "x".repeat(3100);
    assert_eq!(server.call(Method::GET, &format!("/version?_dc={long}")).await.status, 414);
    let body = serde_json::json!({ "name": "x".repeat(600 * 1024) });
    let answer = server.call_json(Method::POST, "/admin/datastore/main/namespace", &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("below 524288 bytes"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_plain_in_one_tree_and_wrapped_in_the_other() {
    let server = TestServer::start().await;
    let plain = server.call(Method::GET, "/admin/datastore/main/status?foo=1").await;
    assert_eq!(plain.status, 400);
    assert_eq!(plain.headers["content-type"], "application/json;charset=UTF-8");
    assert!(plain.text().starts_with("parameter verification failed - 'foo'"));
    let request = http::Request::builder()
        .uri("/api2/extjs/admin/datastore/main/status?foo=1")
        .header("authorization", server.admin.authorization())
        .body(http_body_util::Full::default())
        .unwrap();
    let wrapped = server.send(request).await;
    assert_eq!(wrapped.status, 200);
    let json = wrapped.json();
    assert_eq!((json["success"].as_bool(), json["status"].as_u64()), (Some(false), Some(400)));
    assert!(json["errors"]["foo"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn inner_nodes_list_their_children() {
    let server = TestServer::start().await;
    let list = server.call(Method::GET, "/admin").await.data();
    assert_eq!(list, serde_json::json!([{ "subdir": "datastore" }, { "subdir": "sync" }]));
    let list = server.call(Method::GET, "/admin/datastore/main").await.data();
    assert!(list.as_array().unwrap().contains(&serde_json::json!({ "subdir": "snapshots" })));
}
