//! Locks on groups, snapshots and manifests: `flock` on empty files in the lock directory.
//!
//! A lock file is unlinked together with its object, possibly while somebody waits for it. So after a lock was granted the file
//! at the path is compared with the locked one; a lock on an unlinked file excludes nobody and is thrown away.
//! `flock` belongs to the open file, so these locks exclude threads of one process as well.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use formats::{GroupId, Namespace, SnapshotId};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;

use crate::error::{DatastoreError, Result};
use crate::files::{self, Ownership};

/// How long a manifest lock is waited for; holders keep it for one small write.
pub(crate) const MANIFEST_WAIT: Duration = Duration::from_secs(5);
/// Between two tries while waiting.
const RETRY: Duration = Duration::from_millis(10);
/// Tries to lock a file that keeps being unlinked before that counts as busy.
const UNLINKED_RETRIES: usize = 10;

/// Shared with others of its kind, or alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// One held lock file.
#[derive(Debug)]
pub(crate) struct LockFile {
    /// Never used again; holds the lock until it is dropped.
    _held: Flock<File>,
    path: PathBuf,
}

impl LockFile {
    /// Locks the file at `path`, making it and its directories first. `what` names the object in errors.
    pub(crate) fn acquire(path: &Path, mode: Mode, wait: Duration, what: &str, owner: Ownership) -> Result<Self> {
        let deadline = Instant::now() + wait;
        let arg = match mode {
            Mode::Shared => FlockArg::LockSharedNonblock,
            Mode::Exclusive => FlockArg::LockExclusiveNonblock,
        };
        let busy = || DatastoreError::Busy { what: what.to_owned(), lock: path.to_owned() };
        let mut unlinked = 0;
        loop {
            let file = open_lock_file(path, owner)?;
            match Flock::lock(file, arg) {
                Ok(file) if is_still_at(&file, path)? => return Ok(Self { _held: file, path: path.to_owned() }),
                // Unlinked under us together with its object: the next open makes or finds its successor.
                Ok(_) => {
                    unlinked += 1;
                    if unlinked > UNLINKED_RETRIES {
                        return Err(busy());
                    }
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    if Instant::now() >= deadline {
                        return Err(busy());
                    }
                    std::thread::sleep(RETRY);
                }
                Err((_, Errno::EINTR)) => {}
                Err((_, e)) => return Err(DatastoreError::io("lock", path, e)),
            }
        }
    }

    /// Unlinks the lock file, since its object is gone. The lock ends when `self` is dropped.
    pub(crate) fn unlink(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(DatastoreError::io("remove", &self.path, e)),
        }
    }

    /// The locked file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens or makes a lock file of mode 0660, with its directories.
fn open_lock_file(path: &Path, owner: Ownership) -> Result<File> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o660).custom_flags(libc::O_NOFOLLOW);
        options
    };
    let fail = |e: io::Error| match e.kind() {
        // Group `vm/100` locks a file of the name under which namespace `vm-100` has a directory.
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => DatastoreError::Refused(format!(
            "cannot lock {}: a group and a namespace of this datastore have names whose lock files collide; rename the namespace",
            path.display()
        )),
        _ => DatastoreError::io("open lock file", path, e),
    };
    loop {
        match options().open(path) {
            Ok(file) => return Ok(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e)),
        }
        match options().create_new(true).open(path) {
            Ok(file) => {
                // The umask took bits away; the group shall be able to lock as well.
                file.set_permissions(fs::Permissions::from_mode(0o660)).map_err(fail)?;
                owner.apply_path(path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => make_lock_dirs(path.parent().unwrap_or(path), owner)?,
            Err(e) => return Err(fail(e)),
        }
    }
}

/// Makes the directories of lock files, each belonging to the datastore's owner.
pub(crate) fn make_lock_dirs(dir: &Path, owner: Ownership) -> Result<()> {
    files::make_dir_all(dir, 0o755, owner)
}

/// Tells whether the path still names the open file.
pub(crate) fn is_still_at(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(|e| DatastoreError::io("examine", path, e))?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(DatastoreError::io("examine", path, e)),
    }
}

/// The exclusive lock on a group, held until the last clone is dropped.
///
/// A [`StagedSnapshot`](crate::StagedSnapshot) keeps a clone, so the group stays locked as long as the snapshot is being written.
#[derive(Clone, Debug)]
pub struct GroupLock(pub(crate) Arc<GroupLockInner>);

#[derive(Debug)]
pub(crate) struct GroupLockInner {
    pub(crate) file: LockFile,
    pub(crate) namespace: Namespace,
    pub(crate) group: GroupId,
    /// The group directory was made under this very lock, so an abandoned first snapshot takes it along.
    pub(crate) created: bool,
}

impl GroupLock {
    pub(crate) fn new(file: LockFile, namespace: &Namespace, group: &GroupId, created: bool) -> Self {
        Self(Arc::new(GroupLockInner { file, namespace: namespace.clone(), group: group.clone(), created }))
    }

    /// The namespace of the locked group.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The locked group.
    pub fn group(&self) -> &GroupId {
        &self.0.group
    }

    /// True when the group directory was made when this lock was taken.
    pub fn created_group(&self) -> bool {
        self.0.created
    }
}

/// A shared or exclusive lock on a snapshot, held until dropped.
#[derive(Debug)]
pub struct SnapshotLock {
    pub(crate) file: LockFile,
    pub(crate) namespace: Namespace,
    pub(crate) snapshot: SnapshotId,
}

impl SnapshotLock {
    /// The namespace of the locked snapshot.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The locked snapshot.
    pub fn snapshot(&self) -> &SnapshotId {
        &self.snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(path: &Path, mode: Mode) -> Result<LockFile> {
        LockFile::acquire(path, mode, Duration::ZERO, "group vm/100", Ownership::default())
    }

    #[test]
    fn an_exclusive_lock_excludes_others_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/store/x:y/vm-100");

        let held = lock(&path, Mode::Exclusive).unwrap();

        assert!(lock(&path, Mode::Shared).unwrap_err().is_busy());
        assert_eq!(fs::metadata(held.path()).unwrap().permissions().mode() & 0o777, 0o660);
        drop(held);
        lock(&path, Mode::Exclusive).unwrap();
    }

    #[test]
    fn shared_locks_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm-100");

        let _one = lock(&path, Mode::Shared).unwrap();
        let _two = lock(&path, Mode::Shared).unwrap();

        assert!(lock(&path, Mode::Exclusive).unwrap_err().is_busy());
    }

    #[test]
    fn an_unlinked_lock_file_excludes_nobody_and_its_successor_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm-100");

        let stale = lock(&path, Mode::Exclusive).unwrap();
        stale.unlink().unwrap();
        let fresh = lock(&path, Mode::Exclusive).unwrap();

        assert!(is_still_at(&fresh._held, &path).unwrap());
        assert!(!is_still_at(&stale._held, &path).unwrap());
        assert!(lock(&path, Mode::Exclusive).unwrap_err().is_busy());
    }

    #[test]
    fn waiting_ends_when_the_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let held = lock(&path, Mode::Exclusive).unwrap();

        let waiter = std::thread::spawn({
            let path = path.clone();
            move || LockFile::acquire(&path, Mode::Exclusive, Duration::from_secs(60), "manifest", Ownership::default())
        });
        drop(held);

        waiter.join().unwrap().unwrap();
    }
}
