use client::{ClientError, ErrorClass};
use formats::{Namespace, StoreName};
use serde_json::json;

use crate::server::{Reply, Server, data};

fn store() -> StoreName {
    "tank".parse().unwrap()
}

fn version(version: &str, release: &str) -> Reply {
    data(json!({"version": version, "release": release, "repoid": "abc"}))
}

async fn groups_answered_with(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Server, ClientError) {
    let server = Server::start(move |_| reply()).await;
    let error = server.remote().groups(&store(), &Namespace::root()).await.unwrap_err();
    (server, error)
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let server = Server::start(|_| version("4.2", "3")).await;
    let remote = server.remote();

    remote.version().await.unwrap();
    remote.clone().version().await.unwrap();
    remote.version().await.unwrap();

    assert!(server.seen().iter().all(|seen| seen.connection == 1));
}

#[tokio::test]
async fn calls_at_once_use_a_connection_each() {
    let server = Server::start(|_| version("4.2", "3")).await;
    let remote = server.remote();

    let (first, second) = tokio::join!(remote.version(), remote.version());

    first.unwrap();
    second.unwrap();
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_ne!(connections[0], connections[1]);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_replaced() {
    let server = Server::start(|_| version("4.2", "3")).await;
    let remote = server.remote();
    remote.version().await.unwrap();

    server.close_connections().await;
    remote.version().await.unwrap();

    assert_eq!(server.seen().len(), 2);
    assert_eq!(server.seen()[1].connection, 2);
}

#[tokio::test]
async fn a_session_takes_over_the_connection_of_the_last_call() {
    let server = Server::start(|seen| match seen.path() {
        "//api2/json/reader" => Reply::Upgrade("proxmox-backup-reader-protocol-v1"),
        "/download" => Reply::Body("content".into()),
        _ => version("4.2", "3"),
    })
    .await;
    let remote = server.remote();
    remote.version().await.unwrap();

    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();
    let reader = remote.reader(&store(), &Namespace::root(), &snapshot).await.unwrap();
    let file = reader.download("a.blob", 100).await.unwrap();
    remote.version().await.unwrap();

    assert_eq!(file.as_deref(), Some(&b"content"[..]));
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2]);
}

#[tokio::test]
async fn a_missing_right_is_a_permission_error_that_names_call_and_identity() {
    let (server, error) = groups_answered_with(|| Reply::Status(403, "permission check failed")).await;

    assert!(matches!(error, ClientError::Permission { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{}: GET /admin/datastore/tank/groups: permission denied for sync@pbs!t1: permission check failed",
            server.address
        )
    );
    assert!(error.hint().unwrap().contains("sync@pbs!t1"));
    assert_eq!(error.class(), ErrorClass::Skip);
}

#[tokio::test]
async fn the_text_of_a_400_is_passed_on_in_one_line() {
    let (_server, error) = groups_answered_with(|| Reply::Status(400, "ENOENT: No such file\nor directory\n")).await;

    assert!(
        matches!(&error, ClientError::Api { status: 400, text, .. } if text == "ENOENT: No such file or directory")
    );
}

#[tokio::test]
async fn a_404_is_not_found() {
    let (_server, error) = groups_answered_with(|| Reply::Status(404, "Path not found.")).await;

    assert!(matches!(error, ClientError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_gateway_that_is_down_may_be_retried() {
    let (_server, error) = groups_answered_with(|| Reply::Status(503, "down")).await;

    assert_eq!(error.class(), ErrorClass::Retry);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_a_protocol_error_that_names_the_call() {
    let (_server, error) = groups_answered_with(|| Reply::Body("<html>hello</html>".into())).await;

    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains("GET /admin/datastore/tank/groups"));
}

#[tokio::test]
async fn an_answer_without_data_is_a_protocol_error() {
    let server = Server::start(|_| Reply::Body("{}".into())).await;
    let remote = server.remote();
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();

    let list = remote.datastores().await.unwrap_err();
    let nothing = remote.delete_snapshot(&store(), &Namespace::root(), &snapshot).await.unwrap_err();

    assert!(matches!(list, ClientError::Protocol { .. }), "{list:?}");
    assert!(matches!(nothing, ClientError::Protocol { .. }), "{nothing:?}");
}

#[tokio::test]
async fn one_bad_item_fails_the_list() {
    let item =
        |id: &str| json!({"backup-type": "host", "backup-id": id, "last-backup": 1, "backup-count": 1, "files": []});
    let (_server, error) = groups_answered_with(move || data(json!([item("good"), item("../evil")]))).await;

    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_cut_short_is_an_error_and_no_shorter_list() {
    let (_server, error) = groups_answered_with(|| Reply::Short(100, r#"{"data":[]}"#.into())).await;

    assert!(matches!(error, ClientError::Closed { .. } | ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let (_server, error) = groups_answered_with(|| Reply::Endless).await;

    assert!(matches!(error, ClientError::TooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn the_version_is_asked_for_once_and_decides_about_newer_parameters() {
    for (minor, release, expected) in [
        ("3.2", "10", "DELETE /api2/json/admin/datastore/tank/groups?backup-id=a&backup-type=host"),
        (
            "3.2",
            "11",
            "DELETE /api2/json/admin/datastore/tank/groups?backup-id=a&backup-type=host&error-on-protected=false",
        ),
    ] {
        let server = Server::start(move |seen| match seen.method.as_str() {
            "DELETE" => data(json!({"removed-groups": 1, "removed-snapshots": 2, "protected-snapshots": 0})),
            _ => version(minor, release),
        })
        .await;
        let remote = server.remote();

        for _ in 0..2 {
            let group = "host/a".parse().unwrap();
            let stats = remote.delete_group(&store(), &Namespace::root(), &group).await.unwrap().unwrap();
            assert_eq!(stats.removed_snapshots, 2);
        }

        assert_eq!(server.lines(), ["GET /api2/json/version", expected, expected]);
    }
}

#[tokio::test]
async fn long_notes_travel_in_the_body() {
    let server = Server::start(|_| data(json!(null))).await;
    let notes = "x".repeat(10_000);

    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();
    server.remote().set_notes(&store(), &"a/b".parse().unwrap(), &snapshot, &notes).await.unwrap();

    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "PUT /api2/json/admin/datastore/tank/notes");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let expected =
        json!({"backup-id": "a", "backup-time": 1763600000, "backup-type": "host", "notes": notes, "ns": "a/b"});
    assert_eq!(seen.json(), expected);
}

#[tokio::test]
async fn a_root_namespace_is_named_by_leaving_it_out_and_others_are_encoded() {
    let server = Server::start(|_| data(json!([]))).await;
    let remote = server.remote();

    remote.namespaces(&store(), &Namespace::root(), None).await.unwrap();
    remote.namespaces(&store(), &"a/b".parse().unwrap(), Some(2)).await.unwrap();

    assert_eq!(
        server.lines(),
        [
            "GET /api2/json/admin/datastore/tank/namespace",
            "GET /api2/json/admin/datastore/tank/namespace?max-depth=2&parent=a%2Fb"
        ]
    );
}

#[tokio::test]
async fn extensions_are_learnt_from_the_version_which_is_asked_for_once() {
    let fingerprint = "ab".repeat(32);
    let answer = fingerprint.clone();
    let server = Server::start(move |seen| match seen.path() {
        "/api2/json/version" => data(json!({
            "version": "4.2", "release": "3", "repoid": "abc", "backup-replicator": ["listing-fingerprint"]
        })),
        _ => data(json!({ "fingerprint": answer })),
    })
    .await;
    let remote = server.remote();

    remote.release().await.unwrap();
    assert!(remote.offers("listing-fingerprint").await.unwrap());
    assert!(!remote.offers("known-chunks").await.unwrap());
    let found = remote.listing_fingerprint(&store(), &"a/b".parse().unwrap(), Some(2)).await.unwrap();
    assert_eq!(found.to_string(), fingerprint);
    remote.listing_fingerprint(&store(), &Namespace::root(), None).await.unwrap();

    let asked: Vec<String> = server.seen().iter().map(|seen| seen.target.clone()).collect();
    let call = "/api2/json/admin/datastore/tank/listing-fingerprint";
    assert_eq!(asked, ["/api2/json/version".to_owned(), format!("{call}?max-depth=2&ns=a%2Fb"), call.to_owned()]);
}

#[tokio::test]
async fn a_stock_server_offers_nothing() {
    let server = Server::start(|_| version("4.2", "3")).await;
    let remote = server.remote();

    assert!(!remote.offers("known-chunks").await.unwrap());
    assert_eq!(server.seen().len(), 1);
}
