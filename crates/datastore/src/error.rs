//! What can go wrong with a datastore, and whose fault it was.

use std::io;
use std::path::{Path, PathBuf};

use formats::{ChunkDigest, Namespace};
use nix::errno::Errno;

/// Shorthand for results of this crate.
pub type Result<T, E = DatastoreError> = std::result::Result<T, E>;

/// Everything a datastore on disk can answer instead of doing what was asked.
///
/// Use [`is_not_found`](Self::is_not_found), [`is_busy`](Self::is_busy) and their like to decide; the texts are for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatastoreError {
    /// The operating system refused an operation on a path.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb ("open", "rename").
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A namespace does not exist. The text carries the words that sync peers look for.
    #[error("namespace `{namespace}` not found in datastore `{store}`: ENOENT: No such file or directory")]
    NamespaceMissing {
        /// The datastore's name.
        store: String,
        /// The namespace asked for.
        namespace: Namespace,
    },
    /// A group, snapshot, file or chunk does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// The object, in words with its name.
        what: String,
    },
    /// The object to make is there already.
    #[error("{what} already exists")]
    AlreadyExists {
        /// The object, in words with its name.
        what: String,
    },
    /// Somebody else holds the lock; try again later.
    #[error("{what} is locked by another operation ({})", lock.display())]
    Busy {
        /// The object, in words with its name.
        what: String,
        /// The lock file that was held.
        lock: PathBuf,
    },
    /// A protected snapshot cannot be removed.
    #[error("{what} is protected")]
    Protected {
        /// The snapshot.
        what: String,
    },
    /// A group has no readable `owner` file.
    #[error("{group} has no usable owner: {reason}")]
    NoOwner {
        /// The group.
        group: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// A path is not a datastore, or not one that can be attached or made.
    #[error("{}: {reason}", path.display())]
    Unsuitable {
        /// The path that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name does not fit into the file system's 255 bytes.
    #[error("the name `{name}` is too long: it needs {len} bytes on disk, 255 are possible")]
    NameTooLong {
        /// The name.
        name: String,
        /// Bytes needed for the longest file name made from it.
        len: usize,
    },
    /// A request that makes no sense, such as removing the root namespace.
    #[error("{0}")]
    Refused(String),
    /// A stored file does not hold what its name promises.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A chunk is not in the store.
    #[error("chunk {0} is missing")]
    ChunkMissing(ChunkDigest),
    /// A chunk file was read and does not hold a blob.
    #[error("chunk {digest} is corrupt: {reason}")]
    ChunkCorrupt {
        /// The chunk.
        digest: ChunkDigest,
        /// What is wrong with it.
        reason: String,
    },
    /// A new chunk and the stored one of the same name cannot both be right.
    #[error("chunk {digest} conflicts with the stored one: {reason}")]
    ChunkConflict {
        /// The chunk.
        digest: ChunkDigest,
        /// Which rule was broken.
        reason: &'static str,
    },
    /// The access time of a chunk cannot be set, since the file belongs to somebody else.
    #[error(
        "cannot set the access time of {}: the file belongs to another user. Everything in a datastore must belong to one user; \
         as root run: chown -R {owner} {}", path.display(), root.display()
    )]
    NotOwner {
        /// The chunk file.
        path: PathBuf,
        /// The datastore's root.
        root: PathBuf,
        /// Who should own it, as `uid:gid`.
        owner: String,
    },
}

impl DatastoreError {
    /// Makes an I/O error, saying what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// True when the object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NamespaceMissing { .. } | Self::NotFound { .. } | Self::ChunkMissing(_) => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// True when another operation holds the lock that was needed.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// True when the object to make exists already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// True when a protected snapshot stands in the way.
    pub fn is_protected(&self) -> bool {
        matches!(self, Self::Protected { .. })
    }

    /// True when stored bytes were read and are wrong (not when they could not be read).
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::ChunkCorrupt { .. })
    }

    /// True when the stored data is wrong, missing or unreadable; false when the failure says nothing about it: for want of rights
    /// or resources, a lock, an answer of a file server.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::ChunkMissing(_) | Self::Corrupt { .. } | Self::ChunkCorrupt { .. } => true,
            Self::Io { source, .. } => !matches!(
                source.raw_os_error().map(Errno::from_raw),
                Some(
                    Errno::EACCES
                        | Errno::EPERM
                        | Errno::EMFILE
                        | Errno::ENFILE
                        | Errno::ENOMEM
                        | Errno::EINTR
                        | Errno::EAGAIN
                        | Errno::ETIMEDOUT
                        | Errno::ESTALE
                        | Errno::ENOTCONN
                )
            ),
            _ => false,
        }
    }

    /// True when the disk has no room left, or the quota is used up.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// The error and all its causes in one line, for logs and reports.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
