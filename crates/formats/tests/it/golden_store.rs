//! The golden datastore unpacked, with its snapshots opened.

use std::fs;
use std::path::PathBuf;

use formats::{ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Index, KeyFile, Manifest, SnapshotId};
use golden::{Dirs, ExpectedSnapshot};
use tempfile::TempDir;

/// The unpacked datastore and the key of its encrypted snapshots.
pub(crate) struct Store {
    pub(crate) key: CryptKey,
    dir: TempDir,
}

/// One snapshot: what is expected of it and what its manifest says.
pub(crate) struct Snapshot {
    pub(crate) expected: ExpectedSnapshot,
    pub(crate) manifest: Manifest,
    dir: PathBuf,
}

impl Store {
    pub(crate) fn unpack() -> Self {
        let dir = tempfile::tempdir().unwrap();
        golden::unpack(dir.path(), Dirs::Lazy).unwrap();
        let key = KeyFile::parse(golden::key_file()).unwrap().unlock(None).unwrap();
        Self { key, dir }
    }

    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let open = |expected: ExpectedSnapshot| {
            let dir = self.dir.path().join(expected.dir_path());
            let blob = DataBlob::parse(fs::read(dir.join(formats::MANIFEST_NAME)).unwrap()).unwrap();
            let manifest = Manifest::parse_blob(&blob).unwrap();
            assert_eq!(manifest.snapshot(), expected.snapshot.parse::<SnapshotId>().unwrap());
            Snapshot { expected, manifest, dir }
        };
        golden::expected().unwrap().into_iter().map(open).collect()
    }

    pub(crate) fn chunk(&self, digest: &ChunkDigest) -> DataBlob {
        let path = self.dir.path().join(".chunks").join(digest.dir_name()).join(digest.to_string());
        DataBlob::parse(fs::read(path).unwrap()).unwrap()
    }

    /// Every chunk file's name.
    pub(crate) fn chunks(&self) -> Vec<ChunkDigest> {
        let dirs = fs::read_dir(self.dir.path().join(".chunks")).unwrap();
        let files = dirs.flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// The key of a file's chunks.
    pub(crate) fn key_of(&self, file: &FileInfo) -> Option<&CryptKey> {
        (file.crypt_mode == CryptMode::Encrypt).then_some(&self.key)
    }

    /// Every file of every snapshot, manifests included, by its bytes.
    pub(crate) fn snapshot_files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.snapshots().into_iter().flat_map(|snapshot| {
            let read = |name: String| (name.clone(), snapshot.read(&name));
            snapshot.expected.files.iter().map(|file| read(file.name.clone())).collect::<Vec<_>>()
        });
        files.collect()
    }
}

impl Snapshot {
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.join(name)).unwrap()
    }

    /// The indexes with their manifest entries.
    pub(crate) fn indexes(&self) -> Vec<(&FileInfo, Index)> {
        let index = |file| Index::parse(FileInfo::kind(file), self.read(file.filename.as_str())).ok();
        self.manifest.files.iter().filter_map(|file| Some((file, index(file)?))).collect()
    }
}
