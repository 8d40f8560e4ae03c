//! `scheduler tick` and `scheduler status`, with a `systemctl` that only writes down what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jobs::{JobState, JobStates};
use serde_json::{Value, json};

use crate::host::{Answer, Host};

/// A host with these jobs between two stores, all made long ago, so that whatever has an event is due.
fn host_with(jobs: &[(&str, &[&str])]) -> Host {
    let host = Host::with_stores(&["here", "there"]);
    for (id, options) in jobs {
        host.ok(&[&["sync-job", "create", id, "--store", "here", "--remote-store", "there"], *options].concat());
        JobStates::new(&host.paths()).save(&id.parse().unwrap(), &JobState::Created { time: 1 }).unwrap();
    }
    host
}

/// A tick with a `systemctl` of the test's own, which runs `script`.
fn tick(host: &Host, script: &str, options: &[&str]) -> Answer {
    let bin = host.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("systemctl"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let words = [&["scheduler", "tick", "--start-with", "systemctl"], options].concat();
    host.command(&words).env("PATH", format!("{}:/usr/bin:/bin", bin.display())).output().unwrap().into()
}

#[test]
fn a_tick_has_the_unit_of_each_due_job_started_once() {
    let host = host_with(&[
        ("nightly", &["--schedule", "daily"]),
        ("off-site_2.b", &["--schedule", "every 1h"]),
        ("byhand", &[]),
        ("disabled", &["--schedule", "daily", "--disable"]),
        ("follower", &["--after", "nightly"]),
    ]);
    let record = "echo \"$@\" >> \"$(dirname \"$0\")/calls\"";

    let answer = tick(&host, record, &[]);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{answer:?}");
    assert_eq!(answer.stdout, "off-site_2.b: started by its schedule\nnightly: started by its schedule\n");
    assert_eq!(tick(&host, record, &[]).stdout, "", "what is about to start is not started again");

    let calls = fs::read_to_string(host.path("bin/calls")).unwrap();
    assert_eq!(
        calls,
        "start --no-block backup-manager-job@off-site_2.b.service\nstart --no-block backup-manager-job@nightly.service\n"
    );
}

#[test]
fn a_unit_that_cannot_be_started_is_told() {
    let host = host_with(&[("nightly", &["--schedule", "daily"])]);

    let answer = tick(&host, "echo no such unit >&2; exit 5", &["--output-format", "json"]);

    let said: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((answer.code, &said["started"]), (3, &json!([])), "{answer:?}");
    assert!(
        answer.stderr.contains("job nightly cannot be started") && answer.stderr.contains("no such unit"),
        "{answer:?}"
    );
}

#[test]
fn the_status_says_of_every_job_when_it_runs_and_why_it_does_not() {
    let host = host_with(&[
        ("nightly", &["--schedule", "02:30"]),
        ("byhand", &[]),
        ("waiting", &["--schedule", "02:30", "--run-when", "command:exit 9"]),
    ]);
    host.ok(&["sync-job", "create", "fresh", "--store", "here", "--remote-store", "there", "--schedule", "2199-12-31"]);
    let sync_cfg = host.paths().sync_cfg();
    let broken = "sync: broken\n\tstore here\n\tremote-store there\n\tschedule moonrise\n\n";
    fs::write(&sync_cfg, [broken.as_bytes(), &fs::read(&sync_cfg).unwrap()].concat()).unwrap();

    let answer = host.run(&["scheduler", "status", "--output-format", "json"]);

    assert_eq!(answer.code, 3, "a broken section, and nothing ticks: {answer:?}");
    let said: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&said["time-zone"], &said["last-tick"], &said["max-jobs"]), (&json!("UTC"), &Value::Null, &json!(4)));
    let status = |id: &str| {
        let row = said["jobs"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
        (row["status"].as_str().unwrap().to_owned(), row["next-run-local"].clone())
    };
    assert_eq!(status("nightly").0, "due, starts with the next tick by its schedule");
    assert_eq!(status("byhand"), ("no schedule, starts by hand".into(), Value::Null));
    assert!(status("waiting").0.contains("waiting for command:exit 9 (exit status: 9)"), "{said}");
    assert_eq!(status("fresh"), ("not due".into(), json!("2199-12-31 00:00:00 UTC")));
    assert!(status("broken").0.contains("sync.cfg:4: ") && status("broken").0.contains("schedule"), "{said}");
    let problems = said["problems"].to_string();
    assert!(problems.contains("job broken") && problems.contains("the scheduler does not run (never)"), "{problems}");

    let text = host.run(&["scheduler", "status"]);
    assert!(text.stdout.contains("2199-12-31 00:00:00 UTC") && text.stderr.contains("does not run"), "{text:?}");
}

#[test]
fn a_job_that_was_made_again_does_not_inherit_its_last_run() {
    let host = host_with(&[("nightly", &["--schedule", "daily"])]);
    host.ok(&["sync-job", "remove", "nightly"]);
    host.ok(&["sync-job", "create", "nightly", "--store", "here", "--remote-store", "there", "--schedule", "daily"]);

    assert_eq!(tick(&host, "exit 1", &[]).stdout, "");
}
