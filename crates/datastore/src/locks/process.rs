//! The process lock: a shared record lock on `<root>/.lock` for as long as anything is written.
//!
//! Taken as an *open file description* lock: a plain POSIX lock would be dropped as soon as any other descriptor of the file is
//! closed anywhere in the process. Both kinds see each other, so a Proxmox Backup Server on the same disk is bound as well.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::{DatastoreError, Result};
use crate::locks::writers::WriterEntry;

/// The one descriptor of each datastore's `.lock` in this process, by canonical path.
static HELD: LazyLock<Mutex<HashMap<PathBuf, Weak<ProcessLock>>>> = LazyLock::new(Mutex::default);

/// The shared lock on one `.lock` file; ends with its descriptor.
#[derive(Debug)]
pub(crate) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Joins this process's lock on the datastore at `root`, taking it when it is the first.
    pub(crate) fn shared(root: &Path) -> Result<Arc<Self>> {
        let root = root.canonicalize().map_err(|e| DatastoreError::io("resolve", root, e))?;
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = held.get(&root).and_then(Weak::upgrade) {
            return Ok(lock);
        }
        let lock = Arc::new(Self::take(&root.join(".lock"))?);
        held.retain(|_, other| other.strong_count() > 0);
        held.insert(root, Arc::downgrade(&lock));
        Ok(lock)
    }

    fn take(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|e| DatastoreError::io("open", path, e))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_RDLCK))) {
            Ok(_) => Ok(Self { _file: file }),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(DatastoreError::Busy {
                what: "the datastore (a garbage collection of another program runs)".to_owned(),
                lock: path.to_owned(),
            }),
            Err(e) => Err(DatastoreError::io("lock", path, e)),
        }
    }
}

/// A record lock of the given type over the whole file.
fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        // F_RDLCK and its like are 0, 1, 2.
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: 0,
        l_len: 0,
        l_pid: 0, // must be zero for open file description locks
    }
}

/// Permission to write chunks: the process lock and an entry in the writer registry.
///
/// Hold it from before the first chunk is looked for until the last index of the snapshot is in place.
#[derive(Debug)]
pub struct WriterGuard {
    // The order of dropping does not matter: by then nothing is written any more.
    _entry: WriterEntry,
    _lock: Arc<ProcessLock>,
}

impl WriterGuard {
    pub(crate) fn new(root: &Path, registry: &Path, owner: crate::files::Ownership) -> Result<Self> {
        // First the entry, then the lock: a collector that starts in between sees an age that is too old, never one too young.
        let entry = WriterEntry::register(registry, owner)?;
        Ok(Self { _lock: ProcessLock::shared(root)?, _entry: entry })
    }
}
