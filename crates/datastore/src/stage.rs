//! Writing a snapshot so that it appears complete or not at all.
//!
//! The manifest makes a snapshot visible, so it comes last. Order, each step on disk before the next where the sync level asks for
//! it: chunks; indexes and blobs and their names; the directories above, where they are new; the manifest; its name.
//! A death anywhere before the last step leaves a directory without manifest, which nobody takes for a backup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use formats::{ArchiveName, DataBlob, MANIFEST_NAME, Manifest, Namespace, SnapshotId};

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind, TempFile};
use crate::locks::object::Mode;
use crate::locks::{GroupLock, SnapshotLock};
use crate::snapshots::{PROTECTED_NAME, max_len};
use crate::store::{Datastore, SyncLevel};

const FILE_MODE: u32 = 0o644;
/// Age at which a file under a temporary name has no writer any more: a day, as for unused chunks.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a staged snapshot comes from, which says what becomes of it when it is not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A backup session's: worthless without its end, so it is removed.
    New,
    /// A transfer's: kept, so that the next run goes on where this one stopped.
    Resumable,
    /// A finished snapshot that is brought up to date: stays as it was.
    Reopened,
}

/// A snapshot being written, invisible until [`commit`](Self::commit). Holds its exclusive lock and its group's.
#[derive(Debug)]
pub struct StagedSnapshot {
    store: Datastore,
    lock: SnapshotLock,
    group: GroupLock,
    dir: PathBuf,
    kind: Kind,
    resumed: bool,
    /// New contents of a reopened snapshot's files; they get their names at commit.
    pending: Mutex<BTreeMap<ArchiveName, TempFile>>,
    done: bool,
}

impl Datastore {
    /// Begins a new snapshot that is removed again when it is dropped without commit.
    ///
    /// A directory without manifest, left by a session that was killed, is emptied and used: its lock proves that nobody writes
    /// to it any more.
    ///
    /// # Errors
    /// Already exists, finished or protected; [`Busy`](DatastoreError::Busy); `group` is not the lock of the snapshot's group.
    pub fn stage(&self, ns: &Namespace, snapshot: &SnapshotId, group: &GroupLock) -> Result<StagedSnapshot> {
        let (mut staged, made) = self.stage_as(Kind::New, ns, snapshot, group)?;
        if !made {
            // As long as it may be a finished one, no failure to look may remove it.
            staged.done = true;
            for kept in [MANIFEST_NAME, PROTECTED_NAME] {
                if files::exists(&staged.dir.join(kept))? {
                    return Err(staged.forget_existing());
                }
            }
            staged.done = false;
            files::remove_tree(&staged.dir)?;
            files::make_dir(&staged.dir, 0o755, self.owner_of_files())?;
        }
        Ok(staged)
    }

    /// Begins a snapshot, or goes on with one that was left without manifest. What is there is kept when the result is dropped.
    ///
    /// Files found in it prove nothing: compare them with the manifest before counting them as done. At
    /// [`commit`](StagedSnapshot::commit) each file that the manifest names must be there, and others are removed.
    ///
    /// # Errors
    /// Already exists, if it is finished; [`Busy`](DatastoreError::Busy); `group` is not the lock of the snapshot's group.
    pub fn stage_or_resume(&self, ns: &Namespace, snapshot: &SnapshotId, group: &GroupLock) -> Result<StagedSnapshot> {
        let (mut staged, made) = self.stage_as(Kind::Resumable, ns, snapshot, group)?;
        if !made {
            if files::exists(&staged.dir.join(MANIFEST_NAME))? {
                return Err(staged.forget_existing());
            }
            staged.resumed = true;
            staged.remove_leftovers()?;
        }
        Ok(staged)
    }

    /// Opens a finished snapshot to bring it up to date; until the commit it stays as it is.
    ///
    /// # Errors
    /// Not found or not finished; [`Busy`](DatastoreError::Busy); `group` is not the lock of the snapshot's group.
    pub fn reopen(&self, ns: &Namespace, snapshot: &SnapshotId, group: &GroupLock) -> Result<StagedSnapshot> {
        if !files::exists(&self.snapshot_dir(ns, snapshot).join(MANIFEST_NAME))? {
            return Err(DatastoreError::NotFound { what: format!("finished {}", self.snapshot_text(ns, snapshot)) });
        }
        check_group(group, ns, snapshot)?;
        let lock = self.lock_snapshot_exclusive(ns, snapshot)?;
        let staged = StagedSnapshot::new(self, lock, group, Kind::Reopened);
        staged.remove_leftovers()?;
        Ok(staged)
    }

    /// Locks the snapshot and makes its directory; the second value tells whether that is new.
    fn stage_as(
        &self,
        kind: Kind,
        ns: &Namespace,
        snapshot: &SnapshotId,
        group: &GroupLock,
    ) -> Result<(StagedSnapshot, bool)> {
        check_group(group, ns, snapshot)?;
        self.require_group(ns, &snapshot.group)?;
        let lock = self.lock_snapshot_file(ns, snapshot, Mode::Exclusive)?;
        let made = files::make_dir(&self.snapshot_dir(ns, snapshot), 0o755, self.owner_of_files())?;
        Ok((StagedSnapshot::new(self, lock, group, kind), made))
    }
}

fn check_group(group: &GroupLock, ns: &Namespace, snapshot: &SnapshotId) -> Result<()> {
    if group.namespace() == ns && group.group() == &snapshot.group {
        return Ok(());
    }
    Err(DatastoreError::Refused(format!("the lock of group {} does not cover snapshot {snapshot}", group.group())))
}

impl StagedSnapshot {
    fn new(store: &Datastore, lock: SnapshotLock, group: &GroupLock, kind: Kind) -> Self {
        let dir = store.snapshot_dir(lock.namespace(), lock.snapshot());
        Self {
            store: store.clone(),
            lock,
            group: group.clone(),
            dir,
            kind,
            resumed: false,
            pending: Mutex::default(),
            done: false,
        }
    }

    /// The snapshot's namespace.
    pub fn namespace(&self) -> &Namespace {
        self.lock.namespace()
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &SnapshotId {
        self.lock.snapshot()
    }

    /// The snapshot's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// True when an earlier attempt had left files here.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Tells whether a file is there.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub fn has_file(&self, name: &ArchiveName) -> Result<bool> {
        Ok(self.pending().contains_key(name) || files::exists(&self.dir.join(name.as_str()))?)
    }

    /// Reads a file that is there, as last written.
    ///
    /// # Errors
    /// Disk errors, or a file longer than such a file can be.
    pub fn read_file(&self, name: &ArchiveName) -> Result<Option<Vec<u8>>> {
        let path = match self.pending().get(name) {
            Some(temp) => temp.path().to_owned(),
            None => self.dir.join(name.as_str()),
        };
        files::read(&path, max_len(name))
    }

    /// Writes an index or blob, replacing one of its name.
    ///
    /// # Errors
    /// The manifest's name, which only [`commit`](Self::commit) writes; disk errors, after which nothing of it is there.
    pub fn write_file(&self, name: &ArchiveName, bytes: &[u8]) -> Result<()> {
        if name.as_str() == MANIFEST_NAME {
            return Err(DatastoreError::Refused("the manifest is written at the end".to_owned()));
        }
        let path = self.dir.join(name.as_str());
        let temp = self.temp(&path, bytes)?;
        if self.kind == Kind::Reopened {
            self.pending().insert(name.clone(), temp);
            return Ok(());
        }
        temp.publish(&path)
    }

    /// Makes the snapshot visible, as durably as the datastore's sync level says.
    ///
    /// # Errors
    /// A manifest that does not parse or names files that are not there (for resumable and reopened snapshots); disk errors. The
    /// snapshot is then as if it had been dropped.
    pub fn commit(mut self, manifest: &DataBlob) -> Result<()> {
        if self.kind != Kind::New {
            self.tidy(manifest)?;
        }
        let path = self.dir.join(MANIFEST_NAME);
        // Notes may be edited without the snapshot's lock; that must not bring an old manifest back.
        let _editing = match self.kind {
            Kind::Reopened => Some(self.store.lock_manifest(self.namespace(), self.snapshot())?),
            Kind::New | Kind::Resumable => None,
        };
        let pending = std::mem::take(&mut *self.pending());
        if self.kind == Kind::Reopened && pending.is_empty() {
            // Chunks that were missing or damaged may have been written anew under the same indexes.
            if self.store.sync_level() == SyncLevel::Filesystem {
                files::sync_filesystem(self.store.path())?;
            }
            self.store.replace_small(&path, manifest.as_bytes())?;
            self.done = true;
            return Ok(());
        }
        if !pending.is_empty() {
            // Old and new files must never be seen together: without manifest the snapshot is unfinished, and the next run
            // completes it.
            files::remove_file(&path)?;
            self.sync_dir()?;
            for (name, temp) in pending {
                temp.publish(&self.dir.join(name.as_str()))?;
            }
        }
        match self.store.sync_level() {
            SyncLevel::None => self.temp(&path, manifest.as_bytes())?.publish(&path)?,
            SyncLevel::File => {
                self.sync_parents()?;
                self.temp(&path, manifest.as_bytes())?.publish(&path)?;
            }
            SyncLevel::Filesystem => {
                let temp = self.temp(&path, manifest.as_bytes())?;
                files::sync_filesystem(self.store.path())?;
                temp.publish(&path)?;
            }
        }
        self.sync_dir()?;
        self.done = true;
        Ok(())
    }

    /// Gives the snapshot up: its directory goes, and its group when that was made for it. A reopened one stays as it was.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn abandon(mut self) -> Result<()> {
        self.done = true;
        if self.kind == Kind::Reopened {
            return Ok(());
        }
        self.remove()
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<ArchiveName, TempFile>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn temp(&self, path: &Path, bytes: &[u8]) -> Result<TempFile> {
        TempFile::write(path, bytes, FILE_MODE, self.store.owner_of_files(), self.store.sync_level().each_file())
    }

    fn sync_dir(&self) -> Result<()> {
        if self.store.sync_level() == SyncLevel::None { Ok(()) } else { files::sync_dir(&self.dir) }
    }

    /// Syncs the names of the snapshot's files and of all directories above them. A clean directory costs nothing.
    fn sync_parents(&self) -> Result<()> {
        for dir in self.dir.ancestors() {
            files::sync_dir(dir)?;
            if dir == self.store.path() {
                break;
            }
        }
        Ok(())
    }

    /// Checks that all files of the manifest are there and removes those of earlier attempts that it does not name.
    fn tidy(&self, manifest: &DataBlob) -> Result<()> {
        let refuse = |reason: String| {
            DatastoreError::Refused(format!(
                "{}: {reason}",
                self.store.snapshot_text(self.namespace(), self.snapshot())
            ))
        };
        let manifest = Manifest::parse_blob(manifest).map_err(|e| refuse(e.to_string()))?;
        for file in &manifest.files {
            if !self.has_file(&file.filename)? {
                return Err(refuse(format!("its manifest names {}, which is not there", file.filename)));
            }
        }
        for name in self.store.snapshot_files(self.namespace(), self.snapshot())? {
            let Ok(archive) = name.parse::<ArchiveName>() else { continue };
            let kept = archive.is_manifest() || archive.is_client_log() || manifest.find(&archive).is_some();
            if !kept && self.kind == Kind::Resumable {
                files::remove_file(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes temporary files of a writer that died; our exclusive lock proves that none is alive.
    ///
    /// Two kinds of writer need no such lock, and only a finished snapshot has them: those that edit the manifest hold its own
    /// lock, those that store the client's log hold none, so theirs must be old.
    fn remove_leftovers(&self) -> Result<()> {
        let finished = self.kind == Kind::Reopened;
        let _editing = if finished { Some(self.store.lock_manifest(self.namespace(), self.snapshot())?) } else { None };
        for (name, kind) in files::list(&self.dir)?.unwrap_or_default() {
            if kind != EntryKind::File || !files::is_temporary_name(&name) {
                continue;
            }
            let path = self.dir.join(&name);
            let may_be_written =
                finished && name.starts_with("client.log.") && !files::is_older_than(&path, ABANDONED)?;
            if !may_be_written {
                files::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The answer to staging what is there already, without touching it.
    fn forget_existing(mut self) -> DatastoreError {
        self.done = true;
        DatastoreError::AlreadyExists { what: self.store.snapshot_text(self.namespace(), self.snapshot()) }
    }

    fn remove(&self) -> Result<()> {
        files::remove_file(&self.dir.join(MANIFEST_NAME))?;
        files::remove_tree(&self.dir)?;
        self.removed()
    }

    /// Takes along what belonged to the directory that was just removed.
    fn removed(&self) -> Result<()> {
        self.lock.file.unlink()?;
        if self.group.created_group() { self.store.remove_group_if_empty(&self.group).map(drop) } else { Ok(()) }
    }

    fn clean_up(&self) -> Result<()> {
        match self.kind {
            Kind::New => self.remove(),
            Kind::Resumable if files::remove_empty_dir(&self.dir)? => self.removed(),
            Kind::Resumable | Kind::Reopened => Ok(()),
        }
    }
}

impl Drop for StagedSnapshot {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(e) = self.clean_up() {
            tracing::warn!("cannot clean up after an unfinished snapshot: {}", e.chain());
        }
    }
}
