//! Our datastore beside the recorded server.

use datastore::fixtures::TestStore;
use formats::{BackupTime, DataBlob, GroupId, Manifest, Namespace, SnapshotId};
use replication::JobOptions;
use traces::{Connection, ManifestSighting, Recording, Step, Twin};

/// A datastore that is compared with recordings, or filled from them.
pub(crate) struct Local<'a> {
    store: &'a TestStore,
    twin: &'a Twin,
}

impl<'a> Local<'a> {
    pub(crate) fn new(store: &'a TestStore, twin: &'a Twin) -> Self {
        Self { store, twin }
    }

    /// Times of a group's snapshots, oldest first.
    pub(crate) fn snapshots(&self, ns: &str, group: &str) -> Vec<i64> {
        let (ns, group): (Namespace, GroupId) = (ns.parse().unwrap(), group.parse().unwrap());
        let entries = self.store.store().snapshots(&ns, &group).unwrap();
        let mut times: Vec<i64> = entries.into_iter().map(|entry| entry.id.time.unix()).collect();
        times.sort_unstable();
        times
    }

    /// Every snapshot that was read in the step is here, file by file and chunk by chunk.
    pub(crate) async fn expect_everything_read_in(&self, recording: &Recording, step: &Step, options: &JobOptions) {
        let store = self.store.store();
        for sighting in self.sightings(recording, step) {
            let snapshot = self.twin.snapshot(&sighting.json);
            let ns: Namespace = sighting.ns.parse().unwrap();
            let ns = ns.map_prefix(&options.source_ns, &options.target_ns).unwrap();
            let (manifest, _) = store.manifest(&ns, &snapshot.id).unwrap();
            assert_eq!(manifest, snapshot.manifest, "{}", step.name);
            for (name, bytes) in &snapshot.files {
                assert_eq!(
                    store.read_file(&ns, &snapshot.id, name).unwrap(),
                    bytes.as_ref(),
                    "{} of {}",
                    name,
                    snapshot.id
                );
            }
            for chunk in &snapshot.chunks {
                let stored = store.chunks().read(&chunk.digest).await.unwrap();
                assert_eq!(stored.to_bytes(), chunk.blob.to_bytes(), "chunk {} of {}", chunk.digest, snapshot.id);
            }
        }
    }

    /// Brings the datastore to what the pushing server had: what it sent in the step and before, without what vanished.
    pub(crate) async fn prepare_source(&self, recording: &Recording, step: &Step) {
        for sighting in self.sightings(recording, step) {
            // The pushed copy went into another namespace.
            let ns = if step.command.contains("--remote-ns enc") { "" } else { sighting.ns.as_str() };
            self.put(recording, &ns.parse().unwrap(), sighting).await;
        }
        let store = self.store.store();
        for exchange in step.connections.iter().flat_map(|connection| &connection.exchanges) {
            if exchange.method != "DELETE" {
                continue;
            }
            let ns: Namespace = exchange.param("ns").unwrap_or_default().parse().unwrap();
            let group = exchange
                .param("backup-id")
                .map(|id| -> GroupId { format!("{}/{id}", exchange.param("backup-type").unwrap()).parse().unwrap() });
            match (group, exchange.param("backup-time")) {
                (Some(group), Some(time)) => {
                    let time = BackupTime::from_unix(time.parse().unwrap()).unwrap();
                    store.remove_snapshot(&ns, &SnapshotId::new(group, time), true).unwrap();
                }
                (Some(group), None) => drop(store.remove_group(&ns, &group).unwrap()),
                (None, _) => drop(store.remove_namespace(&ns, true).unwrap()),
            }
        }
    }

    /// Manifests that the step moved.
    fn sightings<'b>(&'b self, recording: &'b Recording, step: &'b Step) -> impl Iterator<Item = &'b ManifestSighting> {
        let here = |connection: &Connection, sighting: &ManifestSighting| connection.number == sighting.connection;
        self.twin.contents().manifests.iter().filter(move |sighting| {
            let in_step = step.connections.iter().any(|connection| here(connection, sighting));
            // What a push reads from its target is the past.
            let moved = sighting.served != step.command.contains(" push ");
            sighting.recording == recording.name && in_step && moved
        })
    }

    async fn put(&self, recording: &Recording, ns: &Namespace, sighting: &ManifestSighting) {
        let store = self.store.store();
        let snapshot = self.twin.snapshot(&sighting.json);
        if store.snapshot_exists(ns, &snapshot.id).unwrap() {
            let known: Manifest = store.manifest(ns, &snapshot.id).unwrap().0;
            assert_eq!(known, snapshot.manifest);
            return;
        }
        store.create_namespace_path(ns).unwrap();
        for chunk in &snapshot.chunks {
            store.chunks().insert(&chunk.digest, chunk.blob.clone()).await.unwrap();
        }
        let _writing = store.begin_writing().unwrap();
        let (group, ..) = store.lock_or_create_group(ns, &snapshot.id.group, &"root@pam!t1".parse().unwrap()).unwrap();
        let staged = store.stage(ns, &snapshot.id, &group).unwrap();
        for (name, bytes) in &snapshot.files {
            staged.write_file(name, bytes).unwrap();
        }
        staged.commit(&snapshot.manifest.to_blob().unwrap()).unwrap();
        let session = recording.connections().find(|connection| connection.number == sighting.connection).unwrap();
        let log = session.session().find(|one| one.param("file-name").as_deref() == Some(formats::CLIENT_LOG_NAME));
        if let Some(body) = log.and_then(|upload| upload.body.as_ref()) {
            // A stock push sends the log wrapped into another blob.
            let wrapped = DataBlob::parse(self.twin.blob_like(body).unwrap()).unwrap();
            let log = DataBlob::parse(wrapped.decode(None, 1 << 20).unwrap()).unwrap();
            store.store_client_log(ns, &snapshot.id, &log).unwrap();
        }
    }
}
