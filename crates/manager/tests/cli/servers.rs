//! Pull and push between two hosts, with a real `backup-server`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::host::{Answer, Host, Server, noise};

const MIB: usize = 1 << 20;

/// A host with a server and a user `sync@pbs` whose token may do what `role` says.
pub(crate) struct Site {
    pub(crate) host: Host,
    server: Server,
    token: String,
    fingerprint: String,
}

impl Site {
    pub(crate) fn new(store: &str, role: &str) -> Self {
        let host = Host::with_stores(&[store]);
        let server = Server::start(&host);
        assert_eq!(host.run_with(&["user", "create", "sync@pbs", "--password-file", "-"], "a long password").code, 0);
        let token = host.json(&["user", "generate-token", "sync@pbs", "t"])["value"].as_str().unwrap().to_owned();
        for auth_id in ["sync@pbs", "sync@pbs!t"] {
            host.ok(&["acl", "update", &format!("/datastore/{store}"), role, "--auth-id", auth_id]);
        }
        let fingerprint = host.json(&["cert", "info"])["fingerprint"].as_str().unwrap().to_owned();
        Self { host, server, token, fingerprint }
    }

    /// Makes this site known to `host` as remote `there`.
    fn known_to(&self, host: &Host) {
        self.known_as(host, "sync@pbs!t", &self.token, &self.fingerprint, self.server.port);
    }

    /// Makes this site known to `host` under another name.
    pub(crate) fn named(&self, host: &Host, name: &str) {
        self.known_to(host);
        let path = host.paths().remote_cfg();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("remote: there", &format!("remote: {name}"))).unwrap();
    }

    fn known_as(&self, host: &Host, auth_id: &str, secret: &str, fingerprint: &str, port: u16) {
        let port = port.to_string();
        let words = [
            "remote",
            "create",
            "there",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--auth-id",
            auth_id,
            "--password-file",
            "-",
            "--fingerprint",
            fingerprint,
        ];
        let answer = host.run_with(&words, secret);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{answer:?}");
    }
}

fn report(answer: &Answer) -> Value {
    serde_json::from_str(answer.stdout.trim_end()).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn a_pull_brings_everything_and_the_second_one_nothing() {
    let site = Site::new("source", "DatastoreReader");
    site.host.backup("source", "a", "2026-01-01T00:00:00Z", &noise(9 * MIB, 1));
    let home = Host::with_stores(&["home"]);
    site.known_to(&home);

    let first = home.json(&["pull", "there", "source", "home", "--remove-vanished"]);
    let second = home.json(&["pull", "there", "source", "home"]);

    assert_eq!((&first["snapshots-copied"], &first["chunks-transferred"]), (&json!(1), &json!(3)), "{first}");
    assert!(first["bytes-on-wire-in"].as_u64().unwrap() > 9 * MIB as u64, "{first}");
    assert!(first["upid"].as_str().unwrap().contains(":sync:home:root@pam:"), "{first}");
    assert_eq!((&second["snapshots-copied"], &second["chunks-transferred"]), (&json!(0), &json!(0)), "{second}");
    assert_eq!(home.run(&["snapshot", "verify", "home"]).code, 0);
    assert_eq!(home.snapshots("home", "a"), ["host/test/2026-01-01T00:00:00Z"]);
}

#[test]
fn a_push_brings_everything_and_the_second_one_nothing() {
    let site = Site::new("vault", "DatastoreAdmin");
    let home = Host::with_stores(&["home"]);
    home.backup("home", "a/b", "2026-01-01T00:00:00Z", &noise(9 * MIB, 2));
    site.known_to(&home);
    home.ok(&[
        "sync-job",
        "create",
        "out",
        "--store",
        "home",
        "--remote",
        "there",
        "--remote-store",
        "vault",
        "--sync-direction",
        "push",
    ]);

    let first = home.json(&["sync-job", "run", "out"]);
    let second = home.json(&["push", "home", "there", "vault"]);

    assert_eq!((&first["snapshots-copied"], &first["chunks-transferred"]), (&json!(1), &json!(3)), "{first}");
    assert!(first["bytes-on-wire-out"].as_u64().unwrap() > 9 * MIB as u64, "{first}");
    assert_eq!((&second["snapshots-copied"], &second["chunks-transferred"]), (&json!(0), &json!(0)), "{second}");
    assert_eq!(site.host.run(&["snapshot", "verify", "vault"]).code, 0);
    let list = site.host.json(&["snapshot", "list", "vault", "--ns", "a/b"]);
    assert_eq!(list[0]["owner"], "sync@pbs!t");
}

#[test]
fn a_backup_goes_straight_to_a_remote_and_comes_back_from_there() {
    let site = Site::new("vault", "DatastoreAdmin");
    let home = Host::new();
    site.known_to(&home);
    let content = noise(9 * MIB, 3);
    let image = format!("disk.img:{}", home.file("disk.img", &content));
    let place = ["--remote", "there", "--remote-store", "vault", "--ns", "a"];
    let create = |time: &str| {
        let words = ["backup", "create", &image, "--backup-id", "test", "--backup-time", time];
        home.json(&[&words[..], &place].concat())
    };

    let first = create("2026-01-01T00:00:00Z");
    let second = create("2026-01-02T00:00:00Z");

    assert_eq!(first["chunks-transferred"], 3);
    assert_eq!((&second["chunks-transferred"], &second["chunks-reused"]), (&json!(0), &json!(3)), "{second}");
    let target = home.path("restored");
    let words = ["restore", "host/test/2026-01-02T00:00:00Z", "disk.img", target.to_str().unwrap()];
    home.ok(&[&words[..], &place].concat());
    assert_eq!(std::fs::read(&target).unwrap(), content);
    let scanned = home.json(&["remote", "scan", "there", "vault"]);
    assert_eq!((&scanned[0]["ns"], &scanned[0]["backup-count"]), (&json!("a"), &json!(2)), "{scanned}");
    assert_eq!(home.json(&["remote", "scan", "there"])[0]["store"], "vault");
}

#[test]
fn each_way_a_remote_can_refuse_has_its_own_words() {
    let site = Site::new("source", "DatastoreReader");
    site.host.backup("source", "", "2026-01-01T00:00:00Z", &noise(10, 4));
    let free_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other_print = ["00"; 32].join(":");
    let stranger = Host::with_stores(&["home"]);
    assert_eq!(
        site.host.run_with(&["user", "create", "other@pbs", "--password-file", "-"], "no rights at all").code,
        0
    );
    let (token, print, port) = (site.token.as_str(), site.fingerprint.as_str(), site.server.port);
    for (auth_id, secret, print, port, store, words) in [
        ("sync@pbs!t", "wrong", print, port, "source", "authentication"),
        ("sync@pbs", "wrong password", print, port, "source", "authentication"),
        ("sync@pbs!t", token, &other_print, port, "source", "fingerprint"),
        ("sync@pbs!t", token, print, free_port, "source", "refused"),
        ("sync@pbs!t", token, print, port, "nowhere", "nowhere"),
        ("other@pbs", "no rights at all", print, port, "source", "permission"),
    ] {
        site.known_as(&stranger, auth_id, secret, print, port);

        let answer = stranger.run(&["pull", "there", store, "home", "--output-format", "json"]);

        assert_eq!(answer.code, 1, "{words}: {answer:?}");
        let report = report(&answer);
        assert_eq!(report["result"], "error");
        assert!(report["errors"][0]["message"].as_str().unwrap().contains(words), "{words}: {report}");
        stranger.ok(&["remote", "remove", "there"]);
    }
}

#[test]
fn a_missing_namespace_at_the_remote_is_an_error() {
    let site = Site::new("source", "DatastoreReader");
    let home = Host::with_stores(&["home"]);
    site.known_to(&home);

    let answer = home.run(&["pull", "there", "source", "home", "--remote-ns", "no/where", "--output-format", "json"]);

    assert_eq!(answer.code, 1);
    assert!(report(&answer)["errors"][0]["message"].as_str().unwrap().contains("no/where"), "{answer:?}");
}

#[test]
fn a_rate_holds_the_transfer_and_a_signal_ends_it_with_a_report() {
    let site = Site::new("source", "DatastoreReader");
    site.host.backup("source", "", "2026-01-01T00:00:00Z", &noise(64 * MIB, 5));
    let home = Host::with_stores(&["home"]);
    site.known_to(&home);
    // At this rate the pull would take most of an hour, so that it is surely under way when the signal comes.
    let words = ["pull", "there", "source", "home", "--rate-in", "20 KiB", "--output-format", "json"];
    let mut child = home.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_line(&mut child, "to look at");

    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let answer: Answer = child.wait_with_output().unwrap().into();

    assert_eq!(answer.code, 1, "{answer:?}");
    let report = report(&answer);
    assert_eq!((&report["result"], &report["snapshots-copied"]), (&json!("error"), &json!(0)), "{report}");
    assert_eq!(home.snapshots("home", ""), [""; 0]);
}

fn wait_for_line(child: &mut std::process::Child, start: &str) {
    use std::io::Read;
    let stderr = child.stderr.as_mut().unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while stderr.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
        if byte == *b"\n" && String::from_utf8_lossy(&seen).lines().any(|line| line.starts_with(start)) {
            return;
        }
    }
    panic!("{}", String::from_utf8_lossy(&seen));
}
