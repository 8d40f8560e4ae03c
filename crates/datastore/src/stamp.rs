//! Telling one version of a snapshot's file from another without reading it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use formats::{ArchiveName, Namespace, SnapshotId};

use crate::error::{DatastoreError, Result};
use crate::store::Datastore;

/// File systems count time in steps of up to 2 seconds.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// What tells one version of a file from another. Files of a datastore are replaced, never changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Length of the file in bytes.
    #[expect(clippy::len_without_is_empty, reason = "the length of a file, not of a collection")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether a version that comes after `now` is sure to have another stamp: two that are made within one step of the
    /// file system's clock may have the same.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let Ok(changed) = u64::try_from(self.changed.0) else { return false };
        UNIX_EPOCH.checked_add(Duration::from_secs(changed)).is_some_and(|changed| changed + COARSEST_CLOCK < now)
    }
}

impl Datastore {
    /// Looks at a file of a snapshot; `None` when there is none.
    ///
    /// # Errors
    /// A directory that cannot be looked at.
    pub fn file_stamp(&self, ns: &Namespace, snapshot: &SnapshotId, name: &ArchiveName) -> Result<Option<FileStamp>> {
        let path = self.snapshot_dir(ns, snapshot).join(name.as_str());
        match fs::symlink_metadata(&path) {
            Ok(meta) => Ok(Some(FileStamp {
                device: meta.dev(),
                inode: meta.ino(),
                len: meta.len(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
            })),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(DatastoreError::io("examine", &path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::TestStore;

    #[test]
    fn a_changed_manifest_has_another_stamp_and_a_young_one_is_not_settled() {
        let tank = TestStore::new("tank");
        let id = tank.backup("", "host/a", 1_700_000_000, &[("x.img", b"x".as_slice())]);
        let (store, ns, name) = (tank.store(), Namespace::root(), ArchiveName::manifest());
        let before = store.file_stamp(&ns, &id, &name).unwrap().unwrap();

        store
            .update_manifest(&ns, &id, |manifest| {
                manifest.set_notes("new");
                Ok(())
            })
            .unwrap();

        let after = store.file_stamp(&ns, &id, &name).unwrap().unwrap();
        assert_ne!(before, after);
        assert!(!after.is_settled(SystemTime::now()));
        assert!(after.is_settled(SystemTime::now() + Duration::from_secs(10)));
        assert_eq!(store.file_stamp(&ns, &id, &ArchiveName::client_log()).unwrap(), None);
    }
}
