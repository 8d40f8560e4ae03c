//! Sync jobs over the API: their settings, their runs, and who may do what with them.

use std::time::Duration;

use config::acl::Role;
use http::Method;
use serde_json::{Value, json};
use server::{SchedulerCommand, Settings};

use super::support::{Caller, TestServer, add_store, grant, until};

const JOBS: &str = "/config/sync";

/// A server with a second datastore, so that there can be a job between two.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    add_store(&server.paths, server.root.path(), "other");
    server
}

fn local_job(id: &str) -> Value {
    json!({ "id": id, "store": "main", "remote-store": "other", "owner": "admin@pbs!t1" })
}

async fn create(server: &TestServer, job: &Value) {
    let answer = server.call_json(Method::POST, JOBS, job).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_shown_changed_and_removed() {
    let server = server().await;
    let mut job = local_job("nightly");
    job["group-filter"] = json!(["type:host", "type:vm"]);
    job["worker-threads"] = json!(4);
    create(&server, &job).await;

    let answer = server.call(Method::GET, "/config/sync/nightly").await.json();
    assert_eq!(answer["data"], job);
    assert_eq!(server.call(Method::GET, JOBS).await.json(), json!({ "data": [job], "digest": answer["digest"] }));
    assert_eq!(server.call_json(Method::POST, JOBS, &job).await.status, 400, "it exists");

    let change = json!({ "transfer-mode": "sync", "delete": ["group-filter"], "digest": answer["digest"] });
    let changed = server.call_json(Method::PUT, "/config/sync/nightly", &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let again = server.call_json(Method::PUT, "/config/sync/nightly", &change).await;
    assert_eq!(again.status, 400, "the file has another digest now");
    let shown = server.call(Method::GET, "/config/sync/nightly").await.data();
    assert_eq!(shown.get("group-filter"), None);
    assert_eq!(shown["remove-vanished"], true, "readers that do not know the mode see what it means");

    assert_eq!(server.call(Method::DELETE, "/config/sync/nightly").await.status, 200);
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        assert_eq!(server.call(method, "/config/sync/nightly").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_pulls_unless_asked_for_more() {
    let server = server().await;
    std::fs::write(
        server.paths.sync_cfg(),
        "sync: down\n\tstore main\n\tremote-store other\n\n\
         sync: away\n\tstore main\n\tremote pbs2\n\tremote-store tank\n\tsync-direction push\n\n\
         sync: broken\n\tstore main\n\n",
    )
    .unwrap();

    for (query, ids) in [
        ("", vec!["down"]),
        ("sync-direction=push", vec!["away"]),
        ("sync-direction=all", vec!["down", "away"]),
        ("sync-direction=all&store=other", vec![]),
    ] {
        for base in [JOBS, "/admin/sync"] {
            if base == JOBS && query.contains("store=") {
                continue;
            }
            let list = server.call(Method::GET, &format!("{base}?{query}")).await.data();
            let found: Vec<&str> = list.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
            assert_eq!(found, ids, "{base}?{query}");
        }
    }
    assert_eq!(server.call(Method::GET, "/config/sync?sync-direction=both").await.status, 400);
    let broken = server.call(Method::GET, "/config/sync/broken").await;
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("sync.cfg:"), "{}", broken.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_neither_shows_nor_takes_commands() {
    let server = server().await;
    let mut job = local_job("nightly");
    for key in ["pre-script", "post-script", "failure-script", "run-when", "script-timeout"] {
        job[key] = json!("/bin/true");
        let refused = server.call_json(Method::POST, JOBS, &job).await;
        assert_eq!(refused.status, 400, "{key}");
        assert!(refused.text().contains(key), "{}", refused.text());
        job.as_object_mut().unwrap().remove(key);
    }
    std::fs::write(
        server.paths.sync_cfg(),
        "sync: nightly\n\tstore main\n\tremote-store other\n\tpre-script /usr/local/bin/secret\n\n",
    )
    .unwrap();

    let shown = server.call(Method::GET, "/config/sync/nightly").await;
    assert!(!shown.text().contains("secret"), "{}", shown.text());
    let change = json!({ "comment": "new", "owner": "admin@pbs!t1" });
    assert_eq!(server.call_json(Method::PUT, "/config/sync/nightly", &change).await.status, 200);
    let unset = json!({ "delete": ["pre-script"] });
    assert_eq!(server.call_json(Method::PUT, "/config/sync/nightly", &unset).await.status, 400);
    let file = std::fs::read_to_string(server.paths.sync_cfg()).unwrap();
    assert!(file.contains("pre-script /usr/local/bin/secret") && file.contains("comment new"), "{file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_a_job_could_do_all_that_it_does() {
    let server = server().await;
    let caller = |user: &str, roles: &[(&str, Role)]| -> Caller {
        let caller = server.caller(user, roles[0].0, roles[0].1);
        for (path, role) in &roles[1..] {
            for id in [caller.id.clone(), caller.id.user().clone().into()] {
                grant(&server.paths, &id, path, *role);
            }
        }
        caller
    };
    let (main, other) = ("/datastore/main", "/datastore/other");
    let full = [(main, Role::DatastoreAdmin), (other, Role::DatastoreReader)];
    let sees_little = [(main, Role::DatastoreBackup), (other, Role::DatastoreReader)];
    let cannot_read = [(main, Role::DatastoreAdmin), (other, Role::DatastoreBackup)];
    let cannot_prune = [(main, Role::DatastoreReader), (other, Role::DatastoreReader)];
    let pull = |owner: &Caller| json!({ "store": "main", "remote-store": "other", "owner": owner.id });
    let push = json!({ "store": "main", "remote": "pbs2", "remote-store": "tank", "sync-direction": "push" });

    for (user, roles, job, status) in [
        ("full@pbs", &full[..], None, 200),
        ("little@pbs", &sees_little[..], None, 403),
        ("unread@pbs", &cannot_read[..], None, 403),
        ("unpruned@pbs", &cannot_prune[..], None, 403),
        (
            "pusher@pbs",
            &[(main, Role::DatastoreReader), ("/remote/pbs2", Role::RemoteSyncPushOperator)],
            Some(&push),
            200,
        ),
        ("unpush@pbs", &[(main, Role::DatastoreReader), ("/remote/pbs2", Role::RemoteSyncOperator)], Some(&push), 403),
    ] {
        let caller = caller(user, roles);
        let mut job = job.cloned().unwrap_or_else(|| pull(&caller));
        job["id"] = json!(user.trim_end_matches("@pbs"));
        let answer = server.call_json_as(&caller, Method::POST, JOBS, &job).await;
        assert_eq!(answer.status, status, "{user}: {}", answer.text());
    }

    // Removing at the target takes more than adding there.
    let roles = [(main, Role::DatastoreReader), ("/remote/pbs2", Role::RemoteSyncPushOperator)];
    let adder = caller("adder@pbs", &roles);
    let mut removing = push.clone();
    (removing["id"], removing["remove-vanished"]) = (json!("removing"), json!(true));
    assert_eq!(server.call_json_as(&adder, Method::POST, JOBS, &removing).await.status, 403);
    // So does removing what was copied at the source.
    (removing["transfer-mode"], removing["remove-vanished"]) = (json!("move"), json!(false));
    assert_eq!(server.call_json_as(&adder, Method::POST, JOBS, &removing).await.status, 403);
    let mut moving = local_job("moving");
    moving["transfer-mode"] = json!("move");
    let mover = caller("mover@pbs", &full);
    moving["owner"] = json!(mover.id);
    assert_eq!(server.call_json_as(&mover, Method::POST, JOBS, &moving).await.status, 403);
    // So does working for somebody else.
    let mut foreign = pull(&server.admin);
    foreign["id"] = json!("foreign");
    let backup = caller("backup@pbs", &[(main, Role::DatastorePowerUser), (main, Role::DatastoreAudit), full[1]]);
    assert_eq!(server.call_json_as(&backup, Method::POST, JOBS, &foreign).await.status, 403);
    foreign["owner"] = json!(backup.id);
    assert_eq!(server.call_json_as(&backup, Method::POST, JOBS, &foreign).await.status, 200);

    // Who sees a job may not change, run or remove it for that, and sees no other.
    let viewer = caller("viewer@pbs", &[(main, Role::DatastoreReader), ("/remote/pbs2", Role::RemoteAudit)]);
    let job = "/config/sync/pusher";
    assert_eq!(server.call_as(&viewer, Method::GET, job).await.status, 200);
    assert_eq!(server.call_json_as(&viewer, Method::PUT, job, &json!({ "comment": "mine" })).await.status, 403);
    assert_eq!(server.call_as(&viewer, Method::DELETE, job).await.status, 403);
    assert_eq!(server.call_as(&viewer, Method::POST, "/admin/sync/pusher/run").await.status, 403);
    assert_eq!(server.call_as(&viewer, Method::GET, "/config/sync/full").await.status, 403);
    let seen = server.call_as(&viewer, Method::GET, "/config/sync?sync-direction=all").await.data();
    assert_eq!(seen.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_for_waits_under_its_name_until_the_scheduler_takes_it() {
    let mut told = None;
    let server = TestServer::start_changed(Settings::default(), |server, root| {
        let file = root.join("tick");
        let script = format!("echo tick >> {}", file.display());
        told = Some(file);
        server.with_scheduler(SchedulerCommand::new("/bin/sh", ["-c".into(), script.into()]))
    })
    .await;
    let told = told.unwrap();
    add_store(&server.paths, server.root.path(), "other");
    let mut job = local_job("nightly");
    job["schedule"] = json!("daily");
    create(&server, &job).await;

    let upid = server.call(Method::POST, "/admin/sync/nightly/run").await.data();
    let second = server.call(Method::POST, "/admin/sync/nightly/run").await;
    until("the scheduler is started", async || told.exists()).await;

    let request = server.paths.requests().join("syncjob-nightly");
    let text = std::fs::read_to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "upid": upid, "auth-id": "admin@pbs!t1" }));
    assert_eq!(second.status, 400);
    let tasks = server.call(Method::GET, "/nodes/localhost/tasks?running=1").await.data();
    assert_eq!((&tasks[0]["upid"], &tasks[0]["worker_id"]), (&upid, &json!("-:other:main::nightly")));

    // The run goes on under that name, and the list of jobs tells how it is.
    let (paths, job) = (server.paths.clone(), "nightly".parse().unwrap());
    let (_, log) = tasks::TaskStore::new(&paths).take_request(&job).unwrap().unwrap();
    let states = jobs::JobStates::new(&paths);
    states.save(&job, &jobs::JobState::Started { upid: log.upid().clone() }).unwrap();
    let described = async || server.call(Method::GET, "/admin/sync").await.data()[0].clone();
    assert_eq!(described().await["last-run-upid"], upid);
    assert_eq!(described().await.get("last-run-state"), None);
    assert_eq!(server.call(Method::POST, "/admin/sync/nightly/run").await.status, 400, "it runs");

    // It dies before it can say so in the state of the job.
    log.warn("careful");
    log.finish(tasks::TaskEnd::Ok);
    assert_eq!(described().await["last-run-state"], "WARNINGS: 1");
    assert!(described().await["last-run-endtime"].is_i64());
    assert!(described().await["next-run"].as_i64().unwrap() > tasks::now());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_can_be_stopped_and_one_that_cannot_be_started_has_failed() {
    let server = server().await;
    create(&server, &local_job("nightly")).await;
    let upid = server.call(Method::POST, "/admin/sync/nightly/run").await.data();
    let path = format!("/nodes/localhost/tasks/{}", upid.as_str().unwrap().replace('\\', "%5C"));

    assert_eq!(server.call(Method::DELETE, &path).await.status, 200);
    let status = server.call(Method::GET, &format!("{path}/status")).await.data();
    assert_eq!(status["exitstatus"], "stopped on request before it began");
    assert!(!server.paths.requests().join("syncjob-nightly").exists());

    let settings = Settings { shutdown_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = TestServer::start_changed(settings, |server, _| {
        server.with_scheduler(SchedulerCommand::new("/nonexistent/backup-manager", []))
    })
    .await;
    add_store(&server.paths, server.root.path(), "other");
    create(&server, &local_job("nightly")).await;
    let refused = server.call(Method::POST, "/admin/sync/nightly/run").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("cannot start the scheduler: /nonexistent/backup-manager"), "{}", refused.text());
    let tasks = server.call(Method::GET, "/nodes/localhost/tasks").await.data();
    assert!(tasks[0]["status"].as_str().unwrap().starts_with("cannot start the scheduler"), "{tasks}");
}
