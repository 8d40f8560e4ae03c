//! What tells whether backups arrive: `health` and `metrics`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::host::{Host, Server};

/// Seconds since the epoch so many hours ago, as a backup time.
fn hours_ago(hours: i64) -> String {
    (tasks::now() - hours * 3600).to_string()
}

fn host_with_job() -> Host {
    let host = Host::with_stores(&["source", "target"]);
    host.ok(&["sync-job", "create", "job", "--store", "target", "--remote-store", "source", "--objective", "26h"]);
    host
}

#[test]
fn a_job_that_ends_well_and_moves_nothing_is_found_by_the_age_of_its_copies() {
    let host = host_with_job();
    assert_eq!(host.run(&["health"]).code, 0, "a new job has time to make its first copy");

    host.backup("source", "", &hours_ago(30), b"old");
    host.ok(&["sync-job", "run", "job"]);
    host.ok(&["sync-job", "run", "job"]);

    let said = host.run(&["health", "--output-format", "json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let health: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let job = &health["jobs"][0];
    assert_eq!(
        (&job["status"], &job["last-result"], &job["judged-by"]),
        (&json!("critical"), &json!("ok"), &json!("copies"))
    );
    assert_eq!((&job["groups"][0]["group"], &job["groups"][0]["status"]), (&json!("host/test"), &json!("critical")));
    assert!(job["age"].as_u64().unwrap() >= 30 * 3600 && job["objective"] == 26 * 3600);
    let text = host.run(&["health", "--job", "job"]);
    assert!(text.stdout.contains("newest good copy older than the objective 1d 2h: host/test (1d 6h old)"), "{text:?}");

    host.backup("source", "", &hours_ago(1), b"new");
    host.ok(&["sync-job", "run", "job"]);
    assert_eq!(host.json(&["health"])["status"], "ok");
}

#[test]
fn a_plugin_answers_in_one_line_with_its_own_exit_codes() {
    let host = host_with_job();
    host.backup("source", "", &hours_ago(30), b"old");
    host.ok(&["sync-job", "run", "job"]);

    let said = host.run(&["health", "--nagios"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.stdout.starts_with("BACKUP CRITICAL - job: newest good copy older than")
            && said.stdout.lines().count() == 1
    );
    let (_, data) = said.stdout.split_once(" | ").unwrap();
    assert!(data.starts_with("'job'=108") && data.trim_end().ends_with("s;;93600;0"), "{data}");

    host.ok(&["sync-job", "update", "job", "--objective", "3d"]);
    let said = host.run(&["health", "--nagios"]);
    assert!(said.code == 0 && said.stdout.starts_with("BACKUP OK - 1 job |"), "{said:?}");

    fs::write(host.paths().sync_cfg(), "sync: bad\n\tmax-depth 9\n\tremote-store here\n\tstore there\n").unwrap();
    let said = host.run(&["health", "--nagios"]);
    assert!(said.code == 2 && said.stdout.contains("sync.cfg:2: section `sync: bad`"), "{said:?}");
    let said = host.run(&["health", "--nagios", "--job", "none"]);
    assert!(said.code == 3 && said.stdout.starts_with("BACKUP UNKNOWN - there is no sync job 'none'"), "{said:?}");
}

#[test]
fn a_push_is_judged_by_what_the_remote_has_or_offline_by_its_last_good_run() {
    let there = Host::with_stores(&["far"]);
    let secret = there.json(&["user", "generate-token", "root@pam", "sync"]);
    there.ok(&["acl", "update", "/", "Admin", "--auth-id", "root@pam!sync"]);
    let server = Server::start(&there);
    let host = Host::with_stores(&["near"]);
    let (port, token) = (server.port.to_string(), host.file("token", secret["value"].as_str().unwrap().as_bytes()));
    let remote = ["remote", "create", "office", "--host", "127.0.0.1", "--port", &port, "--auth-id", "root@pam!sync"];
    host.ok(&[&remote[..], &["--password-file", &token, "--accept-fingerprint"]].concat());
    host.ok(&[
        "sync-job",
        "create",
        "away",
        "--store",
        "near",
        "--remote",
        "office",
        "--remote-store",
        "far",
        "--sync-direction",
        "push",
        "--objective",
        "26h",
    ]);
    host.backup("near", "", &hours_ago(30), b"old");
    host.ok(&["sync-job", "run", "away"]);

    assert_eq!(host.run(&["health"]).code, 1, "the remote's copy is old");
    let offline = host.json(&["health", "--offline"]);
    assert_eq!((&offline["status"], &offline["jobs"][0]["judged-by"]), (&json!("ok"), &json!("last-good-run")));

    drop(server);
    let said = host.run(&["health"]);
    assert!(said.code == 3 && said.stdout.contains("cannot look at the target"), "{said:?}");
}

/// The rules that `promtool check metrics` knows of this format: families in one piece with help and type, counters that
/// end in `_total` and nothing else that does, base units, no sample twice, labels of one family alike, values that are
/// numbers. Gives the samples.
fn linted(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family: Option<(String, String)> = None;
    let (mut seen, mut helped) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !seen.contains(&name.to_owned()), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(helped.as_deref(), Some(name), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            for unit in ["milliseconds", "minutes", "kilobytes", "_ms"] {
                assert!(!name.contains(unit), "{line}");
            }
            seen.push(name.to_owned());
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert_eq!(family.as_ref().map(|(name, _)| name.as_str()), Some(name), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} comes twice");
        }
    }
    assert!(text.ends_with('\n'));
    samples
}

#[test]
fn metrics_follow_the_rules_of_the_format_and_say_what_health_says() {
    let host = host_with_job();
    host.backup("source", "", &hours_ago(2), b"content");
    host.ok(&["sync-job", "run", "job"]);
    host.ok(&["sync-job", "run", "job"]);

    let samples = linted(&host.ok(&["metrics", "--per-group"]));

    let get = |name: &str| samples[&format!("backup_replicator_{name}")];
    assert_eq!(get("status"), 0.0);
    assert_eq!((get("job_last_result{job=\"job\"}"), get("job_runs_total{job=\"job\"}")), (0.0, 2.0));
    assert_eq!(get("job_snapshots_copied_total{job=\"job\"}"), 1.0);
    assert_eq!(get("job_last_snapshots_copied{job=\"job\"}"), 0.0);
    assert!((7200.0..7300.0).contains(&get("job_copy_age_seconds{job=\"job\"}")));
    assert_eq!(get("job_objective_seconds{job=\"job\"}"), 93600.0);
    assert!(get("group_newest_timestamp_seconds{job=\"job\",ns=\"\",group=\"host/test\"}") > 1e9);
    assert!(get("datastore_size_bytes{store=\"target\"}") > 0.0);
    assert_eq!(
        get("job_info{job=\"job\",direction=\"pull\",store=\"target\",remote=\"\",remote_store=\"source\"}"),
        1.0
    );

    let file = host.path("job.prom");
    fs::write(&file, "old").unwrap();
    assert_eq!(host.ok(&["metrics", "--textfile", file.to_str().unwrap()]), "");
    assert_eq!(linted(&fs::read_to_string(&file).unwrap())["backup_replicator_job_status{job=\"job\"}"], 0.0);
}
