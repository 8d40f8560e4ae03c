//! Knowing that nothing changed without listing it.

use config::acl::Role;
use formats::Namespace;
use http::Method;

use super::sessions::small_backup;
use super::support::{Caller, STORE, TestServer};

async fn fingerprint(server: &TestServer, caller: &Caller, query: &str) -> String {
    let path = format!("/admin/datastore/{STORE}/listing-fingerprint{query}");
    let data = server.call_as(caller, Method::GET, &path).await.data();
    let text = data["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(text.len(), 64);
    text
}

const A: &str = "backup-type=host&backup-id=a&backup-time=1700000000";

#[tokio::test(flavor = "multi_thread")]
async fn it_changes_with_what_the_caller_would_be_shown_and_with_nothing_else() {
    let server = TestServer::start().await;
    let admin = server.admin.clone();
    let limited = server.caller("a@pbs", "/datastore", Role::DatastoreBackup);
    small_backup(&server, &limited, A).await;
    let before = (fingerprint(&server, &admin, "").await, fingerprint(&server, &limited, "").await);
    assert_eq!(fingerprint(&server, &admin, "").await, before.0);
    assert_eq!(before.0, before.1, "both see the same");

    small_backup(&server, &admin, "backup-type=host&backup-id=b&backup-time=1700000000").await;
    assert_ne!(fingerprint(&server, &admin, "").await, before.0);
    assert_eq!(fingerprint(&server, &limited, "").await, before.1, "a foreign group");
    let path = format!("/admin/datastore/{STORE}/notes?{A}&notes=new");
    assert_eq!(server.call(Method::PUT, &path).await.status, 200);
    assert_ne!(fingerprint(&server, &limited, "").await, before.1, "notes of an own group");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_about_the_namespaces_asked_for() {
    let server = TestServer::start().await;
    let admin = server.admin.clone();
    let store = server.store(STORE);
    let site = store.create_namespace(&Namespace::root(), "site").unwrap();
    let before = fingerprint(&server, &admin, "?ns=site&max-depth=0").await;
    small_backup(&server, &admin, A).await;
    store.create_namespace(&site, "deep").unwrap();
    assert_eq!(fingerprint(&server, &admin, "?ns=site&max-depth=0").await, before);
    assert_ne!(fingerprint(&server, &admin, "?ns=site").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_to_who_sees_nothing_there_and_for_what_does_not_exist() {
    let server = TestServer::start().await;
    let nobody = server.caller("n@pbs", "/datastore/other", Role::DatastoreAdmin);
    let path = format!("/admin/datastore/{STORE}/listing-fingerprint");
    assert_eq!(server.call_as(&nobody, Method::GET, &path).await.status, 403);
    assert_eq!(server.call(Method::GET, &format!("{path}?ns=nowhere")).await.status, 400);
    assert_eq!(server.call(Method::GET, "/admin/datastore/none/listing-fingerprint").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_names_what_we_add() {
    let server = TestServer::start().await;
    let version = server.call(Method::GET, "/version").await.data();
    assert_eq!(version["backup-replicator"], serde_json::json!(["known-chunks", "listing-fingerprint"]));
}
