//! Sync jobs between two datastores of one host.

use serde_json::{Value, json};

use crate::host::{Host, noise};

const MIB: usize = 1 << 20;
const KEYS: [&str; 15] = [
    "result",
    "upid",
    "snapshots-copied",
    "snapshots-refreshed",
    "snapshots-skipped",
    "snapshots-removed",
    "snapshots-moved",
    "chunks-transferred",
    "chunks-reused",
    "bytes-transferred",
    "bytes-on-wire-in",
    "bytes-on-wire-out",
    "elapsed-seconds",
    "errors",
    "warnings",
];

/// Two snapshots in namespace `a` of datastore `near`, and a job that copies everything into `copy`.
fn host_with_job(options: &[&str]) -> Host {
    let host = Host::with_stores(&["near", "copy"]);
    host.backup("near", "a", "2026-01-01T00:00:00Z", &noise(8 * MIB, 1));
    host.backup("near", "a", "2026-01-02T00:00:00Z", &[noise(8 * MIB, 1), noise(MIB, 2)].concat());
    host.ok(&[&["sync-job", "create", "copy", "--store", "copy", "--remote-store", "near"], options].concat());
    host
}

fn report(stdout: &str) -> Value {
    serde_json::from_str(stdout.trim_end()).unwrap()
}

#[test]
fn a_job_copies_everything_and_a_second_run_moves_nothing_and_says_so() {
    let host = host_with_job(&[]);

    let first = host.json(&["sync-job", "run", "copy"]);

    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, KEYS);
    assert_eq!(first["result"], "ok");
    assert_eq!((&first["snapshots-copied"], &first["chunks-transferred"]), (&json!(2), &json!(3)), "{first}");
    assert_eq!((&first["bytes-on-wire-in"], &first["errors"]), (&json!(0), &json!([])));
    assert!(
        first["upid"].as_str().unwrap().ends_with(r"syncjob:\x2d\x3anear\x3acopy\x3a\x3acopy:root@pam:"),
        "{first}"
    );
    assert_eq!(host.snapshots("copy", "a"), host.snapshots("near", "a"));
    assert_eq!(host.run(&["snapshot", "verify", "copy"]).code, 0);

    let second = host.json(&["sync-job", "run", "copy"]);
    assert_eq!((&second["snapshots-copied"], &second["chunks-transferred"]), (&json!(0), &json!(0)), "{second}");
    assert!(host.ok(&["sync-job", "run", "copy"]).contains("nothing to do"));
}

#[test]
fn without_a_terminal_there_is_one_line_for_each_group_and_snapshot() {
    let host = host_with_job(&[]);

    let answer = host.run(&["sync-job", "run", "copy"]);

    for line in [
        "namespace a: 1 of 1 group matched",
        "a: host/test/2026-01-01T00:00:00Z: copied",
        "a: host/test/2026-01-02T00:00:00Z: copied",
        "a: host/test: group done",
    ] {
        assert!(answer.stderr.lines().any(|found| found == line), "{line}: {answer:?}");
    }
    assert!(answer.stdout.starts_with("result:    all done\nsnapshots: 2 copied"), "{answer:?}");
}

#[test]
fn a_filter_that_matches_nothing_is_said_aloud() {
    let host = host_with_job(&["--group-filter", "type:vm"]);

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stderr.contains("0 of 1 group"), "{answer:?}");
    assert!(answer.stdout.contains("done with warnings"), "{answer:?}");
}

#[test]
fn what_vanished_at_the_source_is_removed_when_the_job_says_so() {
    let host = host_with_job(&["--remove-vanished"]);
    host.ok(&["sync-job", "run", "copy"]);
    host.ok(&["snapshot", "forget", "near", "host/test/2026-01-01T00:00:00Z", "--ns", "a"]);

    let report = host.json(&["sync-job", "run", "copy"]);

    assert_eq!(report["snapshots-removed"], 1);
    assert_eq!(host.snapshots("copy", "a"), ["host/test/2026-01-02T00:00:00Z"]);
}

#[test]
fn a_run_that_cannot_start_ends_with_1_and_still_with_a_report() {
    let host = Host::with_stores(&["copy"]);
    host.run(&["sync-job", "create", "copy", "--store", "copy", "--remote-store", "near"]);

    let answer = host.run(&["sync-job", "run", "copy", "--output-format", "json"]);

    assert_eq!(answer.code, 1);
    let report = report(&answer.stdout);
    assert_eq!(report["result"], "error");
    assert_eq!(
        report["errors"],
        json!([{"where": "near", "message": "there is no datastore 'near'", "hint": "there is: copy"}])
    );
}

#[test]
fn a_missing_namespace_ends_with_1() {
    let host = host_with_job(&["--remote-ns", "nowhere"]);

    let answer = host.run(&["sync-job", "run", "copy", "--output-format", "json"]);

    assert_eq!(answer.code, 1);
    assert!(report(&answer.stdout)["errors"][0]["message"].as_str().unwrap().contains("nowhere"), "{answer:?}");
}

#[test]
fn a_job_does_not_run_twice_at_once() {
    let host = host_with_job(&[]);
    let locks = host.paths().run().join("locks");
    let _running = jobs::JobLock::acquire(&locks, "syncjob", "copy").unwrap();

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("already running"), "{answer:?}");
}

#[test]
fn a_datastore_in_maintenance_is_left_alone() {
    let host = host_with_job(&[]);
    host.ok(&["datastore", "update", "copy", "--maintenance-mode", "read-only"]);

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 1);
    assert!(answer.stdout.contains("maintenance"), "{answer:?}");
    assert_eq!(host.snapshots("copy", ""), [""; 0]);
}
