//! Tasks from the command line: what the files say, and a stop through the socket of a running one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use formats::Upid;
use serde_json::json;
use tasks::control::{Answer, Listener, Request};
use tasks::{TaskEnd, TaskLog, TaskStore};

use crate::host::Host;

fn start(host: &Host, worker_type: &str, id: &str) -> TaskLog {
    let upid = tasks::new_upid(worker_type, Some(id.to_owned()), tasks::superuser());
    TaskStore::new(&host.paths()).start(upid)
}

fn listed(host: &Host, words: &[&str]) -> Vec<String> {
    let rows = host.json(&[&["task", "list"], words].concat());
    rows.as_array().unwrap().iter().map(|row| row["worker_id"].as_str().unwrap().to_owned()).collect()
}

/// A task whose process was killed.
fn dead(host: &Host) -> Upid {
    let upid = tasks::new_upid("syncjob", Some("dead".to_owned()), tasks::superuser());
    fs::create_dir_all(host.paths().tasks()).unwrap();
    fs::write(host.paths().tasks().join("active"), format!("{upid}\n")).unwrap();
    upid
}

#[test]
fn the_list_shows_running_and_finished_tasks_and_can_be_narrowed() {
    let host = Host::new();
    assert_eq!(host.ok(&["task", "list"]), "");
    dead(&host);
    start(&host, "backup", "tank:host/a").finish(TaskEnd::Ok);
    start(&host, "sync", "other").finish(TaskEnd::Error("no way".to_owned()));
    let running = start(&host, "syncjob", "pbs2:away:tank::nightly");

    assert_eq!(listed(&host, &[]), ["pbs2:away:tank::nightly", "dead", "other", "tank:host/a"]);
    assert_eq!(listed(&host, &["--running"]), ["pbs2:away:tank::nightly"]);
    assert_eq!(listed(&host, &["--errors"]), ["dead", "other"]);
    assert_eq!(listed(&host, &["--limit", "1"]), ["pbs2:away:tank::nightly"]);
    assert_eq!(listed(&host, &["--store", "tank", "--all"]), ["pbs2:away:tank::nightly", "tank:host/a"]);
    assert_eq!(listed(&host, &["--typefilter", "back"]), ["tank:host/a"]);
    assert_eq!(listed(&host, &["--until", "2020-01-01"]), [""; 0]);
    assert_eq!(listed(&host, &["--since", "2020-01-01 12:00"]).len(), 4);
    assert_eq!(host.run(&["task", "list", "--since", "yesterday"]).code, 2);

    let text = host.ok(&["task", "list"]);
    for part in ["running", "no way", "unknown", "OK", &running.upid().to_string()] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_log_is_followed_to_the_end_of_its_task_whose_result_is_the_exit_code() {
    let host = Host::new();
    let log = start(&host, "sync", "tank");
    log.info("first");
    let upid = log.upid().to_string();
    let mut following =
        host.command(&["task", "log", &upid, "--follow"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with(": first"));

    log.warn("second");
    log.finish(TaskEnd::Ok);

    let rest: Vec<String> = lines.map(|line| line.unwrap()[27..].to_owned()).collect();
    assert_eq!(rest, ["second", "TASK WARNINGS: 1"]);
    assert_eq!(following.wait().unwrap().code(), Some(3));
    assert_eq!(host.ok(&["task", "log", &upid]).lines().count(), 3);
    let page = host.json(&["task", "log", &upid]);
    assert_eq!((&page["total"], &page["active"], &page["data"][0]["n"]), (&json!(3), &json!(false), &json!(1)));
}

#[test]
fn the_status_of_a_task_is_that_of_the_api() {
    let host = Host::new();
    let log = start(&host, "sync", "tank");
    let upid = log.upid().to_string();
    assert_eq!(host.json(&["task", "status", &upid])["status"], "running");

    log.finish(TaskEnd::Ok);

    let status = host.json(&["task", "status", &upid]);
    assert_eq!((&status["status"], &status["exitstatus"]), (&json!("stopped"), &json!("OK")));
    assert!(host.ok(&["task", "status", &upid]).contains("root@pam"));
    let unknown = host.run(&["task", "status", &upid.replace(":sync:", ":other:")]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("hint: list them with: backup-manager task list"), "{unknown:?}");
    assert_eq!(host.run(&["task", "status", "nightly"]).code, 2);
}

#[test]
fn a_running_task_is_asked_to_stop_and_a_dead_one_is_called_dead() {
    let host = Host::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let log = start(&host, "sync", "tank");
    let upid = log.upid().to_string();
    let deaf = host.run(&["task", "stop", &upid]);
    assert_eq!(deaf.code, 1);
    assert!(deaf.stderr.contains("takes no requests, although it runs"), "{deaf:?}");

    let (stopped, asked) = std::sync::mpsc::channel();
    let control = host.paths().control();
    let listener = runtime.block_on(async { Listener::bind(&control, log.upid()) }).unwrap();
    runtime.spawn(async move {
        listener
            .serve(move |asked| {
                let told = stopped.send(asked.request).is_ok();
                async move { if told { Answer::ok() } else { Answer::error("nobody hears") } }
            })
            .await;
    });
    assert_eq!(host.json(&["task", "stop", &upid])["result"], "asked");
    assert_eq!(asked.recv().unwrap(), Request::Stop);
    runtime.shutdown_background();
    log.finish(TaskEnd::Error("stopped on request".to_owned()));
    assert!(host.ok(&["task", "stop", &upid]).contains("has ended before (stopped on request)"));

    let dead = dead(&host).to_string();
    assert!(host.run(&["task", "stop", &dead.replace(":syncjob:", ":other:")]).stderr.contains("there is no task"));
    fs::create_dir_all(TaskStore::new(&host.paths()).log_path(&dead.parse().unwrap()).parent().unwrap()).unwrap();
    fs::write(TaskStore::new(&host.paths()).log_path(&dead.parse().unwrap()), "").unwrap();
    assert!(host.ok(&["task", "stop", &dead]).contains("died before"));
    assert_eq!(listed(&host, &["--running"]), [""; 0]);
}
