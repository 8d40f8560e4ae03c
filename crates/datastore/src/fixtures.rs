//! Real datastores in temporary directories, for the tests of this and other crates.
//!
//! Chunk directories are made as they are needed, so a store costs a millisecond.

use std::path::Path;

use formats::{
    ArchiveKind, ArchiveName, BackupTime, ChunkDigest, CryptKey, CryptMode, DataBlob, DynamicIndexWriter,
    FIXED_CHUNK_SIZE, FileInfo, FixedIndexWriter, GroupId, IndexBytes, Manifest, Namespace, SnapshotId, sha256,
};

use crate::chunks::FsChunkStore;
use crate::files::Ownership;
use crate::store::{Datastore, StoreConfig, SyncLevel};
use crate::{CreateOptions, Result};

/// Who owns the groups that fixtures make.
pub const FIXTURE_OWNER: &str = "root@pam";

/// Plain bytes of the chunks that dynamic fixtures are cut into.
const DYNAMIC_CHUNK: usize = 64 << 10;

/// A datastore in a temporary directory, removed when dropped.
#[derive(Debug)]
pub struct TestStore {
    dir: tempfile::TempDir,
    store: Datastore,
}

impl TestStore {
    /// Makes an empty datastore.
    ///
    /// # Panics
    /// When the name is none or the temporary directory cannot be written.
    pub fn new(name: &str) -> Self {
        Self::with_sync_level(name, SyncLevel::None)
    }

    /// Makes an empty datastore of a sync level.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_sync_level(name: &str, sync_level: SyncLevel) -> Self {
        let dir = must(tempfile::tempdir(), "make a temporary directory");
        let path = dir.path().join("store");
        let options = CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() };
        must(Datastore::create(&path, &options), "create a datastore");
        let name = must(name.parse(), "parse the store name");
        let config = StoreConfig { name, path, locks: dir.path().join("locks"), sync_level };
        let store = must(Datastore::open(config), "open the datastore");
        Self { dir, store }
    }

    /// The datastore. Clone it for code that wants to own one.
    pub fn store(&self) -> &Datastore {
        &self.store
    }

    /// The datastore's root directory.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// The directory that holds the lock directories of datastores.
    pub fn locks(&self) -> std::path::PathBuf {
        self.dir.path().join("locks")
    }

    /// Stores a finished snapshot with the given files, named as a user names them: `x.img` becomes a fixed index, `x.conf` a
    /// blob, `x.pxar` a dynamic index. Makes the namespace and the group (owned by [`FIXTURE_OWNER`]).
    ///
    /// # Panics
    /// When a name is none or something cannot be stored.
    pub fn backup(&self, ns: &str, group: &str, time: i64, files: &[(&str, &[u8])]) -> SnapshotId {
        self.store_snapshot(ns, group, time, files, Crypt::None)
    }

    /// As [`backup`](Self::backup), encrypted and signed.
    ///
    /// # Panics
    /// As [`backup`](Self::backup).
    pub fn encrypted_backup(
        &self,
        ns: &str,
        group: &str,
        time: i64,
        files: &[(&str, &[u8])],
        key: &CryptKey,
    ) -> SnapshotId {
        self.store_snapshot(ns, group, time, files, Crypt::Encrypt(key))
    }

    /// As [`backup`](Self::backup), signed only.
    ///
    /// # Panics
    /// As [`backup`](Self::backup).
    pub fn signed_backup(
        &self,
        ns: &str,
        group: &str,
        time: i64,
        files: &[(&str, &[u8])],
        key: &CryptKey,
    ) -> SnapshotId {
        self.store_snapshot(ns, group, time, files, Crypt::Sign(key))
    }

    /// Reads an archive back as its plain bytes.
    ///
    /// # Panics
    /// When it is not there or broken.
    pub fn content(&self, ns: &str, snapshot: &SnapshotId, name: &str, key: Option<&CryptKey>) -> Vec<u8> {
        let ns: Namespace = must(ns.parse(), "parse the namespace");
        let name = must(ArchiveName::from_user_name(name), "parse the archive name");
        if name.kind() == ArchiveKind::Blob {
            let blob = must(self.store.read_file(&ns, snapshot, &name), "read the blob");
            let blob = must(DataBlob::parse(blob), "parse the blob");
            return must(blob.decode(key, formats::MAX_BLOB_PLAIN), "decode the blob");
        }
        let index = must(self.store.index(&ns, snapshot, &name), "read the index");
        let mut content = Vec::new();
        for entry in index.entries() {
            let bytes = must(std::fs::read(self.chunk_path(&entry.digest)), "read a chunk");
            let blob = must(DataBlob::parse(bytes), "parse a chunk");
            content.extend(must(blob.decode_chunk(&entry.digest, entry.len(), key), "decode a chunk"));
        }
        content
    }

    /// Where a chunk's file is.
    pub fn chunk_path(&self, digest: &ChunkDigest) -> std::path::PathBuf {
        let hex = digest.to_string();
        self.path().join(".chunks").join(&hex[..4]).join(&hex)
    }

    fn store_snapshot(
        &self,
        ns: &str,
        group: &str,
        time: i64,
        files: &[(&str, &[u8])],
        crypt: Crypt<'_>,
    ) -> SnapshotId {
        let ns: Namespace = must(ns.parse(), "parse the namespace");
        let group: GroupId = must(group.parse(), "parse the group");
        let id = SnapshotId { group, time: must(BackupTime::from_unix(time), "make the time") };
        must(self.try_store(&ns, &id, files, crypt), "store the snapshot");
        id
    }

    fn try_store(&self, ns: &Namespace, id: &SnapshotId, files: &[(&str, &[u8])], crypt: Crypt<'_>) -> Result<()> {
        self.store.create_namespace_path(ns)?;
        let _guard = self.store.begin_writing()?;
        let owner = must(FIXTURE_OWNER.parse(), "parse the owner");
        let (group, _, _) = self.store.lock_or_create_group(ns, &id.group, &owner)?;
        let staged = self.store.stage(ns, id, &group)?;
        let mut manifest = Manifest::new(id.clone());
        for (name, content) in files {
            let name = must(ArchiveName::from_user_name(name), "parse the archive name");
            let (bytes, size, csum) = self.archive(&name, content, crypt)?;
            staged.write_file(&name, &bytes)?;
            manifest.files.push(FileInfo { filename: name, crypt_mode: crypt.mode(), size, csum });
        }
        if let Crypt::Encrypt(key) | Crypt::Sign(key) = crypt {
            manifest.sign(key);
        }
        staged.commit(&must(manifest.to_blob(), "encode the manifest"))
    }

    /// Returns a file's bytes with the size and checksum for its manifest.
    fn archive(&self, name: &ArchiveName, content: &[u8], crypt: Crypt<'_>) -> Result<(Vec<u8>, u64, [u8; 32])> {
        let (uuid, ctime) = ([7; 16], 1_700_000_000);
        let index: IndexBytes = match name.kind() {
            ArchiveKind::Blob => {
                let blob = must(DataBlob::encode(content, true, crypt.key()), "encode a blob");
                let bytes = blob.as_bytes().to_vec();
                let (size, csum) = (bytes.len() as u64, sha256(&bytes));
                return Ok((bytes, size, csum));
            }
            ArchiveKind::Fixed => {
                let size = content.len() as u64;
                let mut writer =
                    must(FixedIndexWriter::new(uuid, ctime, Some(size), FIXED_CHUNK_SIZE), "begin a fixed index");
                let chunk_size = must(usize::try_from(FIXED_CHUNK_SIZE), "use the chunk size");
                for (position, plain) in (0..).zip(content.chunks(chunk_size)) {
                    let digest = self.put_chunk(plain, crypt)?;
                    must(writer.set(position, digest, plain.len() as u64), "set a chunk");
                }
                must(writer.finish(), "finish a fixed index")
            }
            ArchiveKind::Dynamic => {
                let mut writer = DynamicIndexWriter::new(uuid, ctime);
                for plain in content.chunks(DYNAMIC_CHUNK) {
                    let digest = self.put_chunk(plain, crypt)?;
                    must(writer.push(digest, writer.end() + plain.len() as u64), "push a chunk");
                }
                must(writer.finish(), "finish a dynamic index")
            }
        };
        Ok((index.bytes, index.size, index.csum))
    }

    fn put_chunk(&self, plain: &[u8], crypt: Crypt<'_>) -> Result<ChunkDigest> {
        let digest = crypt.key().map_or_else(|| ChunkDigest::of(plain), |key| key.digest(plain));
        let blob = must(DataBlob::encode(plain, true, crypt.key()), "encode a chunk");
        let chunks = FsChunkStore::new(self.path(), self.store.sync_level(), Ownership::default());
        chunks.insert_now(&digest, &blob)?;
        Ok(digest)
    }
}

#[derive(Clone, Copy)]
enum Crypt<'a> {
    None,
    Sign(&'a CryptKey),
    Encrypt(&'a CryptKey),
}

impl<'a> Crypt<'a> {
    fn mode(self) -> CryptMode {
        match self {
            Self::None => CryptMode::None,
            Self::Sign(_) => CryptMode::SignOnly,
            Self::Encrypt(_) => CryptMode::Encrypt,
        }
    }

    /// The key that data is encrypted with.
    fn key(self) -> Option<&'a CryptKey> {
        match self {
            Self::Encrypt(key) => Some(key),
            Self::None | Self::Sign(_) => None,
        }
    }
}

/// Bytes that do not compress and repeat for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut counter = 0_u64;
    while bytes.len() < len {
        let mut block = seed.to_le_bytes().to_vec();
        block.extend(counter.to_le_bytes());
        bytes.extend(sha256(&block));
        counter += 1;
    }
    bytes.truncate(len);
    bytes
}

/// A fixture that cannot be made is a broken test.
fn must<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("fixture: cannot {what}: {e}"),
    }
}
