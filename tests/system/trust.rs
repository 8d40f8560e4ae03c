//! Meeting a server: whose certificate is trusted, what a check of the way there says, and proxies on it.

use std::{
    fs,
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    line::Wire,
    site::{Said, Site, Strangers, noise},
};

impl Strangers {
    /// `remote create peer` for the server at `address`, with more words.
    fn words(&self, address: SocketAddr, more: &[&str]) -> Vec<String> {
        let file = self.target.path("secret");
        fs::write(&file, &self.secret).unwrap();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let file = file.to_str().unwrap();
        let whom = ["remote", "create", "peer", "--host", &host, "--port", &port, "--auth-id", "sync@pbs!run"];
        [&whom[..], &["--password-file", file], more].concat().into_iter().map(str::to_owned).collect()
    }

    fn create(&self, more: &[&str]) -> Said {
        self.target.run(self.words(self.server.address, more))
    }

    fn pinned(&self) -> Value {
        self.target.words("remote show peer").well().json()["fingerprint"].clone()
    }

    fn remotes(&self) -> usize {
        self.target.words("remote list").well().json().as_array().unwrap().len()
    }

    /// Runs `remote create` at a terminal where somebody types `answer`; returns the exit code and what was shown.
    fn create_at_terminal(&self, answer: &str) -> (Option<i32>, String) {
        let pty = nix::pty::openpty(None, None).unwrap();
        let near = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut child = self
            .target
            .command(self.words(self.server.address, &[]))
            .stdin(near(&pty.slave))
            .stderr(near(&pty.slave))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let mut terminal = File::from(pty.master);
        terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
        let mut shown = Vec::new();
        // A terminal whose last program has gone answers with an error.
        drop(terminal.read_to_end(&mut shown));
        (child.wait().unwrap().code(), String::from_utf8_lossy(&shown).into_owned())
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn an_accepted_certificate_is_pinned_and_enough_for_a_pull() {
    let scene = Strangers::new();

    let said = scene.create(&["--accept-fingerprint"]).well();

    assert_eq!(scene.pinned(), scene.source.fingerprint());
    assert!(said.err.contains("Subject:") && said.err.contains(&scene.source.fingerprint()), "{said:#?}");
    assert_eq!(said.out, "");
    scene.target.words("pull peer src dst").well();
}

#[test]
fn somebody_at_a_terminal_sees_the_certificate_and_decides() {
    let scene = Strangers::new();

    let (refused, shown) = scene.create_at_terminal("n");
    assert_eq!((refused, scene.remotes()), (Some(1), 0), "{shown}");
    assert!(shown.contains(&scene.source.fingerprint()) && shown.contains("Valid:"), "{shown}");

    let (accepted, shown) = scene.create_at_terminal("y");
    assert_eq!(accepted, Some(0), "{shown}");
    assert_eq!(scene.pinned(), scene.source.fingerprint());
}

#[test]
fn a_script_that_pins_nothing_gets_a_remote_and_a_warning_with_the_fingerprint() {
    let scene = Strangers::new();

    let said = scene.create(&[]).well();

    assert!(said.err.contains("warning") && said.err.contains(&scene.source.fingerprint()), "{said:#?}");
    assert_eq!(scene.pinned(), Value::Null, "nothing is trusted that nobody accepted");
    scene.target.words("pull peer src dst").ended(1);
}

#[test]
fn a_script_may_create_a_remote_before_its_server_runs_or_with_what_is_wrong() {
    let scene = Strangers::new();
    let print = scene.source.fingerprint();
    let wrong = ["00"; 32].join(":");
    for (address, print, words) in
        [(free_address(), print.as_str(), "refused"), (scene.server.address, wrong.as_str(), print.as_str())]
    {
        let said = scene.target.run(scene.words(address, &["--fingerprint", print])).well();
        assert!(said.err.contains("warning") && said.err.contains(words), "{said:#?}");
        scene.target.run(["remote", "remove", "peer"]).well();
    }
    let said = scene.target.try_remote("peer", scene.server.address, "sync@pbs!run", "not-it", &print).well();
    assert!(said.err.contains("authentication") && said.err.contains("remote check peer"), "{said:#?}");
}

#[test]
fn nothing_can_be_accepted_from_a_server_that_is_not_there() {
    let scene = Strangers::new();

    let said = scene.target.run(scene.words(free_address(), &["--accept-fingerprint"])).ended(1);

    assert!(said.err.contains("refused") && said.err.contains("--no-check"), "{said:#?}");
    assert_eq!(scene.remotes(), 0);
}

#[test]
fn no_check_does_not_connect() {
    let scene = Strangers::new();
    let wire = Wire::to(scene.server.address);

    let said = scene.target.run(scene.words(wire.address(), &["--no-check"])).well();

    assert_eq!((said.err.as_str(), wire.bytes_up(), wire.bytes_down()), ("", 0, 0));
    for contradiction in
        [["--accept-fingerprint", "--no-check"].as_slice(), &["--accept-fingerprint", "--fingerprint", "00"]]
    {
        scene.create(contradiction).ended(2);
    }
}

#[test]
fn a_certificate_may_be_renewed_as_planned() {
    let scene = Strangers::new();
    let (old, new) = (["00"; 32].join(":"), scene.source.fingerprint());
    scene.create(&["--fingerprint", &old, "--fingerprint-next", &new]).well();
    assert_eq!(scene.target.words("remote show peer").well().json()["fingerprint-next"], new);

    let said = scene.target.words("pull peer src dst").well();
    assert!(said.err.contains("renewed as planned") && said.err.contains(&new), "{said:#?}");
    let check = scene.target.words("remote check peer").well().json();
    let tls = &check["steps"][2];
    assert_eq!((&tls["step"], &tls["state"]), (&"tls".into(), &"warning".into()), "{check:#}");
    assert!(tls["hint"].as_str().unwrap().contains("--delete fingerprint-next"), "{check:#}");

    scene.target.run(["remote", "update", "peer", "--fingerprint", &new, "--delete", "fingerprint-next"]).well();
    let said = scene.target.words("pull peer src dst").well();
    assert!(!said.err.contains("renewed"), "{said:#?}");
    let said = scene.target.run(["remote", "update", "peer", "--fingerprint-next", &new]).ended(2);
    assert!(said.err.contains("the same as"), "{said:#?}");
    let next = ["remote", "update", "peer", "--fingerprint-next", &old, "--delete", "fingerprint"];
    let said = scene.target.run(next).ended(2);
    assert!(said.err.contains("goes with `fingerprint`"), "{said:#?}");
}

/// The state of each step, and the hint of the last.
fn walked(check: &Value) -> (Vec<String>, String) {
    let steps = check["steps"].as_array().unwrap();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let states = steps.iter().map(|step| format!("{} {}", text(step, "step"), text(step, "state"))).collect();
    (states, text(steps.last().unwrap(), "hint"))
}

#[test]
fn a_check_walks_all_the_way_and_tells_what_we_may_do() {
    let scene = Strangers::new();
    scene.create(&["--accept-fingerprint"]).well();

    let check = scene.target.words("remote check peer").well().json();

    let way = ["name ok", "port ok", "tls ok", "login ok", "version ok", "privileges ok", "clock ok"];
    assert_eq!(walked(&check).0, way, "{check:#}");
    assert_eq!(check["ok"], true);
    let rights = &check["datastores"][0];
    assert_eq!((&rights["store"], &rights["pull"], &rights["push"]), (&"src".into(), &"all".into(), &false.into()));
    let said = scene.target.run(["remote", "check", "peer", "--store", "src"]).well();
    assert!(said.out.contains("src  pull: all groups  push: no (needs DatastoreBackup)"), "{said:#?}");
}

#[test]
fn a_check_stops_at_the_first_step_that_fails_and_says_what_to_do() {
    let scene = Strangers::new();
    scene.source.datastore("other");
    let print = scene.source.fingerprint();
    scene.create(&["--fingerprint", &print]).well();
    let update = |more: &[&str]| scene.target.run([&["remote", "update", "peer"], more].concat()).well();
    let check = |more: &[&str]| {
        let words = [&["remote", "check", "peer", "--output-format", "json"], more].concat();
        walked(&scene.target.run(words).ended(1).json())
    };
    let port = scene.server.address.port().to_string();

    let (steps, hint) = check(&["--store", "other"]);
    assert_eq!(steps.last().unwrap(), "privileges failed");
    assert!(hint.contains("acl update /datastore/other") && hint.contains("DatastoreReader"), "{hint}");
    assert!(hint.starts_with("there: backup-manager ") && hint.contains("also with --auth-id '"), "{hint}");

    let wrong = scene.target.path("wrong");
    fs::write(&wrong, "not-the-secret").unwrap();
    update(&["--password-file", wrong.to_str().unwrap()]);
    let (steps, hint) = check(&[]);
    assert_eq!(steps, ["name ok", "port ok", "tls ok", "login failed"]);
    assert!(hint.contains("secret"), "{hint}");

    update(&["--delete", "fingerprint"]);
    let (steps, hint) = check(&[]);
    assert_eq!(steps, ["name ok", "port ok", "tls failed"]);
    assert!(hint.contains(&format!("remote update peer --fingerprint {print}")), "{hint}");

    update(&["--port", &free_address().port().to_string()]);
    let (steps, hint) = check(&[]);
    assert_eq!(steps, ["name ok", "port failed"]);
    assert!(hint.contains("nothing listens"), "{hint}");

    update(&["--port", &port, "--host", "no-such-host.invalid"]);
    let (steps, hint) = check(&[]);
    assert_eq!(steps, ["name failed"]);
    assert!(hint.contains("spelling"), "{hint}");
}

#[test]
fn a_server_is_reached_over_ipv6_with_and_without_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6 loopback, nothing was tested");
        return;
    }
    let scene = Strangers::new();
    let server = scene.source.serve_at("[::1]:0");
    for host in ["::1", "[::1]"] {
        let mut words = scene.words(server.address, &["--accept-fingerprint"]);
        words[4] = host.to_owned();
        scene.target.run(words).well();
        assert_eq!(scene.target.words("remote show peer").well().json()["host"], "::1");
        scene.target.words("pull peer src dst").well();
        scene.target.run(["remote", "remove", "peer"]).well();
    }
}

/// An HTTP proxy that leads every tunnel to `server`; returns its address and what it was asked for.
fn proxy(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        for near in listener.incoming() {
            let mut near = near.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            seen.lock().unwrap().push(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned());
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let far = TcpStream::connect(server).unwrap();
            for (mut from, mut to) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far.try_clone().unwrap(), near)]
            {
                thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Write));
                });
            }
        }
    });
    (address, asked)
}

#[test]
fn a_remote_is_pulled_from_through_the_proxy_of_the_node_or_of_the_environment() {
    let scene = Strangers::new();
    let (address, asked) = proxy(scene.server.address);
    let print = scene.source.fingerprint();
    let mut words = scene.words(([127, 0, 0, 1], 8007).into(), &["--fingerprint", &print, "--use-node-proxy"]);
    words[4] = "pbs.invalid".to_owned();
    let conf = scene.target.path("etc/backup-manager/backup-server.conf");
    fs::write(&conf, format!("[node]\nhttp-proxy = http://{address}\n")).unwrap();

    scene.target.run(words).well();
    scene.target.words("pull peer src dst").well();

    let through_node = asked.lock().unwrap().len();
    assert!(asked.lock().unwrap().iter().all(|line| line == "CONNECT pbs.invalid:8007 HTTP/1.1"), "{asked:?}");
    assert!(through_node > 1);
    let check = scene.target.words("remote check peer").well().json();
    assert!(check["steps"][0]["message"].as_str().unwrap().contains(&address.to_string()), "{check:#}");

    let with = |name: &str, value: &str| {
        let mut command = scene.target.command(["pull", "peer", "src", "dst"]);
        command.env_remove("no_proxy").env_remove("NO_PROXY").env("https_proxy", address.to_string()).env(name, value);
        command.output().unwrap().status.code()
    };
    scene.target.run(["remote", "update", "peer", "--delete", "use-node-proxy"]).well();
    let before = asked.lock().unwrap().len();
    assert_eq!(with("unused", ""), Some(0));
    let through_environment = asked.lock().unwrap().len();
    assert!(through_environment > before);
    assert_eq!(with("NO_PROXY", ".invalid"), Some(1), "reached directly, the name has no address");
    assert_eq!(asked.lock().unwrap().len(), through_environment);
}

#[test]
fn this_machine_is_reached_without_the_proxy_that_the_environment_names() {
    let scene = Strangers::new();
    let (address, asked) = proxy(scene.server.address);
    let words = scene.words(scene.server.address, &["--accept-fingerprint"]);

    let done = scene.target.command(words).env("HTTPS_PROXY", address.to_string()).output().unwrap();

    assert_eq!(done.status.code(), Some(0));
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_with_its_line() {
    let scene = Strangers::new();
    let conf = scene.target.path("etc/backup-manager/backup-server.conf");
    scene.create(&["--accept-fingerprint", "--use-node-proxy"]).well();
    fs::write(&conf, "[node]\nhttp-proxy = socks5://127.0.0.1:1080\n").unwrap();

    let said = scene.target.run(["remote", "check", "peer"]).ended(1);

    assert!(said.err.contains("http-proxy") && said.err.contains("only http://"), "{said:#?}");
}

/// Copies `from` to `into` on one host.
fn local_job(site: &Site, more: &[&str]) {
    let job = ["sync-job", "create", "job", "--store", "into", "--remote-store", "from"];
    site.run([&job[..], more].concat()).well();
}

/// Damages the only chunk of a datastore that has `bytes` or more on disk, keeping its length.
fn damage_a_chunk(store: &std::path::Path, bytes: u64) {
    let mut directories = vec![store.join(".chunks")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                directories.push(entry.path());
            } else if meta.len() >= bytes {
                let mut content = fs::read(entry.path()).unwrap();
                let middle = content.len() / 2;
                content[middle] ^= 1;
                fs::write(entry.path(), content).unwrap();
                return;
            }
        }
    }
    panic!("no chunk of {bytes} bytes");
}

fn two_stores() -> Site {
    let site = Site::new();
    site.datastore("from");
    site.datastore("into");
    site.back_up("from", "host/a", 1_700_000_000, "drive", &noise(9, 5 << 20));
    site
}

#[test]
fn what_is_copied_is_verified_if_the_job_or_the_datastore_says_so() {
    let site = two_stores();
    let state = |site: &Site| {
        let list = site.words("snapshot list into").well().json();
        list[0]["verification"]["state"].clone()
    };
    local_job(&site, &[]);
    site.words("sync-job run job").well();
    assert_eq!(state(&site), Value::Null);

    site.run(["snapshot", "forget", "into", "host/a/2023-11-14T22:13:20Z"]).well();
    site.run(["sync-job", "update", "job", "--verify"]).well();
    site.words("sync-job run job").well();
    assert_eq!(state(&site), "ok");

    site.run(["snapshot", "forget", "into", "host/a/2023-11-14T22:13:20Z"]).well();
    site.run(["sync-job", "update", "job", "--delete", "verify"]).well();
    site.run(["datastore", "update", "into", "--verify-new", "true"]).well();
    site.words("sync-job run job").well();
    assert_eq!(state(&site), "ok");
}

#[test]
fn with_verify_a_damaged_chunk_that_the_previous_snapshot_names_is_sent_again() {
    let site = two_stores();
    local_job(&site, &["--verify"]);
    site.words("sync-job run job").well();
    damage_a_chunk(&site.path("into"), 4 << 20);
    site.back_up("from", "host/a", 1_700_000_100, "drive", &noise(9, 5 << 20));

    let report = site.words("sync-job run job").well().json();

    assert_eq!(crate::site::count(&report, "chunks-transferred"), 1, "{report:#}");
    site.run(["snapshot", "verify", "into", "--output-format", "json"]).well();
}

#[test]
fn a_push_does_not_promise_to_verify() {
    let site = two_stores();
    let job =
        ["--store", "from", "--remote", "peer", "--remote-store", "theirs", "--sync-direction", "push", "--verify"];
    let said = site.run([&["sync-job", "create", "out"], &job[..]].concat()).ended(2);
    assert!(said.err.contains("verify-new"), "{said:#?}");
    site.run(["push", "from", "peer", "theirs", "--verify"]).ended(2);
}

#[test]
fn rates_hold_between_two_datastores_of_one_host_and_a_schedule_overrides_them() {
    let site = two_stores();
    let seconds = |said: Said| said.well().json()["elapsed-seconds"].as_f64().unwrap();
    local_job(&site, &["--rate-in", "2MiB", "--burst-in", "1MiB"]);
    // 5 MiB at 2 MiB/s.
    let limited = seconds(site.words("sync-job run job"));
    assert!(limited > 1.5, "{limited} s");

    site.run(["snapshot", "forget", "into", "host/a/2023-11-14T22:13:20Z"]).well();
    site.back_up("from", "host/a", 1_700_000_200, "drive", &noise(10, 40 << 20));
    site.run(["sync-job", "update", "job", "--rate-schedule", "00:00-24:00 unlimited"]).well();
    assert_eq!(site.words("sync-job show job").well().json()["rate-schedule"], "00:00-24:00 unlimited");
    let unlimited = seconds(site.words("sync-job run job"));
    assert!(unlimited < 15.0, "{unlimited} s for 40 MiB, 20 s at the job's own rate");

    let said = site.run(["sync-job", "update", "job", "--rate-schedule", "mon..fry 8-18 1MiB"]).ended(2);
    assert!(said.err.contains("`fry` is no day of the week"), "{said:#?}");
}
