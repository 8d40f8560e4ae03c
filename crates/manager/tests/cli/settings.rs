//! Datastores, remotes, jobs, users, permissions, certificate: what the commands write and show.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::host::Host;

const PRINT: &str = "47:c4:5b:04:f7:db:d8:88:8a:c4:93:79:cb:8e:22:76:5b:ec:c9:f6:06:55:fa:84:71:ac:c9:93:3e:22:0d:d9";

#[test]
fn a_datastore_is_made_listed_changed_and_forgotten() {
    let host = Host::in_memory();
    let path = host.path("store");
    let path = path.to_str().unwrap();

    assert_eq!(host.ok(&["datastore", "create", "store", path, "--comment", "first"]), "");
    assert!(host.path("store/.chunks/ffff").is_dir());
    assert_eq!(host.json(&["datastore", "list"]), json!([{"name": "store", "path": path, "comment": "first"}]));
    let taken = host.run(&["datastore", "create", "store", path]);
    assert_eq!((taken.code, taken.stderr.contains("already")), (1, true), "{taken:?}");

    host.ok(&["datastore", "update", "store", "--tuning", "sync-level=file", "--delete", "comment"]);
    let shown = host.json(&["datastore", "show", "store"]);
    assert_eq!(shown, json!({"name": "store", "path": path, "tuning": "sync-level=file"}));
    let status = host.json(&["datastore", "status"]);
    assert_eq!((&status[0]["groups"], status[0]["total"].is_u64()), (&json!(0), true));

    let inside = format!("{path}/inside");
    let nested = host.run(&["datastore", "create", "nested", &inside]);
    assert!(nested.code != 0 && nested.stderr.contains("lies inside"), "{nested:?}");
    assert!(!std::path::Path::new(&inside).exists(), "nothing is made for what is refused");

    host.ok(&["datastore", "remove", "store"]);
    assert_eq!(host.json(&["datastore", "list"]), json!([]));
    assert_eq!(host.ok(&["datastore", "list"]), "");
    assert!(host.path("store/.chunks").is_dir());

    host.ok(&["datastore", "create", "again", path, "--reuse-datastore"]);
    assert_eq!(host.json(&["datastore", "list"])[0]["name"], "again");
}

#[test]
fn a_remote_keeps_its_password_to_itself() {
    let host = Host::new();
    let create = ["remote", "create", "pbs2", "--host", "backup.example.com", "--auth-id", "sync@pbs!t"];

    let answer = host.run_with(
        &[&create[..], &["--password-file", "-", "--fingerprint", PRINT, "--no-check"]].concat(),
        "s3cret-word\n",
    );
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{answer:?}");

    let expected = json!({"name": "pbs2", "host": "backup.example.com", "auth-id": "sync@pbs!t", "fingerprint": PRINT});
    assert_eq!(host.json(&["remote", "list"]), json!([expected]));
    assert_eq!(host.json(&["remote", "show", "pbs2"]), expected);
    let file = host.paths().remote_cfg();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // base64 of the password without its line end
    assert!(fs::read_to_string(&file).unwrap().contains("\tpassword czNjcmV0LXdvcmQ=\n"));

    host.ok(&["remote", "update", "pbs2", "--port", "8107", "--delete", "fingerprint"]);
    assert_eq!(host.json(&["remote", "show", "pbs2"])["port"], 8107);
    assert!(fs::read_to_string(&file).unwrap().contains("czNjcmV0LXdvcmQ="));
}

#[test]
fn a_remote_that_a_job_names_stays() {
    let host = Host::with_stores(&["store"]);
    let secret = host.file("secret", b"password");
    host.ok(&["remote", "create", "pbs2", "--host", "::1", "--auth-id", "a@pbs", "--password-file", &secret]);
    host.ok(&["sync-job", "create", "job", "--store", "store", "--remote", "pbs2", "--remote-store", "there"]);

    let refused = host.run(&["remote", "remove", "pbs2"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("sync job `job`"), "{refused:?}");

    host.ok(&["sync-job", "remove", "job"]);
    host.ok(&["remote", "remove", "pbs2"]);
    assert_eq!(host.json(&["remote", "list"]), json!([]));
}

#[test]
fn a_job_takes_every_property_and_booleans_with_and_without_value() {
    let host = Host::with_stores(&["store", "other"]);
    host.run(&["encryption-key", "create", "key1"]);
    assert_eq!(host.run_with(&["user", "create", "sync@pbs", "--password-file", "-"], "long enough").code, 0);
    host.ok(&["acl", "update", "/system/encryption-keys/key1", "Admin", "--auth-id", "sync@pbs"]);
    let answer = host.run(&[
        "sync-job",
        "create",
        "job",
        "--store",
        "store",
        "--remote-store",
        "other",
        "--ns",
        "a/b",
        "--remote-ns",
        "c",
        "--owner",
        "sync@pbs",
        "--remove-vanished",
        "--max-depth",
        "2",
        "--group-filter",
        "include:type:vm",
        "--group-filter",
        "exclude:regex:^vm/9",
        "--transfer-last",
        "3",
        "--encrypted-only",
        "no",
        "--verified-only=true",
        "--resync-corrupt",
        "on",
        "--rate-in",
        "20 MiB",
        "--burst-in",
        "40MiB",
        "--rate-out",
        "1MB",
        "--burst-out",
        "2MB",
        "--worker-threads",
        "4",
        "--schedule",
        "daily",
        "--run-on-mount",
        "--unmount-on-done",
        "--associated-key",
        "key1",
        "--comment",
        "all of it",
    ]);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (0, "", ""), "{answer:?}");

    let expected = json!({
        "id": "job", "store": "store", "ns": "a/b", "owner": "sync@pbs", "remote-store": "other", "remote-ns": "c",
        "remove-vanished": true, "max-depth": 2, "group-filter": ["type:vm", "exclude:regex:^vm/9"],
        "transfer-last": 3, "encrypted-only": false, "verified-only": true, "resync-corrupt": true,
        "rate-in": "20 MiB", "burst-in": "40MiB", "rate-out": "1MB", "burst-out": "2MB", "worker-threads": 4,
        "schedule": "daily", "run-on-mount": true, "unmount-on-done": true, "associated-key": ["key1"],
        "comment": "all of it",
    });
    assert_eq!(host.json(&["sync-job", "show", "job"]), expected);
    let table = host.ok(&["sync-job", "list"]);
    assert!(table.contains("| type:vm OR exclude:regex:^vm/9 |"), "{table}");
    assert!(table.is_ascii(), "{table}");

    host.ok(&[
        "sync-job",
        "update",
        "job",
        "--remove-vanished",
        "false",
        "--ns",
        "",
        "--delete",
        "group-filter",
        "--delete",
        "comment",
    ]);
    let shown = host.json(&["sync-job", "show", "job"]);
    assert_eq!(shown["remove-vanished"], false);
    for gone in ["ns", "group-filter", "comment"] {
        assert!(shown.get(gone).is_none(), "{gone}: {shown}");
    }
}

#[test]
fn a_job_that_names_what_is_not_there_is_accepted_with_a_warning() {
    let host = Host::with_stores(&["store"]);

    let answer =
        host.run(&["sync-job", "create", "job", "--store", "store", "--remote", "pbs9", "--remote-store", "there"]);

    assert_eq!(answer.code, 0);
    assert!(answer.stderr.contains("warning: remote `pbs9`"), "{answer:?}");
    assert_eq!(host.json(&["sync-job", "list"])[0]["id"], "job");
}

#[test]
fn lists_of_jobs_show_both_directions_unless_told_otherwise() {
    let host = Host::with_stores(&["store"]);
    let create = |id: &str, direction: &str| {
        host.ok(&[
            "sync-job",
            "create",
            id,
            "--store",
            "store",
            "--remote",
            "pbs",
            "--remote-store",
            "there",
            "--sync-direction",
            direction,
        ]);
    };
    create("out", "push");
    create("into", "pull");
    let ids = |words: &[&str]| -> Vec<String> {
        let list = host.json(&[&["sync-job", "list"], words].concat());
        list.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(ids(&[]), ["into", "out"]);
    assert_eq!(ids(&["--sync-direction", "push"]), ["out"]);
    assert_eq!(ids(&["--sync-direction", "pull"]), ["into"]);
}

#[test]
fn a_stale_digest_changes_nothing() {
    let host = Host::with_stores(&["store", "other"]);
    host.ok(&["sync-job", "create", "job", "--store", "store", "--remote-store", "other"]);

    let answer = host.run(&["sync-job", "update", "job", "--comment", "new", "--digest", &"0".repeat(64)]);

    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("changed by somebody else"), "{answer:?}");
    assert!(host.json(&["sync-job", "show", "job"]).get("comment").is_none());
}

#[test]
fn a_broken_section_is_told_with_its_line_and_the_rest_goes_on() {
    let host = Host::with_stores(&["store", "other"]);
    host.ok(&["sync-job", "create", "good", "--store", "store", "--remote-store", "other"]);
    let file = host.paths().sync_cfg();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\nsync: bad\n\tstore store\n\tremote-store other\n\tmax-depth many\n")).unwrap();

    let answer = host.run(&["sync-job", "list", "--output-format", "json"]);

    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stdout.contains("good"));
    assert!(answer.stderr.contains("sync.cfg:8"), "{answer:?}");
}

#[test]
fn a_token_is_shown_once_as_tokenid_and_value() {
    let host = Host::new();
    let answer =
        host.run_with(&["user", "create", "sync@pbs", "--password-file", "-", "--comment", "robot"], "long enough\n");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{answer:?}");

    let token = host.json(&["user", "generate-token", "sync@pbs", "night"]);

    let keys: Vec<&String> = token.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["tokenid", "value"]);
    assert_eq!(token["tokenid"], "sync@pbs!night");
    assert_eq!(host.json(&["user", "list-tokens", "sync@pbs"]), json!([{"tokenid": "sync@pbs!night"}]));
    let users = host.json(&["user", "list"]);
    let ids: Vec<_> = users.as_array().unwrap().iter().map(|user| user["userid"].as_str().unwrap()).collect();
    assert_eq!(ids, ["root@pam", "sync@pbs"]);
    let etc = host.paths().etc().to_owned();
    for file in fs::read_dir(etc).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(token["value"].as_str().unwrap()) && !text.contains("long enough"));
    }

    assert_eq!(host.run_with(&["user", "passwd", "sync@pbs", "--password-file", "-"], "short\n").code, 2);
    assert_eq!(host.run_with(&["user", "passwd", "sync@pbs", "--password-file", "-"], "another one\n").code, 0);
    host.ok(&["user", "remove", "sync@pbs"]);
    assert_eq!(host.json(&["user", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn roles_are_granted_listed_and_taken_back() {
    let host = Host::new();
    assert_eq!(host.run_with(&["user", "create", "sync@pbs", "--password-file", "-"], "long enough").code, 0);
    host.ok(&["user", "generate-token", "sync@pbs", "night"]);

    host.ok(&["acl", "update", "/datastore/store", "DatastoreReader", "--auth-id", "sync@pbs"]);
    host.ok(&["acl", "update", "/", "Audit", "--auth-id", "sync@pbs!night", "--propagate", "false"]);

    let expected = json!([
        {"ugid": "sync@pbs", "ugid_type": "user", "path": "/datastore/store", "propagate": true, "roleid": "DatastoreReader"},
        {"ugid": "sync@pbs!night", "ugid_type": "user", "path": "/", "propagate": false, "roleid": "Audit"},
    ]);
    assert_eq!(host.json(&["acl", "list"]), expected);
    host.ok(&["acl", "update", "/", "Audit", "--auth-id", "sync@pbs!night", "--delete"]);
    assert_eq!(host.json(&["acl", "list"]).as_array().unwrap().len(), 1);
    let nobody = host.run(&["acl", "update", "/", "Audit", "--auth-id", "nobody@pbs"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
}

#[test]
fn the_certificate_has_a_fingerprint_and_keeps_it() {
    let host = Host::new();

    let first = host.json(&["cert", "info"]);

    assert_eq!(first["fingerprint"].as_str().unwrap().len(), 95);
    assert_eq!(host.json(&["cert", "info"]), first);
    assert!(
        host.ok(&["cert", "info"])
            .contains(&format!("Fingerprint (sha256): {}", first["fingerprint"].as_str().unwrap()))
    );
}

#[test]
fn namespaces_are_made_with_their_parents_listed_and_deleted() {
    let host = Host::with_stores(&["store"]);

    host.ok(&["namespace", "create", "store", "a/b/c"]);

    let list = |words: &[&str]| host.json(&[&["namespace", "list", "store"], words].concat());
    assert_eq!(list(&[]), json!([{"ns": ""}, {"ns": "a"}, {"ns": "a/b"}, {"ns": "a/b/c"}]));
    assert_eq!(list(&["--ns", "a", "--max-depth", "1"]), json!([{"ns": "a"}, {"ns": "a/b"}]));
    host.ok(&["namespace", "delete", "store", "a/b"]);
    assert_eq!(list(&[]), json!([{"ns": ""}, {"ns": "a"}]));
    assert_eq!(host.run(&["namespace", "delete", "store", ""]).code, 1);
}
