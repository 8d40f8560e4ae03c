//! One installation in a temporary root: `backup-manager` run by hand, and a `backup-server` of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("commands speak UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The report, or any other answer, of a command run with `--output-format json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Asserts that the command ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that the command went well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        self.ended(0)
    }
}

/// A report's counter.
#[track_caller]
pub(crate) fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {report:#}"))
}

/// An installation below a temporary root.
pub(crate) struct Site {
    root: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { root: TempDir::with_prefix("site.").expect("a temporary directory") }
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    /// The command with `--root` and `arguments`, not started yet.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup-manager"));
        command.arg("--root").arg(self.root.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("BACKUP_MANAGER_ROOT");
        command
    }

    /// Runs `backup-manager` to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        Said::of(self.command(arguments).output().expect("backup-manager starts"))
    }

    /// Runs `backup-manager WORDS --output-format json`; words are separated by blanks.
    pub(crate) fn words(&self, words: &str) -> Said {
        self.run(words.split_whitespace().chain(["--output-format", "json"]))
    }

    /// Creates a datastore `name` at `ROOT/name`.
    pub(crate) fn datastore(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.run([OsStr::new("datastore"), "create".as_ref(), name.as_ref(), path.as_ref()]).well();
        path
    }

    /// Attaches the golden datastore, unpacked at `ROOT/name`, as `name`.
    pub(crate) fn golden(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        golden::unpack(&path, golden::Dirs::All).expect("the golden datastore unpacks");
        let words = ["datastore", "create", name, path.to_str().expect("UTF-8"), "--reuse-datastore"];
        self.run(words).well();
        path
    }

    /// Makes an API token `who@pbs!run` with `role` on `path`, and returns its secret.
    pub(crate) fn token(&self, who: &str, role: &str, path: &str) -> String {
        let password = self.path("password");
        fs::write(&password, "correct-horse\n").expect("a file");
        let user = format!("{who}@pbs");
        self.run(["user", "create", &user, "--password-file", password.to_str().expect("UTF-8")]).well();
        let token = self.run(["user", "generate-token", &user, "run", "--output-format", "json"]).well().json();
        for identity in [user.as_str(), token["tokenid"].as_str().expect("a token id")] {
            self.run(["acl", "update", path, role, "--auth-id", identity]).well();
        }
        token["value"].as_str().expect("a secret").to_owned()
    }

    /// The fingerprint of this site's certificate.
    pub(crate) fn fingerprint(&self) -> String {
        let info = self.words("cert info").well().json();
        info["fingerprint"].as_str().expect("a fingerprint").to_owned()
    }

    /// Starts this site's server on a free port.
    pub(crate) fn serve(&self) -> Server {
        self.serve_at("127.0.0.1:0")
    }

    /// Starts this site's server at `listen`.
    pub(crate) fn serve_at(&self, listen: &str) -> Server {
        self.start_server(listen, Stdio::null(), "off")
    }

    /// Starts this site's server so that [`Site::calls`] knows what it is asked.
    pub(crate) fn serve_noting_calls(&self) -> Server {
        let log = fs::File::create(self.path("server.log")).expect("a file");
        self.start_server("127.0.0.1:0", log.into(), "server=debug")
    }

    /// The REST calls so far, as `METHOD path`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("server.log")).expect("a log");
        let calls = log.lines().filter_map(|line| line.split_once(" call method=")?.1.split_once(" target="));
        calls.map(|(method, target)| format!("{method} {}", target.trim_matches('"'))).collect()
    }

    fn start_server(&self, listen: &str, log: Stdio, level: &str) -> Server {
        let binary = Path::new(env!("CARGO_BIN_EXE_backup-manager")).with_file_name("backup-server");
        assert!(binary.exists(), "{} is not built: run the tests with --workspace", binary.display());
        let mut child = Command::new(binary)
            .args(["--listen", listen, "--root"])
            .arg(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .env("RUST_LOG", level)
            .env("NO_COLOR", "1")
            .spawn()
            .expect("backup-server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        Server { address: address.unwrap_or_else(|| panic!("the server said {line:?}")), child }
    }

    /// Makes the server at `address` known as remote `name`.
    pub(crate) fn remote(&self, name: &str, address: SocketAddr, auth_id: &str, secret: &str, fingerprint: &str) {
        self.try_remote(name, address, auth_id, secret, fingerprint).well();
    }

    pub(crate) fn try_remote(
        &self,
        name: &str,
        address: SocketAddr,
        auth_id: &str,
        secret: &str,
        fingerprint: &str,
    ) -> Said {
        let file = self.path("secret");
        fs::write(&file, secret).expect("a file");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let whom = ["remote", "create", name, "--host", &host, "--port", &port, "--auth-id", auth_id];
        let proof = ["--password-file", file.to_str().expect("UTF-8"), "--fingerprint", fingerprint];
        self.run(whom.into_iter().chain(proof))
    }

    /// Backs `bytes` up as `NAME.img` of `group` (`type/id`) at `time` into local `store`.
    pub(crate) fn back_up(&self, store: &str, group: &str, time: i64, name: &str, bytes: &[u8]) {
        let image = self.path("image");
        fs::write(&image, bytes).expect("a file");
        let (kind, id) = group.split_once('/').expect("type/id");
        let (archive, time) = (format!("{name}.img:{}", image.display()), time.to_string());
        let target = ["--store", store, "--backup-type", kind, "--backup-id", id, "--backup-time", &time];
        self.run(["backup", "create", &archive].into_iter().chain(target)).well();
    }

    /// Lists the snapshots of a namespace as `type/id/unix-time`, sorted; only finished ones.
    pub(crate) fn snapshots(&self, store: &str, namespace: &str) -> Vec<String> {
        let list = self.run(["snapshot", "list", store, "--ns", namespace, "--output-format", "json"]).well().json();
        let mut names: Vec<String> = list
            .as_array()
            .expect("a list")
            .iter()
            .filter(|item| !item["size"].is_null())
            .map(|item| {
                let text = |key: &str| item[key].as_str().expect("text").to_owned();
                format!("{}/{}/{}", text("backup-type"), text("backup-id"), item["backup-time"])
            })
            .collect();
        names.sort();
        names
    }
}

/// A running `backup-server`; killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// Asks the server to end, and returns its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::SIGTERM).expect("SIGTERM");
        self.child.wait().expect("an end").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended by itself is fine.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A source with a backup and a server, and a target that does not know it yet.
pub(crate) struct Strangers {
    pub(crate) source: Site,
    pub(crate) target: Site,
    pub(crate) server: Server,
    pub(crate) secret: String,
}

impl Strangers {
    pub(crate) fn new() -> Self {
        let (source, target) = (Site::new(), Site::new());
        source.datastore("src");
        source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(1, 5 << 20));
        target.datastore("dst");
        let secret = source.token("sync", "DatastoreReader", "/datastore/src");
        let server = source.serve();
        Self { source, target, server, secret }
    }
}

/// Reproducible bytes that do not compress; different seeds share nothing.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut words = Vec::with_capacity(bytes + 8);
    while words.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words.extend_from_slice(&state.to_le_bytes());
    }
    words.truncate(bytes);
    words
}
