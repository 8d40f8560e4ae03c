use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use api_types::protocol::{KNOWN_CHUNKS, LISTING_FINGERPRINT, MAX_KNOWN_CHUNKS};
use api_types::{
    DataStoreListItem, DataStoreStatus, DeleteStats, GroupListItem, ListingFingerprintAnswer, NamespaceListItem,
    PermissionMap, ReleaseVersion, SnapshotListItem, VersionInfo,
};
use bytes::Bytes;
use formats::{AuthId, ChunkDigest, GroupId, ListingFingerprint, Namespace, SnapshotId, StoreName};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    ClientError, Credentials, ProtocolError, Proxy, ReaderSession, RemoteAddress, ShownCertificate, Timeouts, Traffic,
    Trust, WriterSession, call::Call, connect::Connector, rest::Rest,
};

/// A backup server, reached over the network under one identity.
///
/// Cheap to clone; clones share login and connections. Nothing is sent before the first call, which also logs in.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    rest: Rest,
    version: OnceCell<VersionInfo>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.inner.rest.peer;
        f.debug_struct("Remote").field("address", &peer.address).field("auth_id", &peer.auth_id).finish_non_exhaustive()
    }
}

impl Remote {
    /// Makes a remote with the usual [`Timeouts`]. Reads this system's root certificates, which takes milliseconds.
    ///
    /// # Errors
    /// [`ClientError::Resolve`] when the host can be no host name.
    pub fn new(
        address: RemoteAddress,
        credentials: Credentials,
        trust: Trust,
        traffic: Arc<Traffic>,
    ) -> Result<Self, ClientError> {
        Self::with_timeouts(address, credentials, trust, traffic, Timeouts::default())
    }

    /// Makes a remote that waits as long as `timeouts` says.
    ///
    /// # Errors
    /// As [`Remote::new`].
    pub fn with_timeouts(
        address: RemoteAddress,
        credentials: Credentials,
        trust: Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        Self::through(None, address, credentials, trust, traffic, timeouts)
    }

    /// Makes a remote that is reached through `proxy`.
    ///
    /// # Errors
    /// As [`Remote::new`].
    pub fn through(
        proxy: Option<Proxy>,
        address: RemoteAddress,
        credentials: Credentials,
        trust: Trust,
        traffic: Arc<Traffic>,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        let connector = Connector::new(address.clone(), &trust, traffic, timeouts, proxy)?;
        let rest = Rest::new(address, credentials, connector, timeouts)?;
        Ok(Self { inner: Arc::new(Inner { rest, version: OnceCell::new() }) })
    }

    /// Returns where the server is.
    pub fn address(&self) -> &RemoteAddress {
        &self.inner.rest.peer.address
    }

    /// Returns who we are there: the owner of the groups we create.
    pub fn auth_id(&self) -> &AuthId {
        &self.inner.rest.peer.auth_id
    }

    /// Opens a connection, without a login, and keeps it for the first call.
    ///
    /// # Errors
    /// Whatever keeps a connection from standing, down to the certificate.
    pub async fn connect(&self) -> Result<(), ClientError> {
        self.inner.rest.connect().await
    }

    /// Returns the certificate the server showed last; none before the first connection.
    pub fn certificate(&self) -> Option<ShownCertificate> {
        self.inner.rest.certificate()
    }

    /// Asks for the server's version, and returns its clock as well, to the second, if it says what time it is.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn version_and_time(&self) -> Result<(VersionInfo, Option<SystemTime>), ClientError> {
        self.inner.rest.json_and_time(&version_call()).await
    }

    /// Asks what we may do there, on all paths or on one: per path, each privilege and whether it reaches below.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn permissions(&self, path: Option<&str>) -> Result<PermissionMap, ClientError> {
        self.inner.rest.json(&Call::get("/access/permissions").query_some("path", path)).await
    }

    /// Asks for the server's version.
    ///
    /// # Errors
    /// As every call here: [`ClientError`] tells connection, identity, right and protocol apart.
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        self.inner.rest.json(&version_call()).await
    }

    /// Returns the server's version for comparisons, asked for once.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when it is not made of numbers.
    pub async fn release(&self) -> Result<ReleaseVersion, ClientError> {
        let peer = &self.inner.rest.peer;
        let info = self.known_version().await?;
        info.release().map_err(|error| peer.protocol(&version_call(), ProtocolError::Version(error)))
    }

    /// Tells whether the server has one of our own extensions, such as
    /// [`KNOWN_CHUNKS`](api_types::protocol::KNOWN_CHUNKS). A stock server has none.
    ///
    /// # Errors
    /// See [`Remote::version`], which is asked once.
    pub async fn offers(&self, extension: &str) -> Result<bool, ClientError> {
        Ok(self.known_version().await?.offers(extension))
    }

    async fn known_version(&self) -> Result<&VersionInfo, ClientError> {
        self.inner.version.get_or_try_init(|| self.version()).await
    }

    /// Asks for the fingerprint of what [`Remote::namespaces`], [`Remote::groups`] and [`Remote::snapshots`] would list of
    /// `below` and the namespaces in it, at most `max_depth` levels deeper.
    ///
    /// Only a server with the extension [`LISTING_FINGERPRINT`](api_types::protocol::LISTING_FINGERPRINT) knows this call.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the namespace does not exist.
    pub async fn listing_fingerprint(
        &self,
        store: &StoreName,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<ListingFingerprint, ClientError> {
        let call = Call::get(self::below(store, LISTING_FINGERPRINT))
            .query_some("max-depth", max_depth)
            .query_some("ns", not_root(below));
        let answer: ListingFingerprintAnswer = self.inner.rest.json(&call).await?;
        Ok(answer.fingerprint)
    }

    /// Asks which chunks a writer session of ours would be let refer to without uploading them: the plain length in bytes
    /// of each, in the order given, or `None`. Opens no session and keeps nothing: an answer for a forecast.
    ///
    /// Only a server with the extension [`KNOWN_CHUNKS`](api_types::protocol::KNOWN_CHUNKS) knows this call.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the answer has another length than the question.
    pub async fn known_chunks(
        &self,
        store: &StoreName,
        digests: &[ChunkDigest],
    ) -> Result<Vec<Option<u64>>, ClientError> {
        let mut known = Vec::with_capacity(digests.len());
        for batch in digests.chunks(MAX_KNOWN_CHUNKS) {
            let list: Vec<Value> = batch.iter().map(|digest| digest.to_string().into()).collect();
            let call = Call::post(self::below(store, KNOWN_CHUNKS))
                .json(&BTreeMap::from([("digest-list", Value::from(list))]));
            let lengths: Vec<Option<u64>> = self.inner.rest.json(&call).await?;
            if lengths.len() != batch.len() {
                let (asked, answered) = (batch.len(), lengths.len());
                return Err(self.inner.rest.peer.protocol(&call, ProtocolError::OtherCount { asked, answered }));
            }
            known.extend(lengths);
        }
        Ok(known)
    }

    /// Lists the datastores we may see.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn datastores(&self) -> Result<Vec<DataStoreListItem>, ClientError> {
        self.inner.rest.json(&Call::get("/admin/datastore")).await
    }

    /// Asks for a datastore's size.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn datastore_status(&self, store: &StoreName) -> Result<DataStoreStatus, ClientError> {
        self.inner.rest.json(&Call::get(below(store, "status"))).await
    }

    /// Lists `parent` and the namespaces below it, at most `max_depth` levels deep.
    ///
    /// A parent that does not exist is listed all the same; only [`Remote::groups`] and [`Remote::snapshots`] tell.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn namespaces(
        &self,
        store: &StoreName,
        parent: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Vec<NamespaceListItem>, ClientError> {
        let call = Call::get(below(store, "namespace"))
            .query_some("max-depth", max_depth)
            .query_some("parent", not_root(parent));
        self.inner.rest.json(&call).await
    }

    /// Lists the groups of one namespace.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the namespace does not exist.
    pub async fn groups(&self, store: &StoreName, ns: &Namespace) -> Result<Vec<GroupListItem>, ClientError> {
        self.inner.rest.json(&Call::get(below(store, "groups")).query_some("ns", not_root(ns))).await
    }

    /// Lists the snapshots of one namespace, or of one group in it; an unknown group has none. The order is free.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the namespace does not exist.
    pub async fn snapshots(
        &self,
        store: &StoreName,
        ns: &Namespace,
        group: Option<&GroupId>,
    ) -> Result<Vec<SnapshotListItem>, ClientError> {
        let mut call = Call::get(below(store, "snapshots")).query_some("ns", not_root(ns));
        if let Some(group) = group {
            call = of_group(call, group);
        }
        self.inner.rest.json(&call).await
    }

    /// Creates `ns`, whose parent must exist; one that exists already, like the root, is no error.
    ///
    /// # Errors
    /// [`ClientError::Permission`] without the right to, [`ClientError::Api`] without the parent.
    pub async fn create_namespace(&self, store: &StoreName, ns: &Namespace) -> Result<(), ClientError> {
        let Some(name) = ns.name() else { return Ok(()) };
        let mut parameters = BTreeMap::from([("name", Value::from(name))]);
        if let Some(parent) = ns.parent().filter(|parent| !parent.is_root()) {
            parameters.insert("parent", parent.as_str().into());
        }
        let call = Call::post(below(store, "namespace")).json(&parameters);
        self.inner.rest.json::<String>(&call).await.map(drop)
    }

    /// Removes `ns` and what is below it; groups only with `delete_groups`, protected snapshots never.
    ///
    /// What could not go is no error on servers since 3.2.11, which answer with statistics; older ones give `None`.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn delete_namespace(
        &self,
        store: &StoreName,
        ns: &Namespace,
        delete_groups: bool,
    ) -> Result<Option<DeleteStats>, ClientError> {
        let call = Call::delete(below(store, "namespace")).query("delete-groups", delete_groups).query("ns", ns);
        self.delete_with_stats(call).await
    }

    /// Removes a group but for its protected snapshots; statistics as with [`Remote::delete_namespace`].
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when there is no such group.
    pub async fn delete_group(
        &self,
        store: &StoreName,
        ns: &Namespace,
        group: &GroupId,
    ) -> Result<Option<DeleteStats>, ClientError> {
        let call = of_group(Call::delete(below(store, "groups")), group).query_some("ns", not_root(ns));
        self.delete_with_stats(call).await
    }

    async fn delete_with_stats(&self, call: Call) -> Result<Option<DeleteStats>, ClientError> {
        // An older server refuses parameters it does not know.
        let knows_stats = self.release().await? >= ReleaseVersion::DELETE_STATS;
        let call = if knows_stats { call.query("error-on-protected", false) } else { call };
        self.inner.rest.json(&call).await
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when it is protected, in use or missing.
    pub async fn delete_snapshot(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<(), ClientError> {
        self.inner.rest.json(&of_snapshot(Call::delete(below(store, "snapshots")), ns, snapshot)).await
    }

    /// Reads a snapshot's notes.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn notes(&self, store: &StoreName, ns: &Namespace, snapshot: &SnapshotId) -> Result<String, ClientError> {
        self.inner.rest.json(&of_snapshot(Call::get(below(store, "notes")), ns, snapshot)).await
    }

    /// Replaces a snapshot's notes.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn set_notes(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
        notes: &str,
    ) -> Result<(), ClientError> {
        let parameters = snapshot_parameters(ns, snapshot, ("notes", notes.into()));
        self.inner.rest.json(&Call::put(below(store, "notes")).json(&parameters)).await
    }

    /// Reads a group's notes; empty when there are none, or no such group.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn group_notes(&self, store: &StoreName, ns: &Namespace, group: &GroupId) -> Result<String, ClientError> {
        let call = of_group(Call::get(below(store, "group-notes")), group).query_some("ns", not_root(ns));
        self.inner.rest.json(&call).await
    }

    /// Replaces a group's notes.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn set_group_notes(
        &self,
        store: &StoreName,
        ns: &Namespace,
        group: &GroupId,
        notes: &str,
    ) -> Result<(), ClientError> {
        let parameters = group_parameters(ns, group, ("notes", notes.into()));
        self.inner.rest.json(&Call::put(below(store, "group-notes")).json(&parameters)).await
    }

    /// Protects a snapshot from removal, or ends that.
    ///
    /// # Errors
    /// See [`Remote::version`].
    pub async fn set_protected(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), ClientError> {
        let parameters = snapshot_parameters(ns, snapshot, ("protected", protected.into()));
        self.inner.rest.json(&Call::put(below(store, "protected")).json(&parameters)).await
    }

    /// Adds the client's log, an encoded blob, to a snapshot that has none yet.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when it has one.
    pub async fn upload_client_log(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
        log: Bytes,
    ) -> Result<(), ClientError> {
        let call = of_snapshot(Call::post(below(store, "upload-backup-log")), ns, snapshot).octets(log);
        self.inner.rest.json(&call).await
    }

    /// Opens a session that reads one snapshot, on a connection of its own. The snapshot cannot be removed meanwhile.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the snapshot is missing, or the right to read it is.
    pub async fn reader(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<ReaderSession, ClientError> {
        let call = of_snapshot(Call::get("/reader"), ns, snapshot).query("debug", true).query("store", store);
        ReaderSession::open(&self.inner.rest, &call).await
    }

    /// Opens a session that writes one new snapshot, on a connection of its own. The group is locked meanwhile.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the group is busy or someone else's or has a snapshot as new as this
    /// one, [`ClientError::Permission`] without the right to write, [`ClientError::NotFound`] without the namespace.
    pub async fn writer(
        &self,
        store: &StoreName,
        ns: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<WriterSession, ClientError> {
        let call = of_snapshot(Call::get("/backup"), ns, snapshot)
            .query("benchmark", false)
            .query("debug", false)
            .query("store", store);
        WriterSession::open(&self.inner.rest, &call).await
    }
}

fn version_call() -> Call {
    Call::get("/version")
}

fn below(store: &StoreName, what: &str) -> String {
    format!("/admin/datastore/{store}/{what}")
}

/// The root is named by leaving the parameter out.
fn not_root(ns: &Namespace) -> Option<&Namespace> {
    Some(ns).filter(|ns| !ns.is_root())
}

fn of_group(call: Call, group: &GroupId) -> Call {
    call.query("backup-id", &group.id).query("backup-type", group.backup_type)
}

fn of_snapshot(call: Call, ns: &Namespace, snapshot: &SnapshotId) -> Call {
    of_group(call, &snapshot.group).query("backup-time", snapshot.time.unix()).query_some("ns", not_root(ns))
}

type Parameter = (&'static str, Value);

fn group_parameters(ns: &Namespace, group: &GroupId, extra: Parameter) -> BTreeMap<&'static str, Value> {
    let mut parameters = BTreeMap::from([
        ("backup-id", group.id.as_str().into()),
        ("backup-type", group.backup_type.as_str().into()),
        extra,
    ]);
    if let Some(ns) = not_root(ns) {
        parameters.insert("ns", ns.as_str().into());
    }
    parameters
}

fn snapshot_parameters(ns: &Namespace, snapshot: &SnapshotId, extra: Parameter) -> BTreeMap<&'static str, Value> {
    let mut parameters = group_parameters(ns, &snapshot.group, extra);
    parameters.insert("backup-time", snapshot.time.unix().into());
    parameters
}
