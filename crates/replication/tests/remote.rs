//! Pull and push between a datastore of ours and a real server, over TLS on the loopback.

#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]

#[path = "moves/remote.rs"]
mod moves;
#[path = "rehearsals/pairs.rs"]
mod pairs;
#[path = "rehearsals/remote.rs"]
mod rehearsals;

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use client::{Credentials, Remote, RemoteAddress, Traffic, Trust};
use common::filled;
use config::acl::{AclAction, AclChange, AclPath, Role};
use config::{DatastoreConfig, Paths, ServerConf, TokenConfig, UserConfig};
use datastore::fixtures::{TestStore, noise};
use datastore::{CreateOptions, Datastore, StoreConfig, SyncLevel};
use formats::{AuthId, DataBlob, Manifest, Namespace, StoreName};
use replication::{
    Direction, Event, JobOptions, LocalSource, LocalTarget, Monitor, RemoteSource, RemoteTarget, Report, RunControl,
    RunResult, Silent, run,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server of its own with one datastore and one token that may do everything.
struct TestServer {
    _dir: tempfile::TempDir,
    paths: Paths,
    store: Datastore,
    identity: AuthId,
    secret: String,
    trust: Trust,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl TestServer {
    async fn start() -> Self {
        Self::start_with(server::Settings::default()).await
    }

    async fn start_with(settings: server::Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(dir.path());
        let path = dir.path().join("store");
        Datastore::create(&path, &CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() }).unwrap();
        let mut entry = DatastoreConfig::new("tank".parse().unwrap(), &path);
        entry.tuning = Some("sync-level=none".to_owned());
        config::datastores::create(&paths, &entry).unwrap();
        let user = UserConfig::new("backup@pbs".parse().unwrap());
        config::users::create(&paths, &user, None).unwrap();
        let token = TokenConfig::new(&user.userid, &"sync".parse().unwrap()).unwrap();
        let token = config::users::generate_token(&paths, &token, None).unwrap();
        for auth_id in [AuthId::from(user.userid), token.tokenid.clone()] {
            let action = AclAction::Grant { propagate: true };
            let change = AclChange { path: AclPath::root(), auth_id, role: Role::Admin, action };
            config::acl::update(&paths, &change, None).unwrap();
        }
        let certificate = config::cert::ensure(&paths, &ServerConf::default(), chrono::Utc::now()).unwrap();
        let fingerprint = config::cert::info("cert.pem", &certificate.certificate_pem).unwrap().fingerprint;
        let tls =
            server::server_config(certificate.certificate_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap();
        let prepared = server::Server::new(paths.clone(), settings, tls).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            server::run(listener, prepared, async move {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        let name = "tank".parse().unwrap();
        let config = StoreConfig { name, path, locks: paths.locks(), sync_level: SyncLevel::None };
        Self {
            store: Datastore::open(config).unwrap(),
            _dir: dir,
            paths,
            identity: token.tokenid,
            secret: token.value,
            trust: Trust::Fingerprints(vec![fingerprint]),
            port,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Takes every right away but those below a namespace.
    fn restrict_to(&self, namespace: &str) {
        let below = AclPath::datastore(&"tank".parse().unwrap(), &namespace.parse().unwrap());
        for auth_id in [AuthId::from(self.identity.user().clone()), self.identity.clone()] {
            let grant = AclAction::Grant { propagate: true };
            for (path, role, action) in
                [(AclPath::root(), Role::Admin, AclAction::Revoke), (below.clone(), Role::DatastoreAdmin, grant)]
            {
                let change = AclChange { path, auth_id: auth_id.clone(), role, action };
                config::acl::update(&self.paths, &change, None).unwrap();
            }
        }
    }

    fn remote(&self) -> (Remote, StoreName, Arc<Traffic>) {
        let traffic = Traffic::new();
        let credentials = Credentials::Token { auth_id: self.identity.clone(), secret: self.secret.clone() };
        let address = RemoteAddress::new("127.0.0.1", self.port);
        let remote = Remote::new(address, credentials, self.trust.clone(), Arc::clone(&traffic)).unwrap();
        (remote, "tank".parse().unwrap(), traffic)
    }

    /// Fills the server's datastore by a local sync.
    async fn fill(&self, from: &Datastore) {
        let source = Arc::new(LocalSource::new(from.clone()));
        let target = Arc::new(LocalTarget::new(self.store.clone()).unwrap());
        let options = JobOptions::new(Direction::Pull, "root@pam".parse().unwrap());
        let report = run(&options, source, target, &RunControl::new(), Arc::new(Silent)).await;
        assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    }

    async fn pull(&self, options: &JobOptions, to: &Datastore) -> (Report, u64) {
        let (remote, store, traffic) = self.remote();
        let source = Arc::new(RemoteSource::new(remote, store));
        let target = Arc::new(LocalTarget::new(to.clone()).unwrap());
        let report = run(options, source, target, &RunControl::new(), Arc::new(Silent)).await;
        (report, traffic.bytes_in())
    }

    async fn push(&self, from: &Datastore, change: impl FnOnce(&mut JobOptions)) -> (Report, u64) {
        let (remote, store, traffic) = self.remote();
        let source = Arc::new(LocalSource::new(from.clone()));
        let target = Arc::new(RemoteTarget::connect(remote, store).await.unwrap());
        let mut options = JobOptions::new(Direction::Push, self.identity.clone());
        change(&mut options);
        let report = run(&options, source, target, &RunControl::new(), Arc::new(Silent)).await;
        (report, traffic.bytes_out())
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }
}

fn pull_options() -> JobOptions {
    JobOptions::new(Direction::Pull, "root@pam".parse().unwrap())
}

/// All snapshot files below a datastore with their bytes.
fn snapshot_files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if [".fidx", ".didx", ".blob"].iter().any(|end| name.ends_with(end)) {
                let path = entry.path().strip_prefix(root).unwrap().to_owned();
                files.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_reproduces_every_file_and_a_second_one_moves_nothing() {
    let (server, origin, target) = (TestServer::start().await, filled(), TestStore::new("target"));
    server.fill(origin.store()).await;

    let (first, _) = server.pull(&pull_options(), target.store()).await;
    let (second, wire) = server.pull(&pull_options(), target.store()).await;

    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    assert_eq!(first.snapshots_copied, 5);
    assert_eq!(snapshot_files(target.path()), snapshot_files(origin.path()));
    assert!(second.moved_nothing(), "{second:?}");
    assert!(wire < 200_000, "{wire} bytes to find nothing to do");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_datastore_is_pulled_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (golden, target) = (golden_store(dir.path()), TestStore::new("target"));
    let server = TestServer::start().await;
    server.fill(&golden).await;

    let (report, _) = server.pull(&pull_options(), target.store()).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!(report.chunks_transferred as usize, golden::CHUNKS - 1);
    assert_eq!(snapshot_files(target.path()), snapshot_files(golden.path()));
    server.stop().await;
}

/// The golden datastore, unpacked below `dir`.
fn golden_store(dir: &Path) -> Datastore {
    let path = dir.join("golden");
    golden::unpack(&path, golden::Dirs::Lazy).unwrap();
    let locks = dir.join("locks");
    Datastore::open(StoreConfig { name: "golden".parse().unwrap(), path, locks, sync_level: SyncLevel::None }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_datastore_is_pushed_with_every_blob_entry_and_signature() {
    let dir = tempfile::tempdir().unwrap();
    let (server, golden) = (TestServer::start().await, golden_store(dir.path()));

    let (report, _) = server.push(&golden, |_| {}).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!(report.snapshots_copied as usize, golden::SNAPSHOTS);
    let (ours, theirs) = (snapshot_files(golden.path()), snapshot_files(server.store.path()));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (path, bytes) in &ours {
        let sent = &theirs[path];
        if path.ends_with("index.json.blob") {
            let manifest = |bytes: &[u8]| Manifest::parse_blob(&DataBlob::parse(bytes.to_vec()).unwrap()).unwrap();
            let (ours, theirs) = (manifest(bytes), manifest(sent));
            assert_eq!(theirs.canonical_signed_part(), ours.canonical_signed_part(), "{}", path.display());
            assert_eq!(theirs.signature, ours.signature, "{}", path.display());
            assert_eq!(theirs.notes(), ours.notes(), "{}", path.display());
        } else {
            // An index differs in its header alone.
            let from = if path.extension().is_some_and(|end| end != "blob") { 4096 } else { 0 };
            assert_eq!(sent[from..], bytes[from..], "{}", path.display());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_a_server_that_tells_nothing_sends_what_neither_session_nor_previous_snapshot_has() {
    const PIECE: usize = 64 << 10;
    let server = TestServer::start_with(server::Settings { announce_additions: false, ..server::Settings::default() });
    let (server, origin) = (server.await, TestStore::new("source"));
    let content = noise(1, 16 * PIECE);
    let mut later = content.clone();
    later[5 * PIECE] ^= 1;
    // Twice in one session, and once more in another group.
    origin.backup("", "vm/1", 1_700_000_000, &[("root.pxar", &content), ("again.pxar", &content)]);
    origin.backup("", "vm/2", 1_700_000_000, &[("root.pxar", &content)]);

    let (first, wire) = server.push(origin.store(), |_| {}).await;
    let (idle, of_nothing) = server.push(origin.store(), |_| {}).await;
    origin.backup("", "vm/1", 1_700_000_100, &[("root.pxar", &later)]);
    let (next, of_one) = server.push(origin.store(), |_| {}).await;

    assert_eq!((first.result, first.chunks_transferred, first.chunks_reused), (RunResult::Ok, 32, 16), "{first:?}");
    let sent = 32 * PIECE as u64;
    assert!(wire > sent && wire < sent + sent / 10, "{wire} bytes for {sent}");
    assert!(idle.moved_nothing() && of_nothing < 20_000, "{of_nothing} bytes to find nothing to do");
    assert_eq!((next.snapshots_copied, next.chunks_transferred, next.chunks_reused), (1, 1, 15), "{next:?}");
    let one = PIECE as u64;
    assert!(of_one > one && of_one < one + 20_000, "{of_one} bytes for {one}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_gives_the_remote_the_same_backups_with_valid_signatures() {
    let (server, origin) = (TestServer::start().await, filled());

    let (first, _) = server.push(origin.store(), |_| {}).await;
    let (second, wire) = server.push(origin.store(), |_| {}).await;

    assert_eq!(first.result, RunResult::Ok, "{:?}", first.errors);
    assert_eq!((first.snapshots_copied, first.chunks_transferred), (5, 3 + 1 + 5 + 4 + 4));
    assert!(second.moved_nothing(), "{second:?}");
    assert!(wire < 50_000, "{wire} bytes to find nothing to do");
    for (ns, id) in [
        ("", "vm/100/2023-11-14T22:15:00Z"),
        ("site", "ct/7/2023-11-14T22:14:20Z"),
        ("site", "ct/8/2023-11-14T22:14:30Z"),
    ] {
        let (ns, id): (Namespace, _) = (ns.parse().unwrap(), id.parse().unwrap());
        let (ours, _) = origin.store().manifest(&ns, &id).unwrap();
        let (theirs, _) = server.store.manifest(&ns, &id).unwrap();
        assert_eq!(theirs.canonical_signed_part(), ours.canonical_signed_part());
        assert_eq!(theirs.signature, ours.signature);
        for info in &ours.files {
            let read = |store: &Datastore| store.read_file(&ns, &id, &info.filename).unwrap();
            let (ours, theirs) = (read(origin.store()), read(&server.store));
            // An index differs in its header alone.
            let from = if info.filename.as_str().ends_with("idx") { 4096 } else { 0 };
            assert_eq!(ours[from..], theirs[from..], "{}", info.filename);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_with_equal_data_are_pulled_once() {
    let (server, origin, target) = (TestServer::start().await, TestStore::new("origin"), TestStore::new("target"));
    let image = noise(7, 24 << 20);
    origin.backup("", "vm/1", 1_700_000_000, &[("disk.img", &image)]);
    origin.backup("", "vm/2", 1_700_000_000, &[("disk.img", &image)]);
    server.fill(origin.store()).await;

    let (report, wire) = server.pull(&pull_options(), target.store()).await;

    assert_eq!((report.chunks_transferred, report.chunks_reused), (6, 6));
    assert!(wire < (24 << 20) + (1 << 20), "{wire} bytes on the wire for {} of data", image.len());
    assert_eq!(snapshot_files(target.path()), snapshot_files(origin.path()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirroring_push_removes_what_vanished_at_the_remote() {
    let (server, origin) = (TestServer::start().await, filled());
    server.push(origin.store(), |_| {}).await;
    origin.store().remove_namespace(&"site/lab".parse().unwrap(), true).unwrap();
    origin.store().remove_group(&"site".parse().unwrap(), &"ct/7".parse().unwrap()).unwrap();
    origin.store().remove_snapshot(&Namespace::root(), &"vm/100/2023-11-14T22:13:20Z".parse().unwrap(), false).unwrap();

    let (report, _) = server.push(origin.store(), |options| options.remove_vanished = true).await;

    assert_eq!(report.result, RunResult::Ok, "{:?}", report.errors);
    assert_eq!((report.snapshots_removed, report.groups_removed, report.namespaces_removed), (3, 2, 1));
    assert_eq!(
        snapshot_files(server.store.path()).into_keys().collect::<Vec<_>>(),
        snapshot_files(origin.path()).into_keys().collect::<Vec<_>>()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_there_is_a_clear_error() {
    let (server, target) = (TestServer::start().await, TestStore::new("target"));
    let options = JobOptions { source_ns: "nowhere".parse().unwrap(), ..pull_options() };

    let (report, _) = server.pull(&options, target.store()).await;

    assert_eq!(report.result, RunResult::Error);
    assert!(report.errors[0].to_string().contains("nowhere"), "{}", report.errors[0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_a_group_of_another_owner_is_an_error_that_names_both() {
    let (server, origin) = (TestServer::start().await, filled());
    // Filled locally: its groups belong to the superuser.
    server.fill(origin.store()).await;
    origin.backup("", "vm/100", 1_700_000_200, &[("vm.conf", b"cores: 8")]);

    let (report, _) = server.push(origin.store(), |_| {}).await;

    assert_eq!(report.result, RunResult::Error);
    let message = &report.errors[0].message;
    assert!(message.contains("root@pam") && message.contains("backup@pbs!sync"), "{message}");
    assert_eq!(report.snapshots_copied, 0);
    server.stop().await;
}

/// Lets go of something when the run begins with a snapshot and the remote has answered something to that.
struct LetGo<T> {
    held: Mutex<Option<T>>,
    traffic: Arc<Traffic>,
}

impl<T: Send + 'static> Monitor for LetGo<T> {
    fn event(&self, event: Event) {
        if !matches!(event, Event::SnapshotStarted { .. }) {
            return;
        }
        let (held, traffic) = (self.held.lock().unwrap().take(), Arc::clone(&self.traffic));
        let before = traffic.bytes_in();
        tokio::spawn(async move {
            while traffic.bytes_in() == before {
                tokio::task::yield_now().await;
            }
            drop(held);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_waits_a_little_for_a_group_that_is_busy_at_the_remote() {
    let (server, origin) = (TestServer::start().await, TestStore::new("origin"));
    origin.backup("", "vm/100", 1_700_000_000, &[("vm.conf", b"cores: 4")]);
    let (remote, store, traffic) = server.remote();
    let (lock, ..) =
        server.store.lock_or_create_group(&Namespace::root(), &"vm/100".parse().unwrap(), &server.identity).unwrap();
    let monitor = Arc::new(LetGo { held: Mutex::new(Some(lock)), traffic });
    let source = Arc::new(LocalSource::new(origin.store().clone()));
    let target = Arc::new(RemoteTarget::connect(remote, store).await.unwrap());
    let options = JobOptions::new(Direction::Push, server.identity.clone());

    let report = run(&options, source, target, &RunControl::new(), monitor).await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 1), "{:?}", report.errors);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_makes_only_the_namespaces_that_are_missing() {
    let (server, origin) = (TestServer::start().await, TestStore::new("origin"));
    origin.backup("c", "vm/100", 1_700_000_000, &[("vm.conf", b"cores: 4")]);
    server.store.create_namespace_path(&"a/b".parse().unwrap()).unwrap();
    // Nothing may be made beside or above `a/b`, and neither root nor `a` is even listed.
    server.restrict_to("a/b");

    let (report, _) = server
        .push(origin.store(), |options| {
            options.source_ns = "c".parse().unwrap();
            options.target_ns = "a/b/c".parse().unwrap();
        })
        .await;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Ok, 1), "{:?}", report.errors);
    server.stop().await;
}
