//! Tasks: what the server runs is listed, read, followed and stopped by those who may.

use config::acl::Role;
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::sessions::{blob, small_backup, upload_blob};
use super::support::{Caller, STORE, TestServer, grant, until};

const SNAPSHOT: &str = "backup-type=host&backup-id=a&backup-time=1700000000";

/// The path of a task, each byte of its name escaped that could be.
fn path(upid: &str, rest: &str) -> String {
    let name: String = upid
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("/nodes/localhost/tasks/{name}{rest}")
}

async fn status(server: &TestServer, upid: &str) -> Value {
    server.call(Method::GET, &path(upid, "/status")).await.data()
}

/// Waits for a task and returns how it ended.
async fn end_of(server: &TestServer, upid: &str) -> String {
    until("the task ends", async || status(server, upid).await["status"] == "stopped").await;
    status(server, upid).await["exitstatus"].as_str().unwrap().to_owned()
}

async fn list(server: &TestServer, caller: &Caller, query: &str) -> Vec<Value> {
    let answer = server.call_as(caller, Method::GET, &format!("/nodes/localhost/tasks?{query}")).await;
    answer.data().as_array().unwrap().clone()
}

async fn running(server: &TestServer) -> Vec<Value> {
    list(server, &server.admin, "running=1").await
}

/// The texts of a log, without times.
async fn log(server: &TestServer, upid: &str) -> Vec<String> {
    let page = server.call(Method::GET, &path(upid, "/log?limit=0")).await.json();
    page["data"].as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap()[27..].to_owned()).collect()
}

async fn start(server: &TestServer, call: &str, body: Value) -> String {
    let answer = server.call_json(Method::POST, &format!("/admin/datastore/{STORE}/{call}"), &body).await;
    answer.data().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_is_a_task_whose_log_can_be_followed() {
    let server = TestServer::start().await;
    small_backup(&server, &server.admin, SNAPSHOT).await;

    let snapshot = json!({ "backup-type": "host", "backup-id": "a", "backup-time": 1_700_000_000 });
    let upid = start(&server, "verify", snapshot.clone()).await;
    assert_eq!(end_of(&server, &upid).await, "OK");

    let task = status(&server, &upid).await;
    assert_eq!((&task["type"], &task["id"]), (&json!("verify_snapshot"), &json!("main:/host/a/6553F100")));
    assert_eq!((&task["user"], &task["tokenid"]), (&json!("admin@pbs"), &json!("t1")));
    let listed = server.call(Method::GET, &format!("/admin/datastore/{STORE}/snapshots")).await.data();
    assert_eq!(listed[0]["verification"], json!({ "upid": upid, "state": "ok" }));

    let page = async |query: &str| server.call(Method::GET, &path(&upid, &format!("/log?{query}"))).await;
    let whole = page("limit=0&test-status=1").await.json();
    let total = whole["total"].as_u64().unwrap();
    assert_eq!((&whole["active"], &whole["success"]), (&json!(false), &json!(1)));
    assert_eq!(whole["data"].as_array().unwrap().len() as u64, total);
    let first = page("start=1&limit=2").await.json();
    assert_eq!(first.get("active"), None);
    assert_eq!(first["data"].as_array().unwrap().iter().map(|line| &line["n"]).collect::<Vec<_>>(), [1, 2]);
    assert!(whole["data"][1]["t"].as_str().unwrap().ends_with(": host/a/2023-11-14T22:13:20Z: ok, 0 chunks read"));
    assert!(whole["data"].as_array().unwrap().last().unwrap()["t"].as_str().unwrap()[25..] == *": TASK OK");

    let file = page("download=1").await;
    assert_eq!(file.headers[CONTENT_TYPE], "text/plain");
    assert!(file.headers[CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment; filename=\"task-UPID"));
    assert_eq!(file.text().lines().count() as u64, total);
    assert_eq!(page("download=1&limit=3").await.status, 400);

    // It was verified a moment ago, so by default there is nothing to do.
    for (call, body, said) in [
        ("verify", json!({}), "verifying 0 snapshots of datastore 'main'"),
        ("verify", json!({ "ignore-verified": false }), "verifying 1 snapshots of datastore 'main'"),
    ] {
        let again = start(&server, call, body).await;
        assert_eq!(end_of(&server, &again).await, "OK");
        assert_eq!(log(&server, &again).await[0], said);
    }
    let half = json!({ "backup-type": "host" });
    assert_eq!(server.call_json(Method::POST, "/admin/datastore/main/verify", &half).await.status, 400);
    let gone = json!({ "backup-type": "host", "backup-id": "nobody" });
    assert_eq!(server.call_json(Method::POST, "/admin/datastore/main/verify", &gone).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_verification_finds_is_its_end() {
    let server = TestServer::start().await;
    small_backup(&server, &server.admin, SNAPSHOT).await;
    let store = super::support::store_path(server.root.path(), STORE);
    std::fs::write(store.join("host/a/2023-11-14T22:13:20Z/index.json.blob"), blob(b"{}")).unwrap();

    let upid = start(&server, "verify", json!({})).await;

    let end = end_of(&server, &upid).await;
    assert_eq!(end, "1 of 1 snapshots are damaged, the first is host/a/2023-11-14T22:13:20Z");
    assert_eq!(log(&server, &upid).await.last().unwrap(), &format!("TASK ERROR: {end}"));
    assert_eq!(list(&server, &server.admin, "errors=1").await[0]["status"], end);
    assert!(list(&server, &server.admin, "statusfilter=ok&typefilter=verify").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_tasks_and_end_as_they_went() {
    let server = TestServer::start().await;
    small_backup(&server, &server.admin, SNAPSHOT).await;
    until("the session ends", async || running(&server).await.is_empty()).await;
    let reader = server.reader(SNAPSHOT).await.ok().unwrap();
    let writer = server.writer("backup-type=vm&backup-id=7&backup-time=1700000000").await.ok().unwrap();

    let tasks: Vec<(Value, Value, Value)> = running(&server)
        .await
        .into_iter()
        .map(|task| (task["worker_type"].clone(), task["worker_id"].clone(), task["user"].clone()))
        .collect();
    let user = json!("admin@pbs!t1");
    assert!(tasks.contains(&(json!("backup"), json!("main:vm/7"), user.clone())), "{tasks:?}");
    assert!(tasks.contains(&(json!("reader"), json!("main:host/a/6553F100"), user)), "{tasks:?}");
    drop((reader, writer));
    until("both end", async || running(&server).await.is_empty()).await;

    let ended = list(&server, &server.admin, "limit=0").await;
    let status_of = |id: &str| ended.iter().find(|task| task["worker_id"] == id).unwrap()["status"].clone();
    assert_eq!(status_of("main:host/a"), "OK");
    assert_eq!(status_of("main:host/a/6553F100"), "OK");
    let broken_off = "the client left before the backup was finished; nothing of it is kept";
    assert_eq!(status_of("main:vm/7"), broken_off);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_stopped_by_its_owner_or_who_may_stop_all() {
    let server = TestServer::start().await;
    let one = server.caller("one@pbs", "/datastore/main", Role::DatastoreBackup);
    let two = server.caller("two@pbs", "/", Role::DatastoreAdmin);
    let auditor = server.caller("auditor@pbs", "/system", Role::Audit);
    let session = server.writer_as(&one, SNAPSHOT).await.ok().unwrap();
    upload_blob(&session, "x.conf.blob", blob(b"content")).await;
    let upid = running(&server).await[0]["upid"].as_str().unwrap().to_owned();

    for (caller, see, stop) in [(&two, 403, 403), (&auditor, 200, 403)] {
        assert_eq!(server.call_as(caller, Method::GET, &path(&upid, "/status")).await.status, see);
        assert_eq!(server.call_as(caller, Method::GET, &path(&upid, "/log")).await.status, see);
        assert_eq!(server.call_as(caller, Method::DELETE, &path(&upid, "")).await.status, stop);
        assert_eq!(list(&server, caller, "").await.len(), usize::from(see == 200));
    }
    assert_eq!(server.call_as(&one, Method::DELETE, &path(&upid, "")).await.data(), Value::Null);

    assert_eq!(end_of(&server, &upid).await, "stopped on request");
    assert!(log(&server, &upid).await.contains(&"asked to stop by one@pbs!t1".to_owned()));
    let groups = server.call(Method::GET, "/admin/datastore/main/groups").await.data();
    assert_eq!(groups, json!([]));
    // It has ended, so there is nothing to stop.
    assert_eq!(server.call(Method::DELETE, &path(&upid, "")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_was_is_stopped_and_unknown_and_has_no_log() {
    let server = TestServer::start().await;
    let upid = "UPID:pbs-a:000064FA:00050CA3:000001D7:6B00252F:backup:main\\x3ahost-a:admin@pbs!t1:";

    let status = status(&server, upid).await;
    assert_eq!((&status["status"], &status["exitstatus"]), (&json!("stopped"), &json!("unknown")));
    assert_eq!(status.get("endtime"), None);
    assert_eq!(server.call(Method::GET, &path(upid, "/log")).await.status, 400);
    assert_eq!(server.call(Method::GET, "/nodes/localhost/tasks/UPID:broken/status").await.status, 400);
    assert_eq!(server.call(Method::GET, "/nodes/a.b/tasks").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_say_how_many_there_are_so_far() {
    let server = TestServer::start().await;
    for id in ["a", "b", "c"] {
        small_backup(&server, &server.admin, &SNAPSHOT.replace("id=a", &format!("id={id}"))).await;
        until("the session ends", async || running(&server).await.is_empty()).await;
    }

    for (query, ids, total) in [
        ("", vec!["main:host/c", "main:host/b", "main:host/a"], 3),
        ("limit=2", vec!["main:host/c", "main:host/b"], 3),
        ("start=1&limit=2", vec!["main:host/b", "main:host/a"], 4),
        ("start=2", vec!["main:host/a"], 3),
        ("store=other", vec![], 0),
        ("userfilter=admin&since=0", vec!["main:host/c", "main:host/b", "main:host/a"], 3),
    ] {
        let answer = server.call(Method::GET, &format!("/nodes/localhost/tasks?{query}")).await.json();
        let found: Vec<&str> =
            answer["data"].as_array().unwrap().iter().map(|task| task["worker_id"].as_str().unwrap()).collect();
        assert_eq!((found, answer["total"].as_u64().unwrap()), (ids, total), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_as_a_task_removes_what_the_options_do_not_keep() {
    let server = TestServer::start().await;
    let limited = server.caller("limited@pbs", "/datastore/main", Role::DatastorePowerUser);
    for time in [1, 2, 3] {
        for (caller, id) in [(&server.admin, "a"), (&limited, "b")] {
            let snapshot = format!("backup-type=host&backup-id={id}&backup-time=170000000{time}");
            small_backup(&server, caller, &snapshot).await;
        }
    }
    let count = async || {
        let snapshots = server.call(Method::GET, "/admin/datastore/main/snapshots").await.data();
        let of = |id| snapshots.as_array().unwrap().iter().filter(|item| item["backup-id"] == id).count();
        (of("a"), of("b"))
    };

    let dry = start(&server, "prune-datastore", json!({ "keep-last": 1, "dry-run": true })).await;
    assert_eq!(end_of(&server, &dry).await, "OK");
    assert_eq!(count().await, (3, 3));

    // Only its own group: the other one belongs to somebody else.
    let path = "/admin/datastore/main/prune-datastore";
    let own = server.call_json_as(&limited, Method::POST, path, &json!({ "keep-last": 2 })).await.data();
    assert_eq!(end_of(&server, own.as_str().unwrap()).await, "OK");
    assert_eq!(count().await, (3, 2));

    let group = json!({ "backup-type": "host", "backup-id": "a", "keep-last": 1, "use-task": true });
    let upid = start(&server, "prune", group).await;
    assert_eq!(end_of(&server, &upid).await, "OK");
    assert_eq!(count().await, (1, 2));
    assert_eq!(status(&server, &upid).await["id"], "main::host/a");
    let lines = log(&server, &upid).await;
    assert_eq!(lines.iter().filter(|line| line.starts_with("remove host/a/")).count(), 2, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_died_with_the_last_server_are_recorded_by_the_next_one() {
    let upid = "UPID:pbs-a:000064FA:00050CA3:000001D7:6B00252F:syncjob:nightly:root@pam:";
    let server = TestServer::start_changed(server::Settings::default(), |server, root| {
        let tasks = config::Paths::under_root(root).tasks();
        std::fs::create_dir_all(&tasks).unwrap();
        std::fs::write(tasks.join("active"), format!("{upid}\n")).unwrap();
        server
    })
    .await;
    let archive = server.paths.tasks().join("archive");

    until("it is recorded", async || archive.exists()).await;
    assert_eq!(std::fs::read_to_string(archive).unwrap(), format!("{upid} 6B00252F unknown\n"));
    grant(&server.paths, &server.admin.id, "/system/tasks", Role::Admin);
    assert_eq!(list(&server, &server.admin, "").await[0]["status"], "unknown");
}
