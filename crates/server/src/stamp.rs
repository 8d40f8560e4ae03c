//! Values read from files and kept until a file changes.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http::error::ApiError;

/// What tells one version of a file from another; configuration files are replaced, never changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

type Stamps = Vec<Option<Stamp>>;

/// A value made from some files, read again as soon as one of them changes.
pub(crate) struct Stamped<T> {
    files: Vec<PathBuf>,
    value: Mutex<Option<(Stamps, Arc<T>)>>,
}

impl<T> Stamped<T> {
    /// A value made from these files; one that does not exist counts as well.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, value: Mutex::new(None) }
    }

    /// Returns the value, reading it when it is not current.
    pub(crate) fn get(&self, read: impl FnOnce() -> Result<T, ApiError>) -> Result<Arc<T>, ApiError> {
        let stamps = self.stamps();
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, value)) = &*value
            && *known == stamps
        {
            return Ok(Arc::clone(value));
        }
        let fresh = Arc::new(read()?);
        *value = Some((stamps, Arc::clone(&fresh)));
        Ok(fresh)
    }

    fn stamps(&self) -> Stamps {
        let stamp = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some(Stamp {
                device: meta.dev(),
                inode: meta.ino(),
                size: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
            })
        };
        self.files.iter().map(stamp).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_again_when_its_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let stamped = Stamped::new(vec![path.clone()]);
        let read = || stamped.get(|| Ok(std::fs::read_to_string(&path).unwrap_or_default())).unwrap();
        assert_eq!(*read(), "");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(*read(), "one");
        assert!(Arc::ptr_eq(&read(), &read()));
        std::fs::write(directory.path().join("new"), "two").unwrap();
        std::fs::rename(directory.path().join("new"), &path).unwrap();
        assert_eq!(*read(), "two");
    }
}
