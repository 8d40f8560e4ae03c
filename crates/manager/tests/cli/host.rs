//! A host of its own for each test: a temporary root, and transcripts of commands run below it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use config::{DatastoreConfig, Paths};
use datastore::{CreateOptions, Datastore};
use serde_json::Value;

/// A temporary root; removed when dropped.
pub(crate) struct Host {
    root: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A host whose root is in memory where there is such a place: 65,536 directories take their time on a disk.
    pub(crate) fn in_memory() -> Self {
        Self { root: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap() }
    }

    /// A host with these datastores, whose chunk directories are made as they are needed: a real `datastore create`
    /// takes seconds, and has a test of its own.
    pub(crate) fn with_stores(names: &[&str]) -> Self {
        let host = Self::new();
        for name in names {
            let path = host.path(name);
            let options = CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() };
            Datastore::create(&path, &options).unwrap();
            let entry = DatastoreConfig::new(name.parse().unwrap(), path);
            config::datastores::create(&host.paths(), &entry).unwrap();
        }
        host
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::under_root(self.root.path())
    }

    /// A path below the root.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file below the root and returns its path as text.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command, ready to run: no setting of the caller's reaches it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("backup-manager"));
        command
            .env_clear()
            .env("TZ", "UTC")
            .env("LANG", "C")
            .arg("--root")
            .arg(self.root.path())
            .args(words)
            .stdin(Stdio::null())
            .current_dir(self.root.path());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Answer {
        self.command(words).output().unwrap().into()
    }

    /// Runs a command with something on standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Answer {
        let mut child =
            self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Runs a command that must do all it was asked to, and returns its standard output.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let answer = self.run(words);
        assert_eq!(answer.code, 0, "{words:?}: {answer:?}");
        answer.stdout
    }

    /// As [`Host::ok`], for the JSON answer.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let stdout = self.ok(&[words, &["--output-format", "json"]].concat());
        assert_eq!(stdout.trim_end().lines().count(), 1, "one line: {stdout}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Backs up `content` as `disk.img` of group `host/test`.
    pub(crate) fn backup(&self, store: &str, ns: &str, time: &str, content: &[u8]) {
        let image = format!("disk.img:{}", self.file("disk.img", content));
        self.ok(&[
            "backup",
            "create",
            &image,
            "--store",
            store,
            "--ns",
            ns,
            "--backup-id",
            "test",
            "--backup-time",
            time,
        ]);
    }

    /// The names of the finished snapshots in a namespace.
    pub(crate) fn snapshots(&self, store: &str, ns: &str) -> Vec<String> {
        let list = self.json(&["snapshot", "list", store, "--ns", ns]);
        list.as_array().unwrap().iter().map(|row| row["snapshot"].as_str().unwrap().to_owned()).collect()
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Bytes that do not compress and differ for each seed; the same on every run.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A running `backup-server`, ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts the server of `host` and waits until it is ready.
    pub(crate) fn start(host: &Host) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = Command::new(server_binary())
            .arg("--root")
            .arg(host.path(""))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("listening on 127.0.0.1:").unwrap_or_else(|| panic!("{line:?}"));
        Self { port: port.parse().unwrap(), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `backup-server` beside `backup-manager`. A build of the whole workspace puts it there; a build of this package alone
/// does not, and then it is made now.
fn server_binary() -> PathBuf {
    let manager: &Path = assert_cmd::cargo::cargo_bin!("backup-manager");
    let directory = manager.parent().unwrap();
    let server = directory.join("backup-server");
    if !server.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "server", "--bin", "backup-server", "--target-dir"]);
        build.arg(directory.parent().unwrap());
        if directory.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    }
    server
}
