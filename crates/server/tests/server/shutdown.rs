//! The end of a server.

use std::time::Duration;

use datastore::{Datastore, StoreConfig};
use formats::Namespace;
use tokio::io::AsyncReadExt;

use super::support::{PATIENCE, STORE, TestServer, store_path};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_running_sessions_and_removes_what_they_made() {
    let mut server = TestServer::start().await;
    let session = server.writer("backup-type=vm&backup-id=100&backup-time=1700000000").await.unwrap();
    assert_eq!(session.post("dynamic_index?archive-name=a.didx").await.data(), 1);
    let mut idle = server.connect().await;
    server.stop();
    let ended = tokio::time::timeout(PATIENCE, idle.read(&mut [0; 1])).await.expect("idle connections are closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
    let paths = server.paths.clone();
    let root = server.stopped().await;
    let config = StoreConfig::new(STORE.parse().unwrap(), store_path(root.path(), STORE), paths.locks());
    let groups = Datastore::open(config).unwrap().groups(&Namespace::root()).unwrap();
    assert!(groups.is_empty(), "{groups:?}");
    let archive = std::fs::read_to_string(paths.tasks().join("archive")).unwrap();
    assert!(archive.ends_with(" stopped, since the server ends\n"), "{archive}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_held_back_does_not_hold_up_the_shutdown() {
    let server = TestServer::start().await;
    let io = hyper_util::rt::TokioIo::new(server.connect().await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri("/api2/json/version")
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    let refused = tokio::spawn(async move { sender.send_request(request).await });
    tokio::task::yield_now().await;
    tokio::time::timeout(Duration::from_secs(10), server.stopped()).await.expect("the server does not end");
    let _ = refused.await;
}
