//! Both ends in memory, for tests: the same promises as a real datastore, kept more strictly.
//!
//! A chunk that is put unasked, twice, or with wrong content is an error here; so is an archive finished before its
//! chunks are there, and a manifest committed before its files are. A real end may let such things pass; the engine may
//! not do them.

mod source;
mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, AuthId, BackupTime, ChunkDigest, CryptKey, CryptMode, DataBlob, DynamicIndexWriter,
    FileInfo, FixedIndexWriter, GroupId, Index, Manifest, Namespace, SnapshotId, VerifyResult, sha256,
};

use crate::error::EndError;
use crate::notes::ListedNotes;
use crate::traits::SnapshotInfo;

/// A way in which a source can lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Chunks are good blobs with other content.
    WrongContent,
    /// The second half of a chunk is missing.
    TruncatedChunk,
    /// Chunks are encrypted although their file is not.
    EncryptedChunk,
    /// The last digest of an index is changed.
    BadIndex,
    /// An index is shorter than its manifest says.
    ShortIndex,
    /// A blob has one byte changed.
    BadBlob,
    /// Files of the manifest are not there.
    MissingFile,
    /// Chunks are not delivered at all.
    Silence,
    /// The manifest is that of another snapshot.
    OtherManifest,
    /// An index gives its first chunk a wrong length; checksum and manifest agree with it.
    WrongLength,
}

/// A datastore in memory; clones are the same one.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    /// Calls left before the store dies, for clones made by [`MemoryStore::dying_after`].
    lives: Option<Arc<AtomicU64>>,
    /// Calls left before one call fails, for clones made by [`MemoryStore::stumbling_after`].
    stumble: Option<Arc<AtomicU64>>,
    lie: Option<Lie>,
    remote: bool,
}

#[derive(Debug, Default)]
struct State {
    namespaces: BTreeMap<Namespace, BTreeMap<GroupId, Group>>,
    chunks: HashMap<ChunkDigest, DataBlob>,
    /// Groups somebody writes in.
    locked: BTreeSet<(Namespace, GroupId)>,
    fetched: u64,
    put: u64,
}

#[derive(Clone, Debug)]
struct Group {
    owner: AuthId,
    notes: String,
    snapshots: BTreeMap<BackupTime, Snapshot>,
}

#[derive(Clone, Debug, Default)]
struct Snapshot {
    files: BTreeMap<ArchiveName, Bytes>,
    manifest: Option<DataBlob>,
    log: Option<Bytes>,
    protected: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Makes an empty store that has a root namespace.
    pub fn new() -> Self {
        let mut state = State::default();
        state.namespaces.insert(Namespace::root(), BTreeMap::new());
        Self { state: Arc::new(Mutex::new(state)), lives: None, stumble: None, lie: None, remote: false }
    }

    /// The same store, which answers `calls` calls and is dead from then on.
    #[must_use]
    pub fn dying_after(&self, calls: u64) -> Self {
        Self { lives: Some(Arc::new(AtomicU64::new(calls))), ..self.clone() }
    }

    /// The same store, to which the connection breaks once, after `calls` calls.
    #[must_use]
    pub fn stumbling_after(&self, calls: u64) -> Self {
        Self { stumble: Some(Arc::new(AtomicU64::new(calls))), ..self.clone() }
    }

    /// The same store, lying to whoever reads it.
    #[must_use]
    pub fn lying(&self, lie: Lie) -> Self {
        Self { lie: Some(lie), ..self.clone() }
    }

    /// The same store, behaving as a remote does when it is written to: sessions share no chunks, an unfinished
    /// snapshot is thrown away, and a finished one is never changed.
    #[must_use]
    pub fn as_remote(&self) -> Self {
        Self { remote: true, ..self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; a dead store answers none.
    fn call(&self) -> Result<(), EndError> {
        if let Some(stumble) = &self.stumble
            && stumble.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.wrapping_sub(1))) == Ok(0)
        {
            return Err(EndError::retry("the connection broke"));
        }
        let Some(lives) = &self.lives else { return Ok(()) };
        let alive = lives.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if alive { Ok(()) } else { Err(EndError::retry("the store died")) }
    }

    /// Makes a namespace with its parents.
    pub fn namespace(&self, namespace: &str) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        self.lock().make_namespace(&namespace);
        self
    }

    /// Adds a finished snapshot of `root@pam`: `files` are names with their contents, one slice per chunk.
    pub fn backup(&self, namespace: &str, group: &str, time: i64, files: &[(&str, &[&[u8]])]) -> &Self {
        self.back_up(namespace, group, time, files, None)
    }

    /// Adds a finished snapshot whose every file is encrypted with `key`, which signs it too. Equal contents have equal
    /// chunk names; blobs differ each time.
    pub fn encrypted_backup(
        &self,
        namespace: &str,
        group: &str,
        time: i64,
        files: &[(&str, &[&[u8]])],
        key: &CryptKey,
    ) -> &Self {
        self.back_up(namespace, group, time, files, Some(key))
    }

    fn back_up(
        &self,
        namespace: &str,
        group: &str,
        time: i64,
        files: &[(&str, &[&[u8]])],
        key: Option<&CryptKey>,
    ) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        let group: GroupId = group.parse().expect("a group");
        let id = SnapshotId::new(group, BackupTime::from_unix(time).expect("a time"));
        let mut state = self.lock();
        let mut manifest = Manifest::new(id.clone());
        let mut snapshot = Snapshot::default();
        for (name, parts) in files {
            let name: ArchiveName = name.parse().expect("an archive name");
            let (bytes, size, csum) = state.file(&name, parts, key);
            let crypt_mode = if key.is_some() { CryptMode::Encrypt } else { CryptMode::None };
            manifest.files.push(FileInfo { filename: name.clone(), crypt_mode, size, csum });
            snapshot.files.insert(name, bytes);
        }
        if let Some(key) = key {
            manifest.sign(key);
        }
        snapshot.manifest = Some(manifest.to_blob().expect("a manifest"));
        state.make_namespace(&namespace);
        state.group(&namespace, &id.group).snapshots.insert(id.time, snapshot);
        drop(state);
        self
    }

    /// Adds a snapshot without manifest.
    pub fn unfinished(&self, namespace: &str, group: &str, time: i64) -> &Self {
        self.edit(namespace, group, time, |_| {})
    }

    /// Protects a snapshot.
    pub fn protect(&self, namespace: &str, group: &str, time: i64) -> &Self {
        self.edit(namespace, group, time, |snapshot| snapshot.protected = true)
    }

    /// Gives a snapshot a log.
    pub fn log(&self, namespace: &str, group: &str, time: i64, text: &[u8]) -> &Self {
        let blob = DataBlob::encode(text, false, None).expect("a blob");
        self.edit(namespace, group, time, |snapshot| snapshot.log = Some(blob.into_bytes()))
    }

    /// Changes a snapshot's manifest.
    pub fn manifest(&self, namespace: &str, group: &str, time: i64, change: impl FnOnce(&mut Manifest)) -> &Self {
        self.edit(namespace, group, time, |snapshot| {
            let blob = snapshot.manifest.as_ref().expect("a finished snapshot");
            let mut manifest = Manifest::parse_blob(blob).expect("a manifest");
            change(&mut manifest);
            snapshot.manifest = Some(manifest.to_blob().expect("a manifest"));
        })
    }

    /// Shows a snapshot's manifest.
    pub fn look(&self, namespace: &str, group: &str, time: i64, look: impl FnOnce(&Manifest)) -> &Self {
        self.edit(namespace, group, time, |snapshot| {
            let blob = snapshot.manifest.as_ref().expect("a finished snapshot");
            look(&Manifest::parse_blob(blob).expect("a manifest"));
        })
    }

    /// Replaces a snapshot's manifest by a blob that is none.
    pub fn spoil_manifest(&self, namespace: &str, group: &str, time: i64) -> &Self {
        let blob = DataBlob::encode(b"no manifest", false, None).expect("a blob");
        self.edit(namespace, group, time, |snapshot| snapshot.manifest = Some(blob))
    }

    /// Gives a group to another owner.
    pub fn own(&self, namespace: &str, group: &str, owner: &str) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        let group: GroupId = group.parse().expect("a group");
        self.lock().group(&namespace, &group).owner = owner.parse().expect("an owner");
        self
    }

    /// Gives a group notes.
    pub fn annotate(&self, namespace: &str, group: &str, notes: &str) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        let group: GroupId = group.parse().expect("a group");
        notes.clone_into(&mut self.lock().group(&namespace, &group).notes);
        self
    }

    /// Notes of a group.
    pub fn group_notes(&self, namespace: &str, group: &str) -> Option<String> {
        let (namespace, group): (Namespace, GroupId) = (namespace.parse().ok()?, group.parse().ok()?);
        self.lock().namespaces.get(&namespace)?.get(&group).map(|group| group.notes.clone())
    }

    /// Whether a snapshot is protected.
    pub fn is_protected(&self, namespace: &str, group: &str, time: i64) -> bool {
        let mut protected = false;
        self.edit(namespace, group, time, |snapshot| protected = snapshot.protected);
        protected
    }

    /// Damages a stored chunk without changing its length or name.
    pub fn spoil_chunk(&self, plain: &[u8]) -> &Self {
        let digest = ChunkDigest::of(plain);
        let other = DataBlob::encode(&vec![0xee; plain.len()], false, None).expect("a blob");
        self.lock().chunks.insert(digest, other);
        self
    }

    /// Returns a stored chunk.
    pub fn encrypted_chunk(&self, digest: &ChunkDigest) -> Option<DataBlob> {
        self.lock().chunks.get(digest).cloned()
    }

    /// Puts another chunk in the place of a stored one.
    pub fn replace_chunk(&self, digest: ChunkDigest, blob: DataBlob) -> &Self {
        self.lock().chunks.insert(digest, blob);
        self
    }

    /// Moves a file between two snapshots of a group, past their manifests.
    pub fn move_file(&self, namespace: &str, group: &str, (from, to): (i64, i64), name: &str) -> &Self {
        let name: ArchiveName = name.parse().expect("an archive name");
        let mut file = None;
        self.edit(namespace, group, from, |snapshot| file = snapshot.files.remove(&name));
        self.edit(namespace, group, to, |snapshot| {
            snapshot.files.insert(name, file.expect("a file"));
        })
    }

    /// Takes a snapshot away.
    pub fn forget(&self, namespace: &str, group: &str, time: i64) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        let group: GroupId = group.parse().expect("a group");
        let time = BackupTime::from_unix(time).expect("a time");
        let mut state = self.lock();
        if let Some(groups) = state.namespaces.get_mut(&namespace)
            && let Some(entry) = groups.get_mut(&group)
        {
            entry.snapshots.remove(&time);
            if entry.snapshots.is_empty() {
                groups.remove(&group);
            }
        }
        drop(state);
        self
    }

    fn edit(&self, namespace: &str, group: &str, time: i64, change: impl FnOnce(&mut Snapshot)) -> &Self {
        let namespace: Namespace = namespace.parse().expect("a namespace");
        let group: GroupId = group.parse().expect("a group");
        let time = BackupTime::from_unix(time).expect("a time");
        let mut state = self.lock();
        state.make_namespace(&namespace);
        change(state.group(&namespace, &group).snapshots.entry(time).or_default());
        drop(state);
        self
    }

    /// Lists finished snapshots, one line each: `vm/100 1`, below a namespace `a/b vm/100 1`.
    pub fn finished(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }

    /// Returns every finished snapshot with all its stored bytes: files, manifest, log.
    pub fn contents(&self) -> BTreeMap<String, BTreeMap<String, Bytes>> {
        let mut contents = BTreeMap::new();
        for (namespace, groups) in &self.lock().namespaces {
            for (id, group) in groups {
                for (time, snapshot) in &group.snapshots {
                    let Some(manifest) = &snapshot.manifest else { continue };
                    let mut files: BTreeMap<String, Bytes> =
                        snapshot.files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect();
                    files.insert("manifest".to_owned(), manifest.to_bytes());
                    files.extend(snapshot.log.clone().map(|log| ("log".to_owned(), log)));
                    let line = crate::inventory::place(namespace, format!("{id} {}", time.unix()));
                    contents.insert(line, files);
                }
            }
        }
        contents
    }

    /// Checks every finished snapshot: all files of the manifest with their checksums, all chunks with their digests.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let state = self.lock();
        for groups in state.namespaces.values() {
            for (id, group) in groups {
                for (time, snapshot) in &group.snapshots {
                    if let Some(manifest) = &snapshot.manifest {
                        let at = format!("{id} {}", time.unix());
                        state.check_snapshot(manifest, &snapshot.files).map_err(|wrong| format!("{at}: {wrong}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Chunks handed out so far.
    pub fn chunks_fetched(&self) -> u64 {
        self.lock().fetched
    }

    /// Chunks taken in so far.
    pub fn chunks_put(&self) -> u64 {
        self.lock().put
    }

    /// Chunks stored.
    pub fn chunks_stored(&self) -> usize {
        self.lock().chunks.len()
    }

    /// Owner of a group.
    pub fn owner(&self, namespace: &str, group: &str) -> Option<AuthId> {
        let (namespace, group): (Namespace, GroupId) = (namespace.parse().ok()?, group.parse().ok()?);
        self.lock().namespaces.get(&namespace)?.get(&group).map(|group| group.owner.clone())
    }

    /// All namespaces.
    pub fn all_namespaces(&self) -> Vec<String> {
        self.lock().namespaces.keys().map(ToString::to_string).collect()
    }
}

impl State {
    fn make_namespace(&mut self, namespace: &Namespace) {
        if let Some(parent) = namespace.parent() {
            self.make_namespace(&parent);
        }
        self.namespaces.entry(namespace.clone()).or_default();
    }

    fn group(&mut self, namespace: &Namespace, group: &GroupId) -> &mut Group {
        self.namespaces.entry(namespace.clone()).or_default().entry(group.clone()).or_insert_with(|| Group {
            owner: "root@pam".parse().expect("an owner"),
            notes: String::new(),
            snapshots: BTreeMap::new(),
        })
    }

    /// Makes a file of `parts`, storing its chunks, and returns it with size and checksum for the manifest.
    fn file(&mut self, name: &ArchiveName, parts: &[&[u8]], key: Option<&CryptKey>) -> (Bytes, u64, [u8; 32]) {
        if name.kind() == ArchiveKind::Blob {
            let bytes = DataBlob::encode(&parts.concat(), true, key).expect("a blob").into_bytes();
            let (size, csum) = (bytes.len() as u64, sha256(&bytes));
            return (bytes, size, csum);
        }
        let name_of = |part: &[u8]| key.map_or_else(|| ChunkDigest::of(part), |key| key.digest(part));
        for part in parts {
            let blob = DataBlob::encode(part, true, key).expect("a chunk");
            self.chunks.insert(name_of(part), blob);
        }
        let index =
            index_of(name.kind(), &parts.iter().map(|part| (name_of(part), part.len() as u64)).collect::<Vec<_>>());
        let parsed = Index::parse(name.kind(), index.clone()).expect("an index");
        (index, parsed.size(), parsed.csum())
    }

    fn check_snapshot(&self, manifest: &DataBlob, files: &BTreeMap<ArchiveName, Bytes>) -> Result<(), String> {
        let manifest = Manifest::parse_blob(manifest).map_err(|error| error.to_string())?;
        for info in &manifest.files {
            let bytes = files.get(&info.filename).ok_or(format!("{} is missing", info.filename))?;
            if !matches_info(info, bytes) {
                return Err(format!("{} differs from the manifest", info.filename));
            }
            if info.filename.kind() != ArchiveKind::Blob {
                self.check_chunks(info.filename.kind(), bytes)?;
            }
        }
        Ok(())
    }

    fn check_chunks(&self, kind: ArchiveKind, index: &Bytes) -> Result<(), String> {
        let index = Index::parse(kind, index.clone()).map_err(|error| error.to_string())?;
        for entry in index.entries() {
            let blob = self.chunks.get(&entry.digest).ok_or(format!("chunk {} is missing", entry.digest))?;
            blob.verify_chunk(&entry.digest, entry.end - entry.start, None).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Makes an index file of digests and lengths.
fn index_of(kind: ArchiveKind, chunks: &[(ChunkDigest, u64)]) -> Bytes {
    let uuid = [7; 16];
    if kind == ArchiveKind::Dynamic {
        let (mut writer, mut end) = (DynamicIndexWriter::new(uuid, 1), 0);
        for (digest, len) in chunks {
            end += len;
            writer.push(*digest, end).expect("increasing ends");
        }
        return Bytes::from(writer.finish().expect("an index").bytes);
    }
    let size = chunks.iter().map(|(_, len)| len).sum();
    let chunk_size = chunks.first().map_or(4096, |(_, len)| *len);
    let mut writer = FixedIndexWriter::new(uuid, 1, Some(size), chunk_size).expect("a chunk size");
    for (position, (digest, len)) in chunks.iter().enumerate() {
        writer.set(position as u64, *digest, *len).expect("a position");
    }
    Bytes::from(writer.finish().expect("a complete index").bytes)
}

fn matches_info(info: &FileInfo, bytes: &Bytes) -> bool {
    if info.filename.kind() == ArchiveKind::Blob {
        return bytes.len() as u64 == info.size && sha256(bytes) == info.csum;
    }
    Index::parse(info.filename.kind(), bytes.clone())
        .is_ok_and(|index| index.size() == info.size && index.csum() == info.csum)
}

fn describe(id: SnapshotId, snapshot: &Snapshot) -> SnapshotInfo {
    let mut info = SnapshotInfo::finished(id);
    info.protected = snapshot.protected;
    info.finished = snapshot.manifest.is_some();
    if let Some(blob) = &snapshot.manifest {
        match Manifest::parse_blob(blob) {
            Ok(manifest) => {
                info.verified = manifest.verify_state().map(|state| state.state);
                info.fully_encrypted = manifest.is_fully_encrypted();
                info.notes = ListedNotes::whole(manifest.notes().unwrap_or_default());
                info.size = Some(manifest.files.iter().map(|file| file.size).sum());
            }
            Err(_) => info.manifest_unreadable = true,
        }
    }
    info
}

/// A verify state for tests.
pub fn verify_state(state: VerifyResult) -> formats::VerifyState {
    let upid = "UPID:here:00000001:00000002:00000003:61000000:verify:store:root@pam:".parse().expect("a task id");
    formats::VerifyState { upid, state }
}
