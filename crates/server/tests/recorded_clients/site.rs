//! A server of its own for every test, with the users and stores of the recordings.

use std::net::SocketAddr;

use config::acl::{AclAction, AclChange, Role};
use config::{DatastoreConfig, Paths, ServerConf, TokenConfig, UserConfig};
use datastore::{CreateOptions, Datastore, StoreConfig};
use formats::{AuthId, UserId};
use server::{Server, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The stores that recorded clients write to.
pub(crate) const STORES: [&str; 2] = ["trA", "trP"];
/// Password of `sync@pbs`.
pub(crate) const PASSWORD: &str = "Correct-Horse-1";

/// A running server.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// Secret of `root@pam!t1`.
    pub(crate) secret: String,
    root: tempfile::TempDir,
    paths: Paths,
    _stop: oneshot::Sender<()>,
    _running: JoinHandle<std::io::Result<()>>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        std::fs::create_dir_all(paths.etc()).unwrap();
        for store in STORES {
            let path = root.path().join(store);
            let options = CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() };
            Datastore::create(&path, &options).unwrap();
            let mut entry = DatastoreConfig::new(store.parse().unwrap(), path);
            entry.tuning = Some("sync-level=none".to_owned());
            config::datastores::create(&paths, &entry).unwrap();
        }
        let secret = add_users(&paths);
        let conf = ServerConf::load(&paths).unwrap().0;
        let certificate = config::cert::ensure(&paths, &conf, chrono::Utc::now()).unwrap();
        let tls =
            server::server_config(certificate.certificate_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap();
        let server = Server::new(paths.clone(), Settings::default(), tls).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server::run(listener, server, async move {
            let _ = stopped.await;
        }));
        Self { address, secret, root, paths, _stop: stop, _running: running }
    }

    /// A store on disk, as another process sees it.
    pub(crate) fn store(&self, name: &str) -> Datastore {
        let path = self.root.path().join(name);
        Datastore::open(StoreConfig::new(name.parse().unwrap(), path, self.paths.locks())).unwrap()
    }
}

/// Makes the two identities of the recordings; returns the token's secret.
fn add_users(paths: &Paths) -> String {
    let root: UserId = "root@pam".parse().unwrap();
    let token = TokenConfig::new(&root, &"t1".parse().unwrap()).unwrap();
    let token = config::users::generate_token(paths, &token, None).unwrap();
    let sync: UserId = "sync@pbs".parse().unwrap();
    config::users::create(paths, &UserConfig::new(sync.clone()), Some(PASSWORD)).unwrap();
    for (auth_id, path, role) in [
        (token.tokenid, "/", Role::Admin),
        (AuthId::from(sync.clone()), "/datastore/trA", Role::DatastoreAdmin),
        (AuthId::from(sync), "/datastore/trP", Role::DatastoreAdmin),
    ] {
        let action = AclAction::Grant { propagate: true };
        let change = AclChange { path: path.parse().unwrap(), auth_id, role, action };
        config::acl::update(paths, &change, None).unwrap();
    }
    token.value
}
