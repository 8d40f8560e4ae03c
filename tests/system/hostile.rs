//! A source that lies: the snapshot is refused with an error that names it, the rest goes on, nothing bad shows.
//!
//! Our own server sends what its disk holds, so a damaged disk is a lying source. Lies of the transport (bodies that
//! never end, that stop short, answers that never come) are the client's own tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use formats::{DataBlob, Manifest};
use serde_json::Value;

use crate::site::{Server, Site, count, noise};

const BAD: &str = "host/bad/2023-11-14T22:13:20Z";

/// A source with one good and one bad group, and a target.
struct Scene {
    source: Site,
    target: Site,
    secret: String,
    store: PathBuf,
    server: Option<Server>,
}

impl Scene {
    fn new() -> Self {
        let (source, target) = (Site::new(), Site::new());
        let store = source.datastore("src");
        source.back_up("src", "host/bad", 1_700_000_000, "drive", &noise(1, 9 << 20));
        source.back_up("src", "host/good", 1_700_000_000, "drive", &noise(2, 9 << 20));
        target.datastore("dst");
        let secret = source.token("sync", "DatastoreReader", "/datastore/src");
        Self { source, target, secret, store, server: None }
    }

    fn snapshot(&self) -> PathBuf {
        self.store.join(BAD)
    }

    /// A chunk file of the bad snapshot.
    fn chunk(&self) -> PathBuf {
        let index = formats::Index::parse_any(fs::read(self.snapshot().join("drive.img.fidx")).unwrap()).unwrap();
        let digest = index.entry(1).unwrap().digest.to_string();
        self.store.join(".chunks").join(&digest[..4]).join(digest)
    }

    /// Rewrites the bad snapshot's manifest as JSON.
    fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let path = self.snapshot().join("index.json.blob");
        let blob = DataBlob::parse(fs::read(&path).unwrap()).unwrap();
        let mut json: Value = serde_json::from_slice(&blob.decode(None, 1 << 20).unwrap()).unwrap();
        change(&mut json);
        let changed = DataBlob::encode(json.to_string().as_bytes(), true, None).unwrap();
        fs::write(path, changed.as_bytes()).unwrap();
    }

    /// Pulls, and asserts that only the good group arrived, with an error that names the bad snapshot.
    #[track_caller]
    fn refuses(mut self) {
        let server = self.source.serve();
        self.target.remote("peer", server.address, "sync@pbs!run", &self.secret, &self.source.fingerprint());
        self.server = Some(server);

        let said = self.target.words("pull peer src dst");

        let report = said.json();
        assert_eq!(self.target.snapshots("dst", ""), ["host/good/1700000000"], "{said:#?}");
        assert_eq!((said.code, count(&report, "snapshots-copied")), (Some(1), 1), "{said:#?}");
        let errors = report["errors"].to_string();
        assert!(errors.contains("host/bad"), "{errors}");
        self.target.run(["snapshot", "verify", "dst"]).well();
        assert!(!self.target.path("evil.blob").exists());
        assert_no_bad_chunk(&self.target.path("dst"));
    }
}

/// Asserts that every chunk in the store is whole.
#[track_caller]
fn assert_no_bad_chunk(store: &Path) {
    for directory in fs::read_dir(store.join(".chunks")).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let blob = DataBlob::parse(fs::read(&path).unwrap()).unwrap();
            let plain = blob.decode(None, formats::MAX_CHUNK_PLAIN).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(formats::ChunkDigest::of(&plain).to_string(), name);
        }
    }
}

#[test]
fn a_chunk_with_other_content() {
    let scene = Scene::new();
    let other = DataBlob::encode(&noise(9, 4 << 20), true, None).unwrap();
    fs::write(scene.chunk(), other.as_bytes()).unwrap();
    scene.refuses();
}

#[test]
fn a_truncated_chunk() {
    let scene = Scene::new();
    let bytes = fs::read(scene.chunk()).unwrap();
    fs::write(scene.chunk(), &bytes[..bytes.len() / 2]).unwrap();
    scene.refuses();
}

#[test]
fn a_chunk_that_is_not_there() {
    let scene = Scene::new();
    fs::remove_file(scene.chunk()).unwrap();
    scene.refuses();
}

#[test]
fn an_index_that_disagrees_with_the_manifest() {
    let scene = Scene::new();
    let path = scene.snapshot().join("drive.img.fidx");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
    scene.refuses();
}

#[test]
fn an_index_cut_short() {
    let scene = Scene::new();
    let path = scene.snapshot().join("drive.img.fidx");
    let bytes = fs::read(&path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
    scene.refuses();
}

#[test]
fn a_manifest_with_a_path_for_a_file_name() {
    let scene = Scene::new();
    fs::write(scene.store.join("evil.blob"), DataBlob::encode(b"evil", false, None).unwrap().as_bytes()).unwrap();
    scene.change_manifest(|json| json["files"][0]["filename"] = "../../../evil.blob".into());
    scene.refuses();
}

#[test]
fn a_manifest_that_names_a_file_which_is_not_there() {
    let scene = Scene::new();
    fs::remove_file(scene.snapshot().join("drive.img.fidx")).unwrap();
    scene.refuses();
}

#[test]
fn a_manifest_of_another_snapshot() {
    let scene = Scene::new();
    scene.change_manifest(|json| json["backup-id"] = "good".into());
    scene.refuses();
}

#[test]
fn a_manifest_that_is_no_manifest() {
    let scene = Scene::new();
    let nonsense = DataBlob::encode(b"{}", true, None).unwrap();
    assert!(Manifest::parse_blob(&nonsense).is_err());
    fs::write(scene.snapshot().join("index.json.blob"), nonsense.as_bytes()).unwrap();
    scene.refuses();
}
