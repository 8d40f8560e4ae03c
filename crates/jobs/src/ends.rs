//! Opens what a name stands for: a datastore of this host, or one of a remote.

use std::sync::Arc;

use client::{Credentials, Proxy, Remote, RemoteAddress, Timeouts, Traffic, Trust};
use config::acl::{AclPath, Privileges};
use config::datastores::{MaintenanceType, SyncLevel};
use config::{AccessControl, DatastoreConfig, Paths, RemoteConfig, ServerConf};
use datastore::{Datastore, StoreConfig};
use formats::{AuthId, CryptKey, Namespace, RemoteName, StoreName};
use replication::{GroupInfo, LocalSource, LocalTarget, RemoteSource, RemoteTarget, Source, Target};
use tasks::{new_upid, superuser};

use crate::error::JobError;

/// Where snapshots are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A datastore of this host.
    Local(StoreName),
    /// A datastore of a remote.
    Remote(RemoteName, StoreName),
}

/// What a datastore is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// What a source is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceUse {
    /// To read it.
    Read,
    /// To read it, and to remove what was moved away.
    Move,
}

/// A place to read from.
pub struct SourceEnd {
    /// The engine's view of it.
    pub source: Arc<dyn Source>,
    /// Counts the bytes on the wire; none for a datastore of this host.
    pub traffic: Option<Arc<Traffic>>,
}

/// A place to write to.
pub struct TargetEnd {
    /// The engine's view of it.
    pub target: Arc<dyn Target>,
    /// Counts the bytes on the wire; none for a datastore of this host.
    pub traffic: Option<Arc<Traffic>>,
    /// Who owns what is made there: the remote's own identity, or nobody in particular on this host.
    pub identity: Option<AuthId>,
}

/// Opens a datastore of this host by name, whatever its maintenance mode.
///
/// # Errors
/// It is not configured, its settings cannot be used, or it is not there (not mounted, for example).
pub fn open_store(paths: &Paths, name: &StoreName) -> Result<Datastore, JobError> {
    open_configured(paths, &store_config(paths, name)?)
}

/// Opens a remote by name. Nothing is sent yet.
///
/// # Errors
/// It is not configured, or its settings cannot be used.
pub fn open_remote(paths: &Paths, name: &RemoteName) -> Result<(Remote, Arc<Traffic>), JobError> {
    open_as_configured(paths, &find_remote(paths, name)?, Timeouts::default())
}

/// As [`open_remote`], with bytes counted and held to the rates of `traffic`.
fn open_remote_on(
    paths: &Paths,
    name: &RemoteName,
    traffic: Option<Arc<Traffic>>,
) -> Result<(Remote, Arc<Traffic>), JobError> {
    let traffic = traffic.unwrap_or_else(Traffic::new);
    let remote = open_counted(paths, &find_remote(paths, name)?, Timeouts::default(), Arc::clone(&traffic))?;
    Ok((remote, traffic))
}

/// Finds a remote's settings.
///
/// # Errors
/// It is not configured, or its section is broken.
pub fn find_remote(paths: &Paths, name: &RemoteName) -> Result<RemoteConfig, JobError> {
    let loaded = config::remotes::load(paths)?;
    match loaded.find(name) {
        Some(remote) => Ok(remote.clone()),
        // A broken section says where and why; only a name that is nowhere is unknown.
        None => Err(match config::remotes::get(paths, name) {
            Err(error) if !error.is_not_found() => error.into(),
            _ => JobError::UnknownRemote {
                name: name.clone(),
                known: loaded.entries.iter().map(|remote| remote.name.clone()).collect(),
            },
        }),
    }
}

/// Opens a remote with these settings, stored or not. Nothing is sent yet.
///
/// # Errors
/// The settings cannot be used.
pub fn open_as_configured(
    paths: &Paths,
    remote: &RemoteConfig,
    timeouts: Timeouts,
) -> Result<(Remote, Arc<Traffic>), JobError> {
    let traffic = Traffic::new();
    Ok((open_counted(paths, remote, timeouts, Arc::clone(&traffic))?, traffic))
}

fn open_counted(
    paths: &Paths,
    remote: &RemoteConfig,
    timeouts: Timeouts,
    traffic: Arc<Traffic>,
) -> Result<Remote, JobError> {
    let pinned: Vec<_> = remote.fingerprint.iter().chain(&remote.fingerprint_next).cloned().collect();
    let trust = if pinned.is_empty() { Trust::SystemRoots } else { Trust::Fingerprints(pinned) };
    let proxy = proxy_for(paths, remote)?;
    Ok(Remote::through(proxy, address_of(remote), credentials(remote)?, trust, traffic, timeouts)?)
}

/// Where a remote is.
pub fn address_of(remote: &RemoteConfig) -> RemoteAddress {
    RemoteAddress::new(remote.host.clone(), remote.port())
}

/// The proxy that leads to a remote: the node's with `use-node-proxy`, else that of the environment; none to this
/// machine itself.
///
/// # Errors
/// The setting or variable names no proxy that can be used.
pub fn proxy_for(paths: &Paths, remote: &RemoteConfig) -> Result<Option<Proxy>, JobError> {
    let address = address_of(remote);
    if remote.use_node_proxy == Some(true) {
        let (conf, _) = ServerConf::load(paths)?;
        let Some(text) = conf.http_proxy else { return Ok(None) };
        let proxy: Proxy = text.parse().map_err(|error| {
            JobError::Unusable(format!("{}: `[node] http-proxy`: {error}", paths.server_conf().display()))
        })?;
        return Ok(proxy.unless_loopback(&address));
    }
    Proxy::from_environment(&address, |name| std::env::var(name).ok())
        .map_err(|error| JobError::Unusable(format!("environment variable https_proxy or all_proxy: {error}")))
}

/// Opens a place to read from. In a datastore of this host, `identity` sees only the groups it may read.
///
/// # Errors
/// As [`open_store`] and [`open_remote`]; and a datastore that is offline for maintenance.
pub fn open_source(paths: &Paths, place: &Place, identity: &AuthId) -> Result<SourceEnd, JobError> {
    open_source_paced(paths, place, identity, None, SourceUse::Read)
}

/// As [`open_source`]; what comes over the line, or is read from a datastore of this host, is held to the rates of `pace`.
pub(crate) fn open_source_paced(
    paths: &Paths,
    place: &Place,
    identity: &AuthId,
    pace: Option<Arc<Traffic>>,
    purpose: SourceUse,
) -> Result<SourceEnd, JobError> {
    match place {
        Place::Local(name) => {
            let access = if purpose == SourceUse::Move { Access::Write } else { Access::Read };
            let store = open_for(paths, name, access)?;
            let mut source = LocalSource::new(store);
            if let Some(pace) = &pace {
                source = source.paced(Arc::clone(pace));
            }
            if !identity.is_root() {
                let (reads, removes) = (Privileges::DATASTORE_READ, Privileges::DATASTORE_MODIFY);
                source = source
                    .only(permitted(paths, name, identity, reads, Privileges::DATASTORE_BACKUP)?)
                    .removing_only(permitted(paths, name, identity, removes, Privileges::DATASTORE_PRUNE)?);
            }
            Ok(SourceEnd { source: Arc::new(source), traffic: pace })
        }
        Place::Remote(remote, store) => {
            let (remote, traffic) = open_remote_on(paths, remote, pace)?;
            Ok(SourceEnd { source: Arc::new(RemoteSource::new(remote, store.clone())), traffic: Some(traffic) })
        }
    }
}

/// Opens a place to write to; connects to a remote.
///
/// # Errors
/// As [`open_source`]; a datastore that is read-only for maintenance; a remote that does not let us in.
pub async fn open_target(paths: &Paths, place: &Place) -> Result<TargetEnd, JobError> {
    open_target_verified(paths, place, Some(false), &[], None).await
}

/// As [`open_target`]; in a datastore of this host each snapshot is read back after it was written if `verify` says so,
/// or, if it says nothing, the datastore's `verify-new` does; one under any of `keys` with it. What goes over the line is held to the rates of `traffic`.
pub(crate) async fn open_target_verified(
    paths: &Paths,
    place: &Place,
    verify: Option<bool>,
    keys: &[CryptKey],
    traffic: Option<Arc<Traffic>>,
) -> Result<TargetEnd, JobError> {
    match place {
        Place::Local(name) => {
            let store = open_for(paths, name, Access::Write)?;
            let mut target = LocalTarget::new(store)?;
            let verify_new = || Ok::<_, JobError>(store_config(paths, name)?.verify_new == Some(true));
            if verify.map_or_else(verify_new, Ok)? {
                target = target.verifying(new_upid("verify", Some(name.to_string()), superuser()), keys.to_vec());
            }
            Ok(TargetEnd { target: Arc::new(target), traffic: None, identity: None })
        }
        Place::Remote(remote, store) => {
            let (remote, traffic) = open_remote_on(paths, remote, traffic)?;
            let identity = Some(remote.auth_id().clone());
            let target = Arc::new(RemoteTarget::connect(remote, store.clone()).await?);
            Ok(TargetEnd { target, traffic: Some(traffic), identity })
        }
    }
}

/// Decides about which groups of a datastore an identity has a right: all with the privilege `all`, its own with `own`.
fn permitted(
    paths: &Paths,
    store: &StoreName,
    identity: &AuthId,
    all: Privileges,
    own: Privileges,
) -> Result<impl Fn(&Namespace, &GroupInfo) -> bool + Send + Sync + 'static, JobError> {
    let access = AccessControl::load(paths)?;
    let (store, identity) = (store.clone(), identity.clone());
    Ok(move |ns: &Namespace, group: &GroupInfo| {
        let privileges = access.privileges(&identity, &AclPath::datastore(&store, ns));
        let owns = group.owner.as_ref().is_some_and(|owner| identity.owns(owner));
        privileges.contains(all) || (owns && privileges.contains(own))
    })
}

fn credentials(remote: &RemoteConfig) -> Result<Credentials, JobError> {
    let secret = remote.password.reveal()?;
    Ok(if remote.auth_id.is_token() {
        Credentials::Token { auth_id: remote.auth_id.clone(), secret }
    } else {
        Credentials::Password { user: remote.auth_id.user().clone(), password: secret }
    })
}

fn store_config(paths: &Paths, name: &StoreName) -> Result<DatastoreConfig, JobError> {
    let loaded = config::datastores::load(paths)?;
    match loaded.find(name) {
        Some(store) => Ok(store.clone()),
        None => Err(match config::datastores::get(paths, name) {
            Err(error) if !error.is_not_found() => error.into(),
            _ => JobError::UnknownStore {
                name: name.clone(),
                known: loaded.entries.iter().map(|store| store.name.clone()).collect(),
            },
        }),
    }
}

fn open_for(paths: &Paths, name: &StoreName, access: Access) -> Result<Datastore, JobError> {
    let store = store_config(paths, name)?;
    if let Some(maintenance) = store.maintenance()? {
        let refused = access == Access::Write || maintenance.kind != MaintenanceType::ReadOnly;
        if refused {
            let mode = store.maintenance_mode.clone().unwrap_or_default();
            return Err(JobError::Maintenance { name: name.clone(), mode });
        }
    }
    open_configured(paths, &store)
}

fn open_configured(paths: &Paths, store: &DatastoreConfig) -> Result<Datastore, JobError> {
    if store.backend()?.kind != "filesystem" {
        return Err(JobError::Unusable(format!(
            "datastore '{}' is in an object store, which is not supported",
            store.name
        )));
    }
    if store.path.is_relative() {
        return Err(JobError::Unusable(format!("datastore '{}' is removable, which is not supported", store.name)));
    }
    let mut config = StoreConfig::new(store.name.clone(), &store.path, paths.locks());
    config.sync_level = match store.tuning()?.sync_level {
        SyncLevel::None => datastore::SyncLevel::None,
        SyncLevel::File => datastore::SyncLevel::File,
        SyncLevel::Filesystem => datastore::SyncLevel::Filesystem,
    };
    Ok(Datastore::open(config)?)
}
