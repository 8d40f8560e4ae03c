//! Recorded conversations of stock clients and servers, for tests that take either part.
//!
//! [`Trace::load`] reads one recording as steps, connections and exchanges; what the recording leaves out to save space is
//! filled in where it follows from the rest, and says so. The recordings have no chunk bodies: a [`Twin`] makes bytes of its
//! own for every recorded digest, and translates digests, checksums, sizes and manifests into those of its bytes, so that a
//! replay is consistent in itself.
//!
//! ```
//! let recording = traces::Trace::FirstBackup.load();
//! let session = &recording.steps[0].connections[0];
//! assert_eq!(session.exchanges[1].target, "/previous_backup_time");
//! ```
//!
//! The files come from `tests/traces` and are part of the binary. What they are and where they come from is told in the
//! README there. This crate is for tests only and panics when a recording is not what it expects.

mod contents;
mod event;
mod gaps;
mod recording;
mod twin;

pub use contents::{BlobShape, ChunkShape, Contents, IndexShape, ManifestSighting};
pub use recording::{Answer, Body, Close, Connection, Exchange, Recording, Step};
pub use twin::{SnapshotTwin, Twin, TwinChunk};

/// One of the recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// First backup of a tree, two images and a file, with an API token.
    FirstBackup,
    /// The same again with nothing new, then with changed sources.
    IncrementalBackup,
    /// Backups and lists with a password and with a cached ticket.
    PasswordBackup,
    /// Encrypted twice, then signed only.
    EncryptedBackup,
    /// Restores of every kind of archive.
    Restore,
    /// A server pulls from this one.
    Pull,
    /// A server pushes to this one.
    Push,
    /// A client dies in the middle of an upload, others come in between, it tries again.
    Killed,
    /// An image of 161 chunks: backup, restore, pull, push.
    ManyChunks,
}

impl Trace {
    /// All of them, in the order of their numbers.
    pub const ALL: [Trace; 9] = [
        Trace::FirstBackup,
        Trace::IncrementalBackup,
        Trace::PasswordBackup,
        Trace::EncryptedBackup,
        Trace::Restore,
        Trace::Pull,
        Trace::Push,
        Trace::Killed,
        Trace::ManyChunks,
    ];

    /// Name of the file in `tests/traces`, without its ending.
    pub fn name(self) -> &'static str {
        self.file().0
    }

    /// Reads the recording.
    ///
    /// # Panics
    /// When the file is not in the format its README tells.
    pub fn load(self) -> Recording {
        let (name, text) = self.file();
        let mut recording = Recording::parse(name, text);
        gaps::fill(&mut recording);
        recording
    }

    fn file(self) -> (&'static str, &'static str) {
        macro_rules! file {
            ($name:literal) => {
                ($name, include_str!(concat!("../../../tests/traces/", $name, ".jsonl")))
            };
        }
        match self {
            Trace::FirstBackup => file!("01-backup-first"),
            Trace::IncrementalBackup => file!("02-backup-incremental"),
            Trace::PasswordBackup => file!("03-backup-password"),
            Trace::EncryptedBackup => file!("04-backup-encrypted"),
            Trace::Restore => file!("06-restore"),
            Trace::Pull => file!("08-sync-pull"),
            Trace::Push => file!("09-sync-push"),
            Trace::Killed => file!("12-killed"),
            Trace::ManyChunks => file!("13-many-chunks"),
        }
    }
}
