//! Chunks as files: `.chunks/<first 4 hex digits>/<64 hex digits>`.
//!
//! Test, write and setting aside of one chunk exclude each other within the process. Between processes the rename decides: writing
//! one chunk twice is harmless.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use formats::{ChunkDigest, CryptKey, DataBlob, MAX_CHUNK_ENCODED, MAX_CHUNK_PLAIN};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::decide::{Action, Existing, Head, decide};
use super::{ChunkStore, Inserted};
use crate::create::CHUNKS_MODE;
use crate::error::{DatastoreError, Result};
use crate::files::{self, Durability, Ownership, TempFile};
use crate::store::SyncLevel;

const CHUNK_FILE_MODE: u32 = 0o644;
/// Locks within the process, chosen by digest: enough that writers on a few cores seldom meet.
const STRIPES: usize = 64;
/// Digests touched in one go on a blocking thread; a few milliseconds of work.
const TOUCH_BATCH: usize = 2048;

/// The chunk store of a datastore on a file system. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FsChunkStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    dir: PathBuf,
    sync_level: SyncLevel,
    owner: Ownership,
    stripes: [Mutex<()>; STRIPES],
}

impl FsChunkStore {
    pub(crate) fn new(root: &Path, sync_level: SyncLevel, owner: Ownership) -> Self {
        let stripes = std::array::from_fn(|_| Mutex::new(()));
        let inner = Inner { root: root.to_owned(), dir: root.join(".chunks"), sync_level, owner, stripes };
        Self { inner: Arc::new(inner) }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        crate::blocking(move || work(&inner)).await
    }

    /// [`ChunkStore::insert`] on the calling thread.
    #[cfg(any(test, feature = "fixtures"))]
    pub(crate) fn insert_now(&self, digest: &ChunkDigest, blob: &DataBlob) -> Result<Inserted> {
        self.inner.insert(digest, blob)
    }
}

#[async_trait]
impl ChunkStore for FsChunkStore {
    async fn touch_or_missing(&self, digest: &ChunkDigest) -> Result<Option<u64>> {
        let digest = *digest;
        self.blocking(move |inner| inner.touch_locked(&digest)).await
    }

    async fn insert(&self, digest: &ChunkDigest, blob: DataBlob) -> Result<Inserted> {
        let digest = *digest;
        self.blocking(move |inner| inner.insert(&digest, &blob)).await
    }

    async fn read(&self, digest: &ChunkDigest) -> Result<DataBlob> {
        let digest = *digest;
        self.blocking(move |inner| inner.read(&digest)).await
    }

    async fn stored_len(&self, digest: &ChunkDigest) -> Result<Option<u64>> {
        let digest = *digest;
        self.blocking(move |inner| inner.stored_len(&digest)).await
    }

    async fn touch_many(&self, digests: Vec<ChunkDigest>) -> Result<Vec<bool>> {
        let mut present = Vec::with_capacity(digests.len());
        for batch in digests.chunks(TOUCH_BATCH) {
            let batch = batch.to_vec();
            let found = self
                .blocking(move |inner| {
                    batch.iter().map(|digest| Ok(inner.touch_locked(digest)?.is_some())).collect::<Result<Vec<_>>>()
                })
                .await?;
            present.extend(found);
        }
        Ok(present)
    }

    async fn set_aside(&self, digest: &ChunkDigest, key: Option<&CryptKey>) -> Result<Option<PathBuf>> {
        let (digest, key) = (*digest, key.cloned());
        self.blocking(move |inner| inner.set_aside(&digest, key.as_ref())).await
    }
}

impl Inner {
    fn chunk_path(&self, digest: &ChunkDigest) -> PathBuf {
        let hex = digest.to_string();
        let mut path = self.dir.join(&hex[..4]);
        path.push(hex);
        path
    }

    fn stripe(&self, digest: &ChunkDigest) -> MutexGuard<'_, ()> {
        let at = usize::from(digest.as_bytes()[0]) % STRIPES;
        // The mutex guards no data, so a panic elsewhere leaves nothing broken behind.
        self.stripes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch_locked(&self, digest: &ChunkDigest) -> Result<Option<u64>> {
        let _stripe = self.stripe(digest);
        self.touch(&self.chunk_path(digest))
    }

    /// Sets the access time to now, then returns the length; `None` when there is no file or an empty one.
    fn touch(&self, path: &Path) -> Result<Option<u64>> {
        match utimensat(AT_FDCWD, path, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_OMIT, UtimensatFlags::NoFollowSymlink) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::EPERM | Errno::EACCES) => return Err(self.not_owner(path)),
            Err(e) => return Err(DatastoreError::io("set the access time of", path, e)),
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                Err(DatastoreError::Corrupt { path: path.to_owned(), reason: "is not a regular file".to_owned() })
            }
            Ok(meta) => Ok((meta.len() > 0).then_some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DatastoreError::io("examine", path, e)),
        }
    }

    /// A sweep moves chunks away for a moment, so what is not there is looked for twice.
    fn stored_len(&self, digest: &ChunkDigest) -> Result<Option<u64>> {
        let path = self.chunk_path(digest);
        let found = match look(&path)? {
            Existing::Nothing => look(&path)?,
            found => found,
        };
        match found {
            Existing::Nothing => Ok(None),
            Existing::File { len, .. } => Ok((len > 0).then_some(len)),
            Existing::NotRegular => Err(DatastoreError::Corrupt { path, reason: "is not a regular file".to_owned() }),
        }
    }

    fn not_owner(&self, path: &Path) -> DatastoreError {
        let owner = match fs::metadata(&self.root) {
            Ok(meta) => format!("{}:{}", meta.uid(), meta.gid()),
            Err(_) => "backup:backup".to_owned(),
        };
        DatastoreError::NotOwner { path: path.to_owned(), root: self.root.clone(), owner }
    }

    fn insert(&self, digest: &ChunkDigest, blob: &DataBlob) -> Result<Inserted> {
        let path = self.chunk_path(digest);
        let len = blob.encoded_len();
        let _stripe = self.stripe(digest);
        let mut existing = look(&path)?;
        let action = match decide(existing, blob.kind(), len) {
            Action::ReadHead => {
                if let Existing::File { len, .. } = existing {
                    existing = Existing::File { len, head: read_head(&path)? };
                }
                decide(existing, blob.kind(), len)
            }
            action => action,
        };
        match action {
            Action::Conflict(reason) => return Err(DatastoreError::ChunkConflict { digest: *digest, reason }),
            Action::Touch => {
                // Nothing there any more: swept between the look and the touch, so it is new after all.
                if let Some(stored) = self.touch(&path)? {
                    return Ok(Inserted::Duplicate(stored));
                }
            }
            Action::WriteOverEmpty => {
                tracing::warn!(%digest, "found an empty chunk file, left by a loss of power; writing it again");
            }
            Action::Write | Action::ReadHead => {}
        }
        self.write(&path, blob)?;
        Ok(Inserted::New(len))
    }

    fn write(&self, path: &Path, blob: &DataBlob) -> Result<()> {
        let durability = self.sync_level.each_file();
        let temp = || TempFile::write(path, blob.as_bytes(), CHUNK_FILE_MODE, self.owner, durability);
        let dir = path.parent().unwrap_or(&self.dir);
        let temp = match temp() {
            Err(DatastoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                // Never more than this one level: a missing `.chunks` is a missing mount.
                files::make_dir(dir, CHUNKS_MODE, self.owner)?;
                if durability == Durability::Synced {
                    files::sync_dir(&self.dir)?;
                }
                temp()?
            }
            written => written?,
        };
        temp.publish(path)?;
        if durability == Durability::Synced {
            files::sync_dir(dir)?;
        }
        Ok(())
    }

    fn read(&self, digest: &ChunkDigest) -> Result<DataBlob> {
        let path = self.chunk_path(digest);
        // A sweep moves chunks away for a moment and puts those back that turn out to be in use.
        let found = match read_file(&path, digest)? {
            None => read_file(&path, digest)?,
            found => found,
        };
        let (bytes, _) = found.ok_or(DatastoreError::ChunkMissing(*digest))?;
        DataBlob::parse(bytes).map_err(|e| DatastoreError::ChunkCorrupt { digest: *digest, reason: e.to_string() })
    }

    fn set_aside(&self, digest: &ChunkDigest, key: Option<&CryptKey>) -> Result<Option<PathBuf>> {
        let path = self.chunk_path(digest);
        let _stripe = self.stripe(digest);
        let inode = match read_file(&path, digest) {
            Ok(None) => return Ok(None),
            Ok(Some((bytes, inode))) => {
                if !is_bad(digest, bytes, key) {
                    return Ok(None);
                }
                inode
            }
            Err(DatastoreError::ChunkCorrupt { .. }) => match inode_of(&path)? {
                Some(inode) => inode,
                None => return Ok(None),
            },
            Err(e) => return Err(e),
        };
        let bad = free_bad_name(&path)?;
        fs::rename(&path, &bad).map_err(|e| DatastoreError::io("rename to", &bad, e))?;
        if inode_of(&bad)? != Some(inode) {
            // Another process replaced the chunk between our look and the rename: its good one goes back, unless yet another came.
            match renameat2(AT_FDCWD, &bad, AT_FDCWD, &path, RenameFlags::RENAME_NOREPLACE) {
                Ok(()) | Err(Errno::EEXIST) => return Ok(None),
                Err(e) => return Err(DatastoreError::io("rename to", &path, e)),
            }
        }
        tracing::warn!(%digest, file = %bad.display(), "set a corrupt chunk aside");
        Ok(Some(bad))
    }
}

/// Looks at what has a chunk's name, by length alone.
fn look(path: &Path) -> Result<Existing> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Existing::File { len: meta.len(), head: Head::Unread }),
        Ok(_) => Ok(Existing::NotRegular),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Existing::Nothing),
        Err(e) => Err(DatastoreError::io("examine", path, e)),
    }
}

fn read_head(path: &Path) -> Result<Head> {
    let Some((file, _)) = files::open_regular(path)? else { return Ok(Head::Unknown) };
    let mut magic = Vec::with_capacity(8);
    file.take(8).read_to_end(&mut magic).map_err(|e| DatastoreError::io("read", path, e))?;
    Ok(match <[u8; 8]>::try_from(magic) {
        Err(_) => Head::TooShort,
        Ok(magic) => head_of(magic),
    })
}

/// The kind a magic stands for.
fn head_of(magic: [u8; 8]) -> Head {
    // As long as the longest header, so that only the magic decides.
    let mut header = vec![0; 44];
    header[..8].copy_from_slice(&magic);
    DataBlob::parse(header).map_or(Head::Unknown, |blob| Head::Known(blob.kind()))
}

/// Reads a chunk file of a possible length, with its inode. `None` when there is none, or an empty one.
fn read_file(path: &Path, digest: &ChunkDigest) -> Result<Option<(Vec<u8>, u64)>> {
    let corrupt = |reason: String| DatastoreError::ChunkCorrupt { digest: *digest, reason };
    let opened = files::open_regular(path).map_err(|e| match e {
        DatastoreError::Corrupt { reason, .. } => corrupt(reason),
        other => other,
    })?;
    let Some((file, len)) = opened else { return Ok(None) };
    let too_long = || corrupt(format!("{len} bytes are more than a chunk can have"));
    let size = usize::try_from(len).ok().filter(|size| *size <= MAX_CHUNK_ENCODED).ok_or_else(too_long)?;
    if size == 0 {
        return Ok(None);
    }
    // One read straight into the buffer that becomes the blob.
    let inode = file.metadata().map_err(|e| DatastoreError::io("examine", path, e))?.ino();
    let mut bytes = Vec::with_capacity(size);
    file.take(len).read_to_end(&mut bytes).map_err(|e| DatastoreError::io("read", path, e))?;
    Ok(Some((bytes, inode)))
}

fn inode_of(path: &Path) -> Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DatastoreError::io("examine", path, e)),
    }
}

/// Judges bytes by all that can be known, of encrypted ones with the key alone.
fn is_bad(digest: &ChunkDigest, bytes: Vec<u8>, key: Option<&CryptKey>) -> bool {
    let Ok(blob) = DataBlob::parse(bytes) else { return true };
    let key = key.filter(|_| blob.kind().is_encrypted());
    if blob.kind().is_encrypted() && key.is_none() {
        return blob.verify_crc().is_err();
    }
    let named = |plain: &[u8]| key.map_or_else(|| ChunkDigest::of(plain), |key| key.digest(plain));
    blob.decode(key, MAX_CHUNK_PLAIN).map_or(true, |plain| named(&plain) != *digest)
}

/// The first free of `.0.bad` to `.9.bad`; the last is used again when all are taken.
fn free_bad_name(path: &Path) -> Result<PathBuf> {
    let name = |n: u8| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}.bad"));
        PathBuf::from(name)
    };
    for n in 0..9 {
        if !files::exists(&name(n))? {
            return Ok(name(n));
        }
    }
    Ok(name(9))
}
