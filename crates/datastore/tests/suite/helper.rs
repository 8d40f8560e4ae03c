//! Shorthands for names, and child processes that run one test function of this very binary.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::str::FromStr;

use datastore::fixtures::{FIXTURE_OWNER, TestStore};
use datastore::{Datastore, Result};
use formats::{ArchiveName, AuthId, DataBlob, FileInfo, Manifest, Namespace, SnapshotId};

/// Parses any name.
pub(crate) fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn root() -> Namespace {
    Namespace::root()
}

pub(crate) fn owner() -> AuthId {
    name(FIXTURE_OWNER)
}

/// The manifest and the one blob of a tiny snapshot.
pub(crate) fn tiny(snapshot: &SnapshotId, content: &[u8]) -> (DataBlob, ArchiveName, DataBlob) {
    let blob = DataBlob::encode(content, true, None).unwrap();
    let file: ArchiveName = name("a.conf.blob");
    let mut manifest = Manifest::new(snapshot.clone());
    manifest.add(FileInfo::of_blob(file.clone(), formats::CryptMode::None, blob.as_bytes())).unwrap();
    (manifest.to_blob().unwrap(), file, blob)
}

/// Writes a tiny snapshot as a resumable transfer does.
pub(crate) fn pull_tiny(store: &Datastore, ns: &Namespace, snapshot: &SnapshotId, content: &[u8]) -> Result<()> {
    let (manifest, file, blob) = tiny(snapshot, content);
    let (group, _, _) = store.lock_or_create_group(ns, &snapshot.group, &owner())?;
    let staged = store.stage_or_resume(ns, snapshot, &group)?;
    staged.write_file(&file, blob.as_bytes())?;
    staged.commit(&manifest)
}

pub(crate) fn finished(store: &TestStore, snapshot: &SnapshotId) -> Vec<(SnapshotId, bool)> {
    let entries = store.store().snapshots(&root(), &snapshot.group).unwrap();
    entries.into_iter().map(|entry| (entry.id, entry.finished)).collect()
}

/// A process that runs the test function `test` of this binary with `JOB` set to `job`.
pub(crate) struct Helper {
    child: Child,
    _stdin: ChildStdin,
}

impl Helper {
    /// Starts the process and waits until it has printed `ready`.
    pub(crate) fn start(test: &str, job: &str) -> Self {
        let mut child = command(test, job).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().ends_with("ready"));
        assert!(ready, "the helper process ended early");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, _stdin: stdin }
    }

    /// Lets the process go on, and waits for its end.
    pub(crate) fn finish(mut self) {
        drop(self._stdin);
        assert!(self.child.wait().unwrap().success());
    }

    /// Kills the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a helper process to its end.
pub(crate) fn run(test: &str, job: &str) -> ExitStatus {
    command(test, job).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

fn command(test: &str, job: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("DATASTORE_TEST_JOB", job);
    command
}

/// What this process was started to do, if it is a helper.
pub(crate) fn job() -> Option<String> {
    std::env::var("DATASTORE_TEST_JOB").ok()
}

/// Tells the parent that all is set, then waits until it lets go.
pub(crate) fn ready_and_wait() {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Opens the store that another process made: its root is `DIR/store`, its locks are in `DIR/locks`.
pub(crate) fn open(dir: &str, level: datastore::SyncLevel) -> Datastore {
    let dir = std::path::Path::new(dir);
    Datastore::open(datastore::StoreConfig {
        name: name("tank"),
        path: dir.join("store"),
        locks: dir.join("locks"),
        sync_level: level,
    })
    .unwrap()
}

/// The directory to hand to [`open`].
pub(crate) fn dir_of(store: &TestStore) -> String {
    store.path().parent().unwrap().to_str().unwrap().to_owned()
}
