//! Privileges and owners.

use config::acl::Role;
use http::Method;

use super::sessions::small_backup;
use super::support::{Caller, STORE, TestServer};

async fn groups(server: &TestServer, caller: &Caller) -> Vec<String> {
    let answer = server.call_as(caller, Method::GET, &format!("/admin/datastore/{STORE}/groups")).await;
    let list = answer.data();
    list.as_array().unwrap().iter().map(|group| group["backup-id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_do_not_leak_privileges_come_before_existence() {
    let server = TestServer::start().await;
    let nobody = server.caller("nobody@pbs", "/access", Role::Audit);
    for (store, admin_status) in [(STORE, 200), ("no-such-store", 400)] {
        let path = format!("/admin/datastore/{store}/groups");
        assert_eq!(server.call_as(&nobody, Method::GET, &path).await.status, 403, "{store}");
        assert_eq!(server.call(Method::GET, &path).await.status.as_u16(), admin_status, "{store}");
        let path = format!("/admin/datastore/{store}/status");
        assert_eq!(server.call_as(&nobody, Method::GET, &path).await.status, 403, "{store}");
        let target = format!("backup?store={store}&backup-type=host&backup-id=a&backup-time=1");
        let refused = server.session(&nobody, &target, api_types::protocol::WRITER_PROTOCOL).await.err().unwrap();
        assert_eq!(refused.status, 403);
        let target = target.replace("backup?", "reader?");
        let refused = server.session(&nobody, &target, api_types::protocol::READER_PROTOCOL).await.err().unwrap();
        assert_eq!(refused.status, 400, "the reader upgrade answers 400");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_may_only_back_up_see_their_own_groups() {
    let server = TestServer::start().await;
    let one = server.caller("one@pbs", "/datastore/main", Role::DatastoreBackup);
    let two = server.caller("two@pbs", "/datastore/main", Role::DatastoreBackup);
    small_backup(&server, &one, "backup-type=host&backup-id=of-one&backup-time=1").await;
    small_backup(&server, &two, "backup-type=host&backup-id=of-two&backup-time=1").await;
    assert_eq!(groups(&server, &one).await, ["of-one"]);
    assert_eq!(groups(&server, &two).await, ["of-two"]);
    assert_eq!(groups(&server, &server.admin).await, ["of-one", "of-two"]);
    let foreign = "backup-type=host&backup-id=of-two&backup-time=1";
    let path = format!("/admin/datastore/{STORE}/files?{foreign}");
    assert_eq!(server.call_as(&one, Method::GET, &path).await.status, 400);
    let refused = server.writer_as(&one, "backup-type=host&backup-id=of-two&backup-time=2").await.err().unwrap();
    assert_eq!(refused.status, 400, "{}", refused.text());
    let path = format!("/admin/datastore/{STORE}/snapshots?{foreign}");
    assert_eq!(server.call_as(&one, Method::DELETE, &path).await.status, 403, "backing up is not pruning");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_belong_to_the_token_that_made_them_and_to_its_user() {
    let server = TestServer::start().await;
    let one = server.caller("one@pbs", "/datastore/main", Role::DatastoreBackup);
    small_backup(&server, &one, "backup-type=host&backup-id=a&backup-time=1").await;
    let list = server.call(Method::GET, &format!("/admin/datastore/{STORE}/groups")).await.data();
    assert_eq!(list[0]["owner"], one.id.to_string());
    let path = format!("/admin/datastore/{STORE}/change-owner?backup-type=host&backup-id=a&new-owner=");
    // A token does not pass for its user, so it can hand the group only to itself.
    let refused = server.call_as(&one, Method::POST, &format!("{path}one@pbs")).await;
    assert_eq!(refused.status, 401);
    assert_eq!(server.call(Method::POST, &format!("{path}nobody@pbs")).await.status, 400);
    assert_eq!(server.call(Method::POST, &format!("{path}one@pbs")).await.status, 200);
    assert_eq!(groups(&server, &one).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_grants_no_sight_of_its_neighbours() {
    let server = TestServer::start().await;
    for name in ["a", "b"] {
        let body = serde_json::json!({ "name": name });
        let path = format!("/admin/datastore/{STORE}/namespace");
        assert_eq!(server.call_json(Method::POST, &path, &body).await.status, 200);
    }
    let caller = server.caller("inner@pbs", "/datastore/main/a", Role::DatastoreReader);
    let list = server.call_as(&caller, Method::GET, &format!("/admin/datastore/{STORE}/namespace")).await.data();
    assert_eq!(list, serde_json::json!([{ "ns": "a" }]));
    let status = server.call_as(&caller, Method::GET, &format!("/admin/datastore/{STORE}/status")).await.data();
    assert_eq!((status["total"].as_u64(), status["used"].as_u64()), (Some(0), Some(0)));
    let path = format!("/admin/datastore/{STORE}/groups?ns=");
    assert_eq!(server.call_as(&caller, Method::GET, &format!("{path}b")).await.status, 403);
    assert_eq!(server.call_as(&caller, Method::GET, &format!("{path}a")).await.status, 200);
    let stores = server.call_as(&caller, Method::GET, "/admin/datastore").await.data();
    assert_eq!(stores[0]["store"], STORE);
    let path = format!("/admin/datastore/{STORE}/namespace?ns=a");
    assert_eq!(server.call_as(&caller, Method::DELETE, &path).await.status, 403);
}
