//! What was in the recorded stores before a step, as far as the step tells.

use std::time::Duration;

use datastore::Datastore;
use formats::{
    ArchiveKind, ArchiveName, AuthId, BackupTime, DataBlob, DynamicIndexWriter, FIXED_CHUNK_SIZE, FixedIndexWriter,
    GroupId, Manifest, Namespace, SnapshotId,
};
use serde_json::Value;
use traces::{Connection, Exchange, ManifestSighting, Recording, Step, Twin};

use crate::site::Site;
use crate::wire::PATIENCE;

/// Who owns what the recordings do not tell the owner of.
const OWNER: &str = "root@pam!t1";

/// Brings the stores to the state in which the step found them: every snapshot that it lists or reads is there with the
/// manifest and log it had, and what it does not list is gone. Groups that it lists without looking into are made up.
///
/// Groups named in `own` are those the recorded clients make themselves.
pub(crate) async fn prepare(site: &Site, twin: &Twin, recording: &Recording, step: &Step, own: &[&str]) {
    let calls = || step.connections.iter().flat_map(|connection| &connection.exchanges);
    for exchange in calls().filter(|exchange| exchange.stream.is_none() && exchange.method == "GET") {
        let Some(store) = store_of(exchange).map(|name| site.store(&name)) else { continue };
        let source = Source { store, ns: namespace_of(exchange), twin, recording, step };
        let list = exchange.data().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        match exchange.path().rsplit('/').next() {
            Some("snapshots") => source.hold_exactly(&group_of(exchange), list).await,
            Some("groups") => {
                let listed: Vec<GroupId> = list.iter().map(group_in).collect();
                for (item, group) in list.iter().zip(&listed) {
                    let looked_into = calls().any(|other| {
                        other.path().ends_with("/snapshots")
                            && namespace_of(other) == source.ns
                            && group_of(other) == *group
                    });
                    if !looked_into && !own.contains(&group.to_string().as_str()) {
                        source.make_up(group, item);
                    }
                }
                for group in source.store.groups(&source.ns).unwrap_or_default() {
                    if !listed.contains(&group) {
                        source.store.remove_group(&source.ns, &group).unwrap();
                    }
                }
            }
            Some("namespace") => {
                for item in list {
                    let ns: Namespace = item["ns"].as_str().unwrap().parse().unwrap();
                    source.store.create_namespace_path(&ns).unwrap();
                }
            }
            Some("reader") => {
                let id = snapshot_of(exchange);
                if !source.store.snapshot_exists(&source.ns, &id).unwrap() {
                    source.put(&id, &Value::Null).await;
                }
            }
            _ => {}
        }
    }
}

/// Puts chunks into the store that were there before the recorded backup, left behind by backups that nobody recorded: the
/// statistics in its manifest, as later connections saw it, tell how many. Which ones they were does not matter.
pub(crate) async fn leave_behind(site: &Site, twin: &Twin, backup: &Connection) {
    let upgrade = backup.upgrade().expect("a session has an upgrade");
    let uploads: Vec<String> = backup.session().filter_map(|exchange| exchange.param("digest")).collect();
    let (ns, snapshot) = (namespace_of(upgrade), snapshot_of(upgrade));
    let statistics = twin.contents().manifests.iter().filter_map(|sighting| {
        let stats = &sighting.json["unprotected"]["chunk_upload_stats"];
        let of_upload = sighting.served && is_of(sighting, &ns, &snapshot) && stats["count"] == uploads.len();
        of_upload.then(|| stats["duplicates"].as_u64())?
    });
    let store = site.store(&upgrade.param("store").expect("a store"));
    let (mut known, mut missing) = (0, Vec::new());
    for digest in &uploads {
        let chunk = twin.chunk(digest);
        match store.chunks().touch_or_missing(&chunk.digest).await.unwrap() {
            Some(_) => known += 1,
            None => missing.push(chunk),
        }
    }
    // Servers that got the same snapshot by sync have seen others.
    let Some(duplicates) = statistics.filter(|duplicates| *duplicates >= known).min() else { return };
    for chunk in missing.iter().take(usize::try_from(duplicates - known).unwrap()) {
        store.chunks().insert(&chunk.digest, chunk.blob.clone()).await.unwrap();
    }
}

/// Waits until the server has cleaned up after a client that died during a backup.
pub(crate) async fn wait_for_end_of_backup(site: &Site, upgrade: &Exchange) {
    let store = site.store(&upgrade.param("store").expect("a store"));
    let (ns, snapshot) = (namespace_of(upgrade), snapshot_of(upgrade));
    let waiting = async {
        while store.snapshot_exists(&ns, &snapshot).unwrap()
            || store.lock_group(&ns, &snapshot.group).is_err_and(|error| error.is_busy())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the killed backup stays");
}

/// A namespace of a store, and what is known of it.
struct Source<'a> {
    store: Datastore,
    ns: Namespace,
    twin: &'a Twin,
    recording: &'a Recording,
    step: &'a Step,
}

impl Source<'_> {
    async fn hold_exactly(&self, group: &GroupId, list: &[Value]) {
        let times: Vec<BackupTime> = list.iter().map(time_in).collect();
        for (item, time) in list.iter().zip(&times) {
            self.put(&SnapshotId::new(group.clone(), *time), item).await;
        }
        for entry in self.store.snapshots(&self.ns, group).unwrap_or_default() {
            if !times.contains(&entry.id.time) {
                self.store.remove_snapshot(&self.ns, &entry.id, true).unwrap();
            }
        }
    }

    /// Makes a snapshot, or brings its manifest and log to what the step saw.
    async fn put(&self, id: &SnapshotId, item: &Value) {
        let sighting = self.sighting(id, item);
        let snapshot = self.twin.snapshot(&sighting.json);
        if self.store.snapshot_exists(&self.ns, id).unwrap() {
            if self.store.manifest(&self.ns, id).unwrap().0 != snapshot.manifest {
                let change = |manifest: &mut Manifest| {
                    *manifest = snapshot.manifest.clone();
                    Ok(())
                };
                self.store.update_manifest(&self.ns, id, change).unwrap();
            }
        } else {
            for chunk in &snapshot.chunks {
                self.store.chunks().insert(&chunk.digest, chunk.blob.clone()).await.unwrap();
            }
            let files: Vec<_> = snapshot.files.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect();
            self.write(id, item, &files, &snapshot.manifest);
        }
        let logged =
            item["files"].as_array().into_iter().flatten().any(|file| file["filename"] == formats::CLIENT_LOG_NAME);
        let there =
            self.store.snapshot_files(&self.ns, id).unwrap().iter().any(|name| name == formats::CLIENT_LOG_NAME);
        if logged && !there {
            self.store.store_client_log(&self.ns, id, &self.client_log(id)).unwrap();
        }
    }

    /// Returns the manifest as this step saw it; else as near to it as it was seen anywhere.
    fn sighting(&self, id: &SnapshotId, item: &Value) -> &ManifestSighting {
        let connections: Vec<u64> = self.step.connections.iter().map(|connection| connection.number).collect();
        let candidates = self.twin.contents().manifests.iter().filter(|sighting| {
            is_of(sighting, &self.ns, id)
                && (item.is_null() || sighting.json["unprotected"]["notes"] == item["comment"])
        });
        let nearness = |sighting: &&ManifestSighting| {
            let here = sighting.recording == self.recording.name;
            (here && connections.contains(&sighting.connection), here, sighting.served)
        };
        candidates.max_by_key(nearness).unwrap_or_else(|| panic!("no recording has the manifest of {id} {item}"))
    }

    /// Returns the log that some step downloaded; where none did, another one.
    fn client_log(&self, id: &SnapshotId) -> DataBlob {
        let readers = self.recording.connections().filter(|connection| {
            connection.upgrade().is_some_and(|upgrade| snapshot_of(upgrade) == *id && namespace_of(upgrade) == self.ns)
        });
        let downloads = readers.flat_map(|connection| connection.session());
        let mut logs = downloads.filter(|exchange| {
            exchange.status() == Some(200) && exchange.param("file-name").as_deref() == Some(formats::CLIENT_LOG_NAME)
        });
        let body = logs.find_map(|exchange| self.twin.blob_like(&exchange.answer.as_ref()?.body));
        match body {
            Some(bytes) => DataBlob::parse(bytes).unwrap(),
            None => DataBlob::encode(b"log", false, None).unwrap(),
        }
    }

    /// Makes a group that a list describes, with as many snapshots as it counts.
    fn make_up(&self, group: &GroupId, item: &Value) {
        let (count, last) = (item["backup-count"].as_i64().unwrap(), item["last-backup"].as_i64().unwrap());
        let known = self.store.snapshots(&self.ns, group).unwrap_or_default();
        if known.len() as i64 == count && known.iter().any(|entry| entry.id.time.unix() == last) {
            return;
        }
        for entry in known {
            self.store.remove_snapshot(&self.ns, &entry.id, true).unwrap();
        }
        let names = item["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let names: Vec<ArchiveName> =
            names.filter(|name| *name != formats::MANIFEST_NAME).map(|name| name.parse().unwrap()).collect();
        for number in 0..count {
            let id = SnapshotId::new(group.clone(), BackupTime::from_unix(last - number).unwrap());
            let files: Vec<_> = names.iter().map(|name| (name.clone(), hollow(name))).collect();
            self.write(&id, item, &files, &Manifest::new(id.clone()));
        }
    }

    fn write(&self, id: &SnapshotId, item: &Value, files: &[(ArchiveName, Vec<u8>)], manifest: &Manifest) {
        self.store.create_namespace_path(&self.ns).unwrap();
        let _writing = self.store.begin_writing().unwrap();
        let owner: AuthId = item["owner"].as_str().unwrap_or(OWNER).parse().unwrap();
        let (group, ..) = self.store.lock_or_create_group(&self.ns, &id.group, &owner).unwrap();
        let staged = self.store.stage(&self.ns, id, &group).unwrap();
        for (name, bytes) in files {
            staged.write_file(name, bytes).unwrap();
        }
        staged.commit(&manifest.to_blob().unwrap()).unwrap();
    }
}

/// A file with nothing in it.
fn hollow(name: &ArchiveName) -> Vec<u8> {
    match name.kind() {
        ArchiveKind::Blob => DataBlob::encode(b"nothing", false, None).unwrap().as_bytes().to_vec(),
        ArchiveKind::Dynamic => {
            let mut writer = DynamicIndexWriter::new([1; 16], 0);
            writer.push(formats::ChunkDigest::of(b"0"), 1).unwrap();
            writer.finish().unwrap().bytes
        }
        ArchiveKind::Fixed => {
            let mut writer = FixedIndexWriter::new([1; 16], 0, Some(1), FIXED_CHUNK_SIZE).unwrap();
            writer.set(0, formats::ChunkDigest::of(b"0"), 1).unwrap();
            writer.finish().unwrap().bytes
        }
    }
}

fn is_of(sighting: &ManifestSighting, ns: &Namespace, id: &SnapshotId) -> bool {
    let (kind, name, time) = &sighting.snapshot;
    sighting.ns == ns.to_string() && *id.group.to_string() == format!("{kind}/{name}") && id.time.unix() == *time
}

/// Returns the store that a call is about.
fn store_of(exchange: &Exchange) -> Option<String> {
    let in_path = exchange.path().split("/admin/datastore/").nth(1).and_then(|rest| rest.split('/').next());
    in_path.map(str::to_owned).or_else(|| exchange.param("store"))
}

fn namespace_of(exchange: &Exchange) -> Namespace {
    exchange.param("ns").unwrap_or_default().parse().unwrap()
}

fn group_of(exchange: &Exchange) -> GroupId {
    let param = |name: &str| exchange.param(name).unwrap_or_else(|| panic!("no {name} in {}", exchange.target));
    format!("{}/{}", param("backup-type"), param("backup-id")).parse().unwrap()
}

fn snapshot_of(exchange: &Exchange) -> SnapshotId {
    let time: i64 = exchange.param("backup-time").expect("a time").parse().unwrap();
    SnapshotId::new(group_of(exchange), BackupTime::from_unix(time).unwrap())
}

fn group_in(item: &Value) -> GroupId {
    let text = |name: &str| item[name].as_str().unwrap();
    format!("{}/{}", text("backup-type"), text("backup-id")).parse().unwrap()
}

fn time_in(item: &Value) -> BackupTime {
    BackupTime::from_unix(item["backup-time"].as_i64().unwrap()).unwrap()
}
