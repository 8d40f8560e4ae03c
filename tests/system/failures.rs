//! Each thing that can go wrong has its own clear message, and exit code 1.

use std::net::{SocketAddr, TcpListener};

use crate::site::{Said, Site, Strangers, noise};

impl Strangers {
    fn remote(&self, name: &str, address: SocketAddr, secret: &str, fingerprint: &str) {
        self.target.try_remote(name, address, "sync@pbs!run", secret, fingerprint).well();
    }

    fn good_remote(&self) {
        self.remote("peer", self.server.address, &self.secret, &self.source.fingerprint());
    }
}

/// Asserts that a run failed with a message that holds all `words`, and that nothing became visible.
#[track_caller]
fn refused(scene: &Strangers, said: Said, words: &[&str]) {
    let said = said.ended(1);
    let all = format!("{}\n{}", said.out, said.err).to_lowercase();
    for word in words {
        assert!(all.contains(&word.to_lowercase()), "`{word}` is not in {said:#?}");
    }
    assert_eq!(scene.target.snapshots("dst", ""), [""; 0]);
}

#[test]
fn wrong_secret() {
    let scene = Strangers::new();
    scene.remote("peer", scene.server.address, "not-the-secret", &scene.source.fingerprint());

    refused(&scene, scene.target.words("pull peer src dst"), &["authentication", "sync@pbs!run"]);
}

#[test]
fn wrong_fingerprint() {
    let scene = Strangers::new();
    let wrong = ["00"; 32].join(":");
    scene.remote("peer", scene.server.address, &scene.secret, &wrong);

    // Both fingerprints are shown, so that a person can compare.
    let found = scene.source.fingerprint();
    refused(&scene, scene.target.words("pull peer src dst"), &["fingerprint", &found, &wrong]);
}

#[test]
fn refused_connection() {
    let scene = Strangers::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.remote("peer", free, &scene.secret, &scene.source.fingerprint());

    refused(&scene, scene.target.words("pull peer src dst"), &["refused", &free.to_string()]);
}

#[test]
fn unknown_host() {
    let scene = Strangers::new();
    let secret = scene.target.path("secret");
    std::fs::write(&secret, &scene.secret).unwrap();
    let whom = ["remote", "create", "peer", "--host", "no-such-host.invalid", "--auth-id", "sync@pbs!run"];
    scene.target.run(whom.into_iter().chain(["--password-file", secret.to_str().unwrap()])).well();

    refused(&scene, scene.target.words("pull peer src dst"), &["no-such-host.invalid"]);
}

#[test]
fn unknown_datastore_at_the_remote() {
    let scene = Strangers::new();
    // Whoever may see every datastore is told that there is none of that name.
    scene.source.run(["acl", "update", "/datastore", "DatastoreReader", "--auth-id", "sync@pbs"]).well();
    scene.source.run(["acl", "update", "/datastore", "DatastoreReader", "--auth-id", "sync@pbs!run"]).well();
    scene.good_remote();

    refused(&scene, scene.target.words("pull peer no-such-store dst"), &["no-such-store"]);
}

#[test]
fn unknown_local_datastore() {
    let scene = Strangers::new();
    scene.good_remote();

    refused(&scene, scene.target.words("pull peer src no-such-store"), &["no-such-store", "dst"]);
}

#[test]
fn missing_namespace() {
    let scene = Strangers::new();
    scene.good_remote();

    refused(&scene, scene.target.words("pull peer src dst --remote-ns nowhere"), &["nowhere"]);
}

#[test]
fn missing_privilege() {
    let scene = Strangers::new();
    scene.source.datastore("other");
    scene.good_remote();

    refused(&scene, scene.target.words("pull peer other dst"), &["permission", "DatastoreReader"]);
}

#[test]
fn a_push_without_the_right_to_write_says_which_role_is_missing() {
    let scene = Strangers::new();
    scene.good_remote();
    scene.target.datastore("own");
    scene.target.back_up("own", "host/b", 1_700_000_000, "drive", &noise(2, 5 << 20));

    refused(&scene, scene.target.words("push own peer src"), &["permission", "DatastoreBackup"]);
}

#[test]
fn a_filter_that_matches_nothing_is_said_aloud() {
    let scene = Strangers::new();
    scene.good_remote();

    let said = scene.target.run(["pull", "peer", "src", "dst", "--group-filter", "group:vm/999"]);

    assert!(matches!(said.code, Some(0 | 3)), "{said:#?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("0 of 1 groups matched"), "{said:#?}");
}

#[test]
fn an_emptied_source_removes_nothing() {
    let scene = Strangers::new();
    scene.good_remote();
    scene.target.words("pull peer src dst").well();
    scene.source.run(["snapshot", "forget", "src", "host/a/2023-11-14T22:13:20Z"]).well();

    let said = scene.target.words("pull peer src dst --remove-vanished");

    assert_eq!(scene.target.snapshots("dst", ""), ["host/a/1700000000"], "{said:#?}");
    assert_ne!(said.code, Some(0), "an empty source is worth a warning: {said:#?}");
}

#[test]
fn usage_errors_have_an_exit_code_of_their_own() {
    let site = Site::new();
    site.run(["sync-job", "create"]).ended(2);
    site.run(["no-such-command"]).ended(2);
    site.run(["pull", "--no-such-option"]).ended(2);
}

#[test]
fn the_server_ends_cleanly_when_asked() {
    let scene = Strangers::new();
    assert_eq!(scene.server.terminate(), Some(0));
}
