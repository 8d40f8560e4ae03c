//! One datastore: where it is, how durable it writes, and its doors.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use formats::{GroupId, Namespace, SnapshotId, StoreName, lock_path};

use crate::chunks::{ChunkStore, FsChunkStore};
use crate::error::{DatastoreError, Result};
use crate::files::{self, Durability, NAME_MAX, Ownership};
use crate::locks::{Writer, WriterGuard, writers};

/// How hard a datastore tries to survive a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncLevel {
    /// Not at all.
    None,
    /// Each chunk, index and blob is synced as it is written, the manifest last.
    File,
    /// The whole file system is synced once per snapshot, before the manifest gets its name.
    #[default]
    Filesystem,
}

impl SyncLevel {
    /// The durability of chunks, indexes and blobs as they are written one by one.
    pub(crate) fn each_file(self) -> Durability {
        if self == Self::File { Durability::Synced } else { Durability::Lazy }
    }

    /// The durability of single files that replace an existing one: manifest edits, owners, notes.
    pub(crate) fn replaced_file(self) -> Durability {
        if self == Self::None { Durability::Lazy } else { Durability::Synced }
    }
}

impl FromStr for SyncLevel {
    type Err = DatastoreError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "file" => Ok(Self::File),
            "filesystem" => Ok(Self::Filesystem),
            _ => Err(DatastoreError::Refused(format!("`{text}` is no sync level: none, file or filesystem"))),
        }
    }
}

impl fmt::Display for SyncLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::File => "file",
            Self::Filesystem => "filesystem",
        })
    }
}

/// What it takes to open a datastore.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Its name; object locks go by it.
    pub name: StoreName,
    /// Its root directory.
    pub path: PathBuf,
    /// The directory that holds one lock directory per datastore (`/run/proxmox-backup/locks` beside a Proxmox Backup Server).
    pub locks: PathBuf,
    /// How hard to try to survive a loss of power.
    pub sync_level: SyncLevel,
}

impl StoreConfig {
    /// A configuration with the default sync level.
    pub fn new(name: StoreName, path: impl Into<PathBuf>, locks: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into(), locks: locks.into(), sync_level: SyncLevel::default() }
    }
}

/// Sizes of the file system that holds a datastore, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsUsage {
    /// All of it.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Free for us.
    pub avail: u64,
}

/// An open datastore. Cheap to clone.
#[derive(Clone)]
pub struct Datastore {
    inner: Arc<Inner>,
}

struct Inner {
    config: StoreConfig,
    owner: Ownership,
    chunks: Arc<dyn ChunkStore>,
}

impl fmt::Debug for Datastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datastore").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Datastore {
    /// Opens an existing datastore.
    ///
    /// # Errors
    /// When the path holds none (a missing mount, for example), or the host still uses the object locks of old
    /// Proxmox Backup Server versions, which exclude nobody who locks files.
    pub fn open(config: StoreConfig) -> Result<Self> {
        for (path, what) in [(config.path.clone(), "directory"), (config.path.join(".chunks"), "chunk directory")] {
            if !files::dir_exists(&follow(&path))? {
                let reason = format!("datastore `{}` has no {what} here (not mounted?)", config.name);
                return Err(DatastoreError::Unsuitable { path, reason });
            }
        }
        if let Some(flag) = config.locks.parent().map(|run| run.join("old-locking"))
            && files::exists(&flag)?
        {
            let reason = "the Proxmox Backup Server of this host uses old locks until its next reboot".to_owned();
            return Err(DatastoreError::Unsuitable { path: flag, reason });
        }
        let owner = Ownership::of(&config.path)?;
        let chunks = Arc::new(FsChunkStore::new(&config.path, config.sync_level, owner));
        Ok(Self { inner: Arc::new(Inner { config, owner, chunks }) })
    }

    /// The datastore's name.
    pub fn name(&self) -> &StoreName {
        &self.inner.config.name
    }

    /// The datastore's root directory.
    pub fn path(&self) -> &Path {
        &self.inner.config.path
    }

    /// How hard the datastore tries to survive a loss of power.
    pub fn sync_level(&self) -> SyncLevel {
        self.inner.config.sync_level
    }

    /// The chunks.
    pub fn chunks(&self) -> &Arc<dyn ChunkStore> {
        &self.inner.chunks
    }

    /// Declares this process a writer, until the guard is dropped.
    ///
    /// Hold it from before the first chunk is looked for until the last snapshot written is committed, and no longer: a
    /// garbage collection of a Proxmox Backup Server cannot start meanwhile.
    ///
    /// # Errors
    /// [`Busy`](DatastoreError::Busy) while a garbage collection of another program runs.
    pub fn begin_writing(&self) -> Result<WriterGuard> {
        WriterGuard::new(self.path(), &self.lock_dir().join(".writers"), self.owner_of_files())
    }

    /// The running writers of all processes, the oldest first.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn writers(&self) -> Result<Vec<Writer>> {
        writers::running(&self.lock_dir().join(".writers"))
    }

    /// Sizes of the file system.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn status(&self) -> Result<FsUsage> {
        let stat = nix::sys::statvfs::statvfs(self.path())
            .map_err(|e| DatastoreError::io("examine the file system of", self.path(), e))?;
        let unit = stat.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(unit);
        Ok(FsUsage {
            total: bytes(stat.blocks()),
            used: bytes(stat.blocks().saturating_sub(stat.blocks_free())),
            avail: bytes(stat.blocks_available()),
        })
    }

    pub(crate) fn owner_of_files(&self) -> Ownership {
        self.inner.owner
    }

    pub(crate) fn namespace_dir(&self, ns: &Namespace) -> PathBuf {
        join(self.path(), &ns.dir_path())
    }

    pub(crate) fn group_dir(&self, ns: &Namespace, group: &GroupId) -> PathBuf {
        self.namespace_dir(ns).join(group.dir_path())
    }

    pub(crate) fn snapshot_dir(&self, ns: &Namespace, snapshot: &SnapshotId) -> PathBuf {
        self.namespace_dir(ns).join(snapshot.dir_path())
    }

    fn lock_dir(&self) -> PathBuf {
        self.inner.config.locks.join(self.name().as_str())
    }

    /// The lock file of an object, checked to fit into the file system's name length.
    pub(crate) fn lock_file(&self, ns: &Namespace, object: &str) -> Result<PathBuf> {
        let path = lock_path(ns, object);
        for part in &path {
            if part.len() > NAME_MAX {
                return Err(DatastoreError::NameTooLong { name: format!("{ns}/{object}"), len: part.len() });
            }
        }
        Ok(self.lock_dir().join(path))
    }

    /// Words for a group in messages.
    pub(crate) fn group_text(&self, ns: &Namespace, group: &GroupId) -> String {
        format!("group {}", self.place(ns, group))
    }

    /// Words for a snapshot in messages.
    pub(crate) fn snapshot_text(&self, ns: &Namespace, snapshot: &SnapshotId) -> String {
        format!("snapshot {}", self.place(ns, snapshot))
    }

    fn place(&self, ns: &Namespace, object: &impl fmt::Display) -> String {
        if ns.is_root() { format!("{}:{object}", self.name()) } else { format!("{}:{ns}/{object}", self.name()) }
    }
}

/// The same place, where a symbolic link at the end of the path is followed when it is looked at.
pub(crate) fn follow(path: &Path) -> PathBuf {
    path.join(".")
}

/// `Path::join` without the trailing slash that joining nothing leaves.
fn join(root: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) }
}
