//! Snapshots that are there: listing, reading, locking, and the small changes they allow.

use std::fs::File;
use std::time::Duration;

use formats::{
    ArchiveName, BackupTime, DataBlob, GroupId, Index, MANIFEST_NAME, MAX_BLOB_PLAIN, Manifest, Namespace, SnapshotId,
};

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind};
use crate::locks::SnapshotLock;
use crate::locks::object::{LockFile, MANIFEST_WAIT, Mode};
use crate::store::Datastore;

/// Marks a snapshot that must not be removed.
pub(crate) const PROTECTED_NAME: &str = ".protected";
/// Longest blob file: the largest header over the largest content.
const MAX_BLOB_FILE: u64 = MAX_BLOB_PLAIN as u64 + 44;
/// Longest index file read into memory: 32 million dynamic entries, about 128 TiB of data.
const MAX_INDEX_FILE: u64 = 4096 + (40 << 25);

/// A snapshot directory, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Which snapshot.
    pub id: SnapshotId,
    /// It has a manifest. Without one a backup is running or has died.
    pub finished: bool,
    /// It is protected from removal.
    pub protected: bool,
}

impl Datastore {
    /// Lists the snapshots of a group, oldest first. An unknown group has none.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn snapshots(&self, ns: &Namespace, group: &GroupId) -> Result<Vec<SnapshotEntry>> {
        let dir = self.group_dir(ns, group);
        let mut snapshots = Vec::new();
        for (name, kind) in files::list(&dir)?.unwrap_or_default() {
            let Ok(time) = name.parse::<BackupTime>() else { continue };
            if kind != EntryKind::Dir {
                continue;
            }
            let path = dir.join(&name);
            snapshots.push(SnapshotEntry {
                id: SnapshotId { group: group.clone(), time },
                finished: files::exists(&path.join(MANIFEST_NAME))?,
                protected: files::exists(&path.join(PROTECTED_NAME))?,
            });
        }
        snapshots.sort_by_key(|snapshot| snapshot.id.time);
        Ok(snapshots)
    }

    /// Tells whether a snapshot's directory exists, finished or not.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn snapshot_exists(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<bool> {
        files::dir_exists(&self.snapshot_dir(ns, snapshot))
    }

    /// Lists the names of a snapshot's indexes and blobs, the manifest included, sorted.
    ///
    /// # Errors
    /// Not found, or a directory that cannot be read.
    pub fn snapshot_files(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<Vec<String>> {
        let entries = files::list(&self.snapshot_dir(ns, snapshot))?.ok_or_else(|| self.no_snapshot(ns, snapshot))?;
        let mut names: Vec<_> = entries
            .into_iter()
            .filter(|(name, kind)| *kind == EntryKind::File && is_archive(name))
            .map(|(name, _)| name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Reads and parses a snapshot's manifest; the blob is its exact bytes.
    ///
    /// # Errors
    /// Not found (an unfinished snapshot has none); [`Corrupt`](DatastoreError::Corrupt) when it does not parse or names another
    /// snapshot than the one it lies in.
    pub fn manifest(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<(Manifest, DataBlob)> {
        let name = ArchiveName::manifest();
        let bytes = self.read_file(ns, snapshot, &name)?;
        let corrupt = |reason: String| {
            let path = self.snapshot_dir(ns, snapshot).join(name.as_str());
            DatastoreError::Corrupt { path, reason }
        };
        let blob = DataBlob::parse(bytes).map_err(|e| corrupt(e.to_string()))?;
        let manifest = Manifest::parse_blob(&blob).map_err(|e| corrupt(e.to_string()))?;
        let named = manifest.snapshot();
        if named != *snapshot {
            return Err(corrupt(format!("is the manifest of {named}")));
        }
        Ok((manifest, blob))
    }

    /// Reads a whole file of a snapshot.
    ///
    /// # Errors
    /// Not found; longer than such a file can be; disk errors.
    pub fn read_file(&self, ns: &Namespace, snapshot: &SnapshotId, name: &ArchiveName) -> Result<Vec<u8>> {
        let path = self.snapshot_dir(ns, snapshot).join(name.as_str());
        files::read(&path, max_len(name))?.ok_or_else(|| self.no_file(ns, snapshot, name))
    }

    /// Opens a file of a snapshot for reading.
    ///
    /// # Errors
    /// Not found; something that is no regular file.
    pub fn open_file(&self, ns: &Namespace, snapshot: &SnapshotId, name: &ArchiveName) -> Result<File> {
        let path = self.snapshot_dir(ns, snapshot).join(name.as_str());
        files::open_regular(&path)?.map(|(file, _)| file).ok_or_else(|| self.no_file(ns, snapshot, name))
    }

    /// Reads and parses an index of a snapshot.
    ///
    /// # Errors
    /// Not found; [`Corrupt`](DatastoreError::Corrupt) when it does not parse.
    pub fn index(&self, ns: &Namespace, snapshot: &SnapshotId, name: &ArchiveName) -> Result<Index> {
        let bytes = self.read_file(ns, snapshot, name)?;
        Index::parse(name.kind(), bytes).map_err(|e| DatastoreError::Corrupt {
            path: self.snapshot_dir(ns, snapshot).join(name.as_str()),
            reason: e.to_string(),
        })
    }

    /// Locks a snapshot for reading, together with other readers; it cannot be removed meanwhile. Does not wait.
    ///
    /// # Errors
    /// Not found, or [`Busy`](DatastoreError::Busy) while it is written or removed.
    pub fn lock_snapshot_shared(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<SnapshotLock> {
        self.lock_snapshot(ns, snapshot, Mode::Shared)
    }

    /// Locks a snapshot alone. Does not wait.
    ///
    /// # Errors
    /// Not found, or [`Busy`](DatastoreError::Busy) while anybody reads, writes or removes it.
    pub fn lock_snapshot_exclusive(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<SnapshotLock> {
        self.lock_snapshot(ns, snapshot, Mode::Exclusive)
    }

    fn lock_snapshot(&self, ns: &Namespace, snapshot: &SnapshotId, mode: Mode) -> Result<SnapshotLock> {
        self.require_snapshot(ns, snapshot)?;
        let lock = self.lock_snapshot_file(ns, snapshot, mode)?;
        // It may have been removed between the look and the lock.
        if let Err(gone) = self.require_snapshot(ns, snapshot) {
            if mode == Mode::Exclusive {
                lock.file.unlink()?;
            }
            return Err(gone);
        }
        Ok(lock)
    }

    /// Locks a snapshot that need not exist yet.
    pub(crate) fn lock_snapshot_file(&self, ns: &Namespace, snapshot: &SnapshotId, mode: Mode) -> Result<SnapshotLock> {
        let path = self.lock_file(ns, &snapshot.to_string())?;
        let what = self.snapshot_text(ns, snapshot);
        let file = LockFile::acquire(&path, mode, Duration::ZERO, &what, self.owner_of_files())?;
        Ok(SnapshotLock { file, namespace: ns.clone(), snapshot: snapshot.clone() })
    }

    /// Locks a snapshot's manifest, waiting a few seconds for another change to end.
    pub(crate) fn lock_manifest(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<LockFile> {
        let path = self.lock_file(ns, &format!("{snapshot}/.index.json.lck"))?;
        let what = format!("the manifest of {}", self.snapshot_text(ns, snapshot));
        LockFile::acquire(&path, Mode::Exclusive, MANIFEST_WAIT, &what, self.owner_of_files())
    }

    /// Changes a snapshot's manifest under its lock and replaces it atomically.
    ///
    /// For what a finished snapshot allows: notes, verification state, upload statistics. Returns what `change` returns; when it
    /// fails nothing is written.
    ///
    /// # Errors
    /// Not found; a manifest that does not parse; [`Busy`](DatastoreError::Busy) after 5 seconds; what `change` answers.
    pub fn update_manifest<T>(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotId,
        change: impl FnOnce(&mut Manifest) -> Result<T>,
    ) -> Result<T> {
        self.require_snapshot(ns, snapshot)?;
        let _lock = self.lock_manifest(ns, snapshot)?;
        let (mut manifest, _) = self.manifest(ns, snapshot)?;
        let result = change(&mut manifest)?;
        let path = self.snapshot_dir(ns, snapshot).join(MANIFEST_NAME);
        let blob =
            manifest.to_blob().map_err(|e| DatastoreError::Corrupt { path: path.clone(), reason: e.to_string() })?;
        self.replace_small(&path, blob.as_bytes())?;
        Ok(result)
    }

    /// Tells whether a snapshot is protected from removal.
    ///
    /// # Errors
    /// Not found, or a directory that cannot be looked at.
    pub fn protected(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<bool> {
        self.require_snapshot(ns, snapshot)?;
        files::exists(&self.snapshot_dir(ns, snapshot).join(PROTECTED_NAME))
    }

    /// Protects a snapshot from removal, or lifts that, under its exclusive lock.
    ///
    /// # Errors
    /// Not found, or [`Busy`](DatastoreError::Busy).
    pub fn set_protected(&self, ns: &Namespace, snapshot: &SnapshotId, protected: bool) -> Result<()> {
        let _lock = self.lock_snapshot_exclusive(ns, snapshot)?;
        let path = self.snapshot_dir(ns, snapshot).join(PROTECTED_NAME);
        if protected {
            return self.replace_small(&path, b"");
        }
        files::remove_file(&path).map(drop)
    }

    /// Stores the client's log, once, after the backup has finished.
    ///
    /// # Errors
    /// Not found; already exists.
    pub fn store_client_log(&self, ns: &Namespace, snapshot: &SnapshotId, log: &DataBlob) -> Result<()> {
        self.require_snapshot(ns, snapshot)?;
        let name = ArchiveName::client_log();
        let path = self.snapshot_dir(ns, snapshot).join(name.as_str());
        if files::exists(&path)? {
            let what = format!("{name} of {}", self.snapshot_text(ns, snapshot));
            return Err(DatastoreError::AlreadyExists { what });
        }
        self.replace_small(&path, log.as_bytes())
    }

    pub(crate) fn require_snapshot(&self, ns: &Namespace, snapshot: &SnapshotId) -> Result<()> {
        if self.snapshot_exists(ns, snapshot)? { Ok(()) } else { Err(self.no_snapshot(ns, snapshot)) }
    }

    fn no_snapshot(&self, ns: &Namespace, snapshot: &SnapshotId) -> DatastoreError {
        DatastoreError::NotFound { what: self.snapshot_text(ns, snapshot) }
    }

    fn no_file(&self, ns: &Namespace, snapshot: &SnapshotId, name: &ArchiveName) -> DatastoreError {
        DatastoreError::NotFound { what: format!("file {name} of {}", self.snapshot_text(ns, snapshot)) }
    }
}

/// The most bytes a file of this name can have.
pub(crate) fn max_len(name: &ArchiveName) -> u64 {
    match name.kind() {
        formats::ArchiveKind::Blob => MAX_BLOB_FILE,
        formats::ArchiveKind::Fixed | formats::ArchiveKind::Dynamic => MAX_INDEX_FILE,
    }
}

/// Names that a listing shows: whatever ends like an index or blob.
fn is_archive(name: &str) -> bool {
    [".fidx", ".didx", ".blob"].iter().any(|ending| name.ends_with(ending))
}
