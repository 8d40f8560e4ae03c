//! The life of a run: its log and state, how it is steered from outside, its scripts, and how it is tried again.

use std::{
    fs,
    path::Path,
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};

use config::Paths;
use serde_json::Value;
use tasks::{RunRequest, TaskStore};

use crate::{
    line::Wire,
    site::{Server, Site, noise},
};

/// A source behind a counted line, and a target with the job `nightly` that pulls 24 MiB from it.
struct Scene {
    target: Site,
    wire: Wire,
    _source: Site,
    _server: Server,
}

impl Scene {
    fn new(job: &[&str]) -> Self {
        let (source, target) = (Site::new(), Site::new());
        source.datastore("src");
        source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(21, 24 << 20));
        let secret = source.token("sync", "Admin", "/datastore");
        let server = source.serve();
        let wire = Wire::to(server.address);
        target.datastore("dst");
        target.remote("peer", wire.address(), "sync@pbs!run", &secret, &source.fingerprint());
        let known = ["sync-job", "create", "nightly", "--remote", "peer", "--remote-store", "src", "--store", "dst"];
        target.run(known.iter().chain(job)).well();
        Self { target, wire, _source: source, _server: server }
    }

    fn start(&self) -> Child {
        let mut command = self.target.command(["sync-job", "run", "nightly", "--scheduled"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("backup-manager starts")
    }

    fn job(&self, words: &str) -> Value {
        self.target.words(&format!("job {words}")).well().json()
    }

    fn state(&self) -> Value {
        read_json(&self.target.path("var/lib/backup-manager/jobstates/syncjob-nightly.json"))
    }

    fn more(&self) -> Value {
        read_json(&self.target.path("var/lib/backup-manager/jobstates/syncjob-nightly.more.json"))
    }

    fn tasks(&self) -> TaskStore {
        TaskStore::new(&paths(&self.target))
    }

    /// The lines of the log of a run, without their times.
    fn log(&self, upid: &Value) -> Vec<String> {
        let upid = upid.as_str().expect("a UPID").parse().expect("a UPID");
        let page = self.tasks().log_page(&upid, 0, 0).expect("a log");
        page.lines.into_iter().map(|(_, line)| line[27..].to_owned()).collect()
    }
}

fn paths(site: &Site) -> Paths {
    Paths::under_root(&site.path(""))
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line.contains(wanted)), "no `{wanted}` in {lines:#?}");
}

#[test]
fn a_run_leaves_its_log_the_state_of_its_job_and_a_line_in_the_archive() {
    let scene = Scene::new(&["--schedule", "daily"]);

    let said = scene.target.run(["sync-job", "run", "nightly", "--scheduled"]).well();

    assert_eq!(said.out, "");
    let state = &scene.state()["finished"];
    let lines = scene.log(&state["upid"]);
    assert_eq!(said.err.lines().collect::<Vec<_>>(), lines, "the journal has the lines of the log");
    assert_eq!(lines[0], "Starting datastore sync job 'peer:src:dst::nightly'");
    assert_eq!(lines[1], "task triggered by schedule 'daily'");
    assert_eq!(lines[2], "sync datastore 'dst' from 'peer/src'");
    has(&lines, "[host/a]: 2023-11-14T22:13:20Z/drive.img.fidx: downloaded 24.0");
    has(&lines, "Summary: sync job pulled 24.0");
    assert_eq!(lines[lines.len() - 2..], ["sync job 'nightly' end", "TASK OK"]);
    assert!(state["state"]["OK"]["endtime"].is_i64() && state["updated"].is_null(), "{state}");
    scene.tasks().reap().unwrap();
    let archive = fs::read_to_string(scene.target.path("var/log/backup-manager/tasks/archive")).unwrap();
    let line = archive.lines().find(|line| line.starts_with(state["upid"].as_str().unwrap())).expect("a line");
    assert!(line.ends_with(" OK"), "{line}");
    assert_eq!(scene.more()["failures"], 0);

    // A person's own pull has a log too.
    let report = scene.target.words("pull peer src dst").well().json();
    let lines = scene.log(&report["upid"]);
    has(&lines, "Summary: sync job found no new data to pull");
    assert!(report["upid"].as_str().unwrap().contains(":sync:dst:"), "{report}");
}

#[test]
fn a_run_is_paused_resumed_given_another_rate_and_stopped_by_other_processes() {
    let scene = Scene::new(&["--rate-in", "256KiB"]);
    let child = scene.start();
    let running = |key: &str| scene.job("list").as_array().and_then(|rows| Some(rows.first()?[key].clone()));
    until("the transfer runs", || running("snapshots") == Some(1.into()));
    assert_eq!(running("job"), Some("nightly".into()));
    scene.target.run(["sync-job", "run", "nightly"]).ended(1);
    let second = scene.target.run(["sync-job", "run", "nightly", "--scheduled"]).well();
    assert_eq!(second.out + &second.err, "", "a scheduler does not mind");

    scene.job("pause nightly");
    let status = scene.job("status nightly");
    assert_eq!((&status["state"], &status["rate-in"]), (&"paused".into(), &(256 << 10).into()));
    let before = scene.wire.bytes_down();
    scene.job("set nightly --rate-in unlimited");
    for _ in 0..10 {
        assert_eq!(scene.job("status nightly")["state"], "paused");
    }
    // What the system had on its way still came; a free line would have brought all of it by now.
    assert!(scene.wire.bytes_down() < before + (8 << 20));
    scene.job("set nightly --rate-in 1MiB");
    let refused = scene.target.run(["job", "pause", "nightly"]).ended(1);
    assert!(refused.err.contains("it is paused already"), "{refused:#?}");
    scene.job("resume nightly");
    until("it runs again", || scene.job("status nightly")["state"] == "running");
    scene.job("set nightly --rate-in unlimited");
    assert!(child.wait_with_output().unwrap().status.success());

    let upid = scene.state()["finished"]["upid"].clone();
    let lines = scene.log(&upid);
    for wanted in ["paused by user ", "rate-in set to unlimited for the rest of the run by user ", "resumed by user "] {
        has(&lines, wanted);
    }
    let gone = scene.target.run(["job", "stop", "nightly"]).ended(1);
    assert!(gone.err.contains("job 'nightly' does not run"), "{gone:#?}");
}

#[test]
fn a_stopped_run_ends_as_failed_and_is_left_to_the_next_event() {
    let scene = Scene::new(&["--rate-in", "256KiB"]);
    let child = scene.start();
    until("the transfer runs", || scene.job("list")[0]["snapshots"] == 1);
    let upid = scene.job("list")[0]["upid"].clone();

    scene.job(&format!("stop {}", upid.as_str().unwrap()));

    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    let state = &scene.state()["finished"];
    assert_eq!((&state["upid"], &state["state"]["Error"]["message"]), (&upid, &"stopped on request".into()));
    let lines = scene.log(&upid);
    has(&lines, "stopped by user ");
    assert_eq!(lines.last().unwrap(), "TASK ERROR: stopped on request");
    assert!(scene.more()["retry-at"].is_null());
}

#[test]
fn a_killed_run_is_recorded_as_such_with_its_log_and_the_job_runs_again() {
    let scene = Scene::new(&["--rate-in", "256KiB"]);
    let mut child = scene.start();
    until("the transfer runs", || scene.job("list")[0]["snapshots"] == 1);
    let killed = scene.job("list")[0]["upid"].clone();

    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(scene.job("list"), Value::Array(Vec::new()), "it is no longer among those that run");
    let job = config::sync_jobs::get(&paths(&scene.target), &"nightly".parse().unwrap()).unwrap();
    assert!(jobs::settle_dead(&paths(&scene.target), &job, tasks::now(), 0.5).unwrap());
    let state = &scene.state()["finished"];
    assert_eq!(state["upid"], killed);
    assert!(state["state"]["Unknown"]["endtime"].is_i64(), "{state}");
    assert!(scene.more()["retry-at"].is_i64() && scene.more()["failures"] == 1);
    has(&scene.log(&killed), "start sync");
    scene.tasks().reap().unwrap();
    let archive = fs::read_to_string(scene.target.path("var/log/backup-manager/tasks/archive")).unwrap();
    assert!(archive.lines().any(|l| l.starts_with(killed.as_str().unwrap()) && l.ends_with(" unknown")), "{archive}");

    scene.target.run(["sync-job", "update", "nightly", "--delete", "rate-in"]).well();
    scene.target.run(["sync-job", "run", "nightly", "--scheduled"]).well();
    assert!(scene.state()["finished"]["state"]["OK"].is_object());
    assert_eq!((&scene.more()["failures"], &scene.more()["retry-at"]), (&0.into(), &Value::Null));
}

#[test]
fn a_run_that_was_asked_for_goes_on_under_the_name_it_was_given() {
    let scene = Scene::new(&[]);
    let alice: formats::AuthId = "alice@pbs".parse().unwrap();
    let upid = tasks::new_upid("syncjob", Some("peer:src:dst::nightly".to_owned()), alice.clone());
    let request = RunRequest { upid: upid.clone(), auth_id: alice };
    scene.tasks().request(&"nightly".parse().unwrap(), &request, "waiting for the scheduler").unwrap();

    scene.target.run(["sync-job", "run", "nightly", "--scheduled"]).well();

    let upid: Value = upid.to_string().into();
    assert_eq!(scene.state()["finished"]["upid"], upid);
    let lines = scene.log(&upid);
    assert_eq!(lines[0], "waiting for the scheduler");
    assert_eq!(lines.last().unwrap(), "TASK OK");
    assert_eq!(scene.tasks().requests().unwrap(), Vec::new());
}

#[test]
fn what_may_work_later_is_tried_again_and_a_refused_login_is_not() {
    let scene = Scene::new(&["--retry-interval", "100s"]);
    let again = |said: Output| {
        assert_eq!(said.status.code(), Some(1));
        (scene.more()["failures"].clone(), scene.more()["retry-at"].as_i64())
    };
    let run = || scene.start().wait_with_output().unwrap();
    fs::write(scene.target.path("wrong"), "not the secret").unwrap();
    let wrong = scene.target.path("wrong");
    scene.target.run(["remote", "update", "peer", "--password-file", wrong.to_str().unwrap()]).well();
    assert_eq!(again(run()), (1.into(), None));

    // A port of ours that nobody listens on any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.target.run(["remote", "update", "peer", "--port", &free.port().to_string()]).well();
    let now = tasks::now();
    let (failures, retry_at) = again(run());
    assert_eq!(failures, 2);
    assert!((now + 70..now + 200).contains(&retry_at.expect("a time")), "{retry_at:?} at {now}");
}

#[test]
fn a_job_whose_condition_does_not_hold_waits_and_that_is_no_failure() {
    let scene = Scene::new(&["--run-when", "command:exit 3", "--failure-script", "false"]);

    let said = scene.target.run(["sync-job", "run", "nightly", "--scheduled"]).well();

    assert!(said.out.contains("command:exit 3 (exit status: 3)"), "{said:#?}");
    assert!(scene.state()["created"].is_object(), "it has not run");
    assert_eq!(scene.target.words("sync-job run nightly").well().json()["result"], "waiting");
    scene.target.run(["sync-job", "run", "nightly", "--ignore-conditions"]).well();
    assert!(scene.state()["finished"]["state"]["OK"].is_object());
}

#[test]
fn scripts_run_around_a_run_with_its_facts_and_their_output_is_in_the_log() {
    let scene = Scene::new(&["--post-script", "echo post $BACKUP_SYNC_ID $BACKUP_SYNC_RESULT $BACKUP_SYNC_SNAPSHOTS"]);
    let seen = scene.target.path("seen");
    let all = format!("env > {}; echo about to start", seen.display());
    scene.target.run(["sync-job", "update", "nightly", "--pre-script", &all, "--failure-script", "echo failed"]).well();

    scene.target.run(["sync-job", "run", "nightly"]).well();

    let lines = scene.log(&scene.state()["finished"]["upid"]);
    has(&lines, "pre-script: about to start");
    has(&lines, "post-script: post nightly ok 1");
    assert!(!lines.iter().any(|line| line.contains("failed")), "{lines:#?}");
    let seen = fs::read_to_string(seen).unwrap();
    for (name, meaning) in jobs::HOOK_VARIABLES {
        assert!(seen.lines().any(|line| line.starts_with(&format!("{name}="))), "no {name} ({meaning})");
    }
    assert!(seen.contains(&format!("CLOUD_SYNC_PATH={}", scene.target.path("dst").display())), "{seen}");
    assert!(!seen.contains("CARGO"), "{seen}");
}

#[test]
fn a_pre_script_that_fails_stops_the_run_and_a_post_script_that_fails_is_a_warning() {
    let scene = Scene::new(&["--pre-script", "echo no disk >&2; exit 4"]);
    let failure = "echo went wrong: $BACKUP_SYNC_RESULT: $BACKUP_SYNC_ERROR";
    scene.target.run(["sync-job", "update", "nightly", "--failure-script", failure]).well();

    scene.target.run(["sync-job", "run", "nightly"]).ended(1);

    assert!(scene.target.snapshots("dst", "").is_empty());
    let state = scene.state()["finished"].clone();
    assert_eq!(state["state"]["Error"]["message"], "pre-script: exit status: 4");
    let lines = scene.log(&state["upid"]);
    has(&lines, "pre-script: no disk");
    has(&lines, "failure-script: went wrong: error: pre-script: exit status: 4");

    scene.target.run(["sync-job", "update", "nightly", "--delete", "pre-script", "--post-script", "exit 5"]).well();
    scene.target.run(["sync-job", "run", "nightly"]).ended(3);
    assert_eq!(scene.target.snapshots("dst", ""), ["host/a/1700000000"]);
    assert_eq!(scene.state()["finished"]["state"]["Warning"]["count"], 1);
}

#[test]
fn stopping_a_run_ends_its_script() {
    let scene = Scene::new(&["--pre-script", "echo $$ started; exec sleep 600"]);
    let child = scene.start();
    let log = || {
        let upid = scene.job("list")[0]["upid"].clone();
        if upid.is_null() { Vec::new() } else { scene.log(&upid) }
    };
    until("the script runs", || log().iter().any(|line| line.ends_with(" started")));
    let pid = log().iter().find_map(|l| l.strip_prefix("pre-script: ")?.strip_suffix(" started").map(str::to_owned));

    scene.job("stop nightly");

    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(scene.state()["finished"]["state"]["Error"]["message"], "stopped on request");
    let stat = format!("/proc/{}/stat", pid.expect("a process id"));
    until("the script ends", || !fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")));
}
