//! The two ends of every transfer.
//!
//! Pull, push, local sync, backup and restore are one program whose ends differ: a [`Source`] is read, a [`Target`]
//! is written. Both are places where snapshots live; neither knows the other, and the engine between them knows
//! nothing about disks and sockets.
//!
//! The order of calls for one snapshot:
//!
//! ```text
//! Source::open ──> OpenSnapshot::manifest, file*, fetch*            (None: vanished meanwhile, which is no error)
//! Target::begin ─> SnapshotSink: has_file? put_blob*
//!                  begin_archive, missing, put_chunk*, finish_archive   (once per index)
//!                  put_client_log?, commit                          (or abandon)
//! ```
//!
//! Chunks travel encoded, as blobs; whoever receives them checks them.

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, AuthId, ChunkDigest, CryptMode, DataBlob, FileInfo, GroupId, Index, ListingFingerprint,
    Manifest, Namespace, SnapshotId, VerifyResult,
};
use futures_util::stream::BoxStream;

pub use crate::error::{EndError, ErrorClass};
use crate::notes::ListedNotes;
use crate::rehearsal::{Probe, Probing};

/// Bytes that an encoded chunk may be longer than its plain data: the longest blob header and room for an encoder
/// that kept a compressed form slightly longer than the plain one.
pub const CHUNK_OVERHEAD: u64 = 1024;

/// A chunk as an index names it: what to ask for, and what to check it against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Name of the chunk.
    pub digest: ChunkDigest,
    /// Length of the plain data in bytes.
    pub plain_len: u64,
    /// Whether the chunk must be encrypted (its file has `crypt-mode: encrypt`) or must be plain.
    pub encrypted: bool,
}

impl ChunkRef {
    /// Returns the most bytes the encoded chunk may have; a longer one is refused unread.
    pub fn max_encoded(&self) -> u64 {
        self.plain_len.min(formats::MAX_CHUNK_PLAIN as u64) + CHUNK_OVERHEAD
    }

    /// Lists the chunks of `index` in its order, repetitions included, as those of a file with `crypt_mode`.
    pub fn of_index(index: &Index, crypt_mode: CryptMode) -> impl Iterator<Item = ChunkRef> + '_ {
        let encrypted = crypt_mode == CryptMode::Encrypt;
        index.entries().map(move |entry| ChunkRef {
            digest: entry.digest,
            plain_len: entry.end.saturating_sub(entry.start),
            encrypted,
        })
    }
}

/// A backup group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Type and id.
    pub id: GroupId,
    /// Its owner, where the listing tells.
    pub owner: Option<AuthId>,
    /// Its notes.
    pub notes: ListedNotes,
}

/// A snapshot in a listing: what the planner decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Group and time.
    pub id: SnapshotId,
    /// Whether it has a manifest. One without is still being written, or was left behind by a writer that died.
    pub finished: bool,
    /// Whether it has a manifest that cannot be read: present, but of no use as a source.
    pub manifest_unreadable: bool,
    /// Whether it is protected against removal.
    pub protected: bool,
    /// The verify state in its manifest.
    pub verified: Option<VerifyResult>,
    /// Whether every file but manifest and log is encrypted and the manifest is signed.
    pub fully_encrypted: bool,
    /// Logical bytes of all its files, where the listing tells.
    pub size: Option<u64>,
    /// Its notes; none where its manifest cannot be read.
    pub notes: ListedNotes,
}

impl SnapshotInfo {
    /// A finished, unprotected, unverified, unencrypted snapshot without notes.
    pub fn finished(id: SnapshotId) -> Self {
        Self {
            id,
            finished: true,
            manifest_unreadable: false,
            protected: false,
            verified: None,
            fully_encrypted: false,
            size: None,
            notes: ListedNotes::default(),
        }
    }
}

/// The shape of an archive, known before its first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveLayout {
    /// Fixed index over an image of `size` bytes in chunks of `chunk_size` bytes.
    Fixed {
        /// Bytes of the image.
        size: u64,
        /// Bytes of every chunk but the last.
        chunk_size: u64,
    },
    /// Dynamic index over a stream whose length shows at its end.
    Dynamic,
}

impl ArchiveLayout {
    /// Returns the layout that `index` has.
    pub fn of(index: &Index) -> Self {
        match index {
            Index::Fixed(fixed) => Self::Fixed { size: fixed.size(), chunk_size: fixed.chunk_size() },
            Index::Dynamic(_) => Self::Dynamic,
        }
    }
}

/// An archive that a [`SnapshotSink`] is receiving; only the sink that made it can read it.
#[derive(Clone, Debug)]
pub struct ArchiveHandle {
    /// Name of the index file.
    pub name: ArchiveName,
    /// The sink's own number for it; a writer id at a remote.
    pub id: u64,
    /// Its shape.
    pub layout: ArchiveLayout,
}

/// A place whose snapshots can be listed. Both ends are one.
#[async_trait]
pub trait Inventoried: Send + Sync {
    /// Says what this is, for a person: ``datastore `tank` ``, ``datastore `tank` at backup.example.com``.
    fn describe(&self) -> String;

    /// Lists `below` and the namespaces below it, parents first, at most `max_depth` levels deep.
    ///
    /// # Errors
    /// A namespace `below` that does not exist is an error of class `Stop`. So is a listing that is not complete.
    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError>;

    /// Lists the groups of one namespace.
    ///
    /// # Errors
    /// A listing that is not complete is an error.
    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError>;

    /// Lists the snapshots of a group in any order; an unknown group has none.
    ///
    /// # Errors
    /// A listing that is not complete is an error.
    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError>;

    /// Returns one fingerprint over all that the listings of `below` and the namespaces in it, at most `max_depth` levels
    /// deeper, would show; `None` where that is not to be had for less than listing everything.
    ///
    /// Two of one end are equal exactly when nothing changed between them; those of different ends say nothing.
    ///
    /// # Errors
    /// An end that cannot be reached. What else is wrong is `None`, for a listing to find.
    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        let _ = (below, max_depth);
        Ok(None)
    }
}

/// A place that snapshots are read from.
#[async_trait]
pub trait Source: Inventoried {
    /// Opens a snapshot for reading and keeps it from being removed until the result is dropped.
    ///
    /// Returns `None` when the snapshot is gone: it vanished since it was listed.
    ///
    /// # Errors
    /// Whatever keeps its manifest from being read, a manifest that does not parse included.
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError>;

    /// Reads a snapshot's notes; empty where there are none.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError>;

    /// Reads a group's notes; empty where there are none.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError>;

    /// Says why snapshots of a group may not be removed here, as far as that can be known beforehand.
    ///
    /// # Errors
    /// The right that is missing, with what to do about it.
    async fn may_remove(&self, _namespace: &Namespace, _group: &GroupId) -> Result<(), EndError> {
        Ok(())
    }

    /// Removes a snapshot that was moved away, and its group when it was the last one and nobody works in the group. A
    /// protected one stays and is an error; one that is gone is fine.
    ///
    /// # Errors
    /// Whatever keeps it from being removed.
    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError>;
}

/// A snapshot that is being read.
#[async_trait]
pub trait OpenSnapshot: Send + Sync {
    /// Its manifest.
    fn manifest(&self) -> &Manifest;

    /// The manifest exactly as it is stored.
    fn manifest_blob(&self) -> &DataBlob;

    /// The manifest as the source has it, where [`manifest`](Self::manifest) is one made on the way: what the filters
    /// of a job look at.
    fn original(&self) -> &Manifest {
        self.manifest()
    }

    /// Why the snapshot is left alone, where it is: it is passed over with this as a warning.
    fn objection(&self) -> Option<&str> {
        None
    }

    /// Returns one file as it is stored: a blob, or an index with its header. Nothing in it is checked yet.
    ///
    /// A remote lets only those chunks be fetched whose index was asked for in the same session.
    ///
    /// # Errors
    /// A file that is not there, or longer than the manifest permits ([`max_file_len`]).
    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError>;

    /// Returns the client's log, which may have been stored after the manifest, or `None`.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    async fn client_log(&self) -> Result<Option<Bytes>, EndError>;

    /// Returns the encoded length of a chunk in bytes, or `None` when that shows only by fetching it.
    ///
    /// # Errors
    /// A chunk that is not there.
    async fn encoded_len(&self, _chunk: &ChunkRef) -> Result<Option<u64>, EndError> {
        Ok(None)
    }

    /// Fetches `chunks` and yields each of them once, in any order. Nothing but the blob's magic is checked yet.
    ///
    /// All of them are asked for at once: whoever calls bounds how many that is.
    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)>;
}

/// Returns the most bytes a file of the manifest can have as it is stored, whatever its sender says.
///
/// A blob has exactly the manifest's size. An index has no more entries than its stream has bytes, nor - but for the
/// first few thousand - more than its stream has pages of 4 KiB; real chunks are a thousand times as long.
pub fn max_file_len(info: &FileInfo) -> u64 {
    const HEADER: u64 = 4096;
    const PAGE: u64 = 4096;
    const FEW: u64 = 4096;
    const MOST: u64 = 1 << 30;

    let entries = info.size.min(info.size / PAGE + FEW);
    match info.filename.kind() {
        ArchiveKind::Blob => info.size.min(formats::MAX_BLOB_PLAIN as u64 + CHUNK_OVERHEAD),
        ArchiveKind::Fixed => HEADER + entries.saturating_mul(32).min(MOST),
        ArchiveKind::Dynamic => HEADER + entries.saturating_mul(40).min(MOST),
    }
}

/// A place that snapshots are written to.
#[async_trait]
pub trait Target: Inventoried {
    /// Whether a chunk put into one snapshot can at once be used by any other: true for one chunk store on disk,
    /// false for a remote, whose sessions know only what they sent themselves and what their base names.
    fn shares_chunks(&self) -> bool;

    /// Whether a chunk put into one snapshot may be found not [`missing`](SnapshotSink::missing) in any other, if asked
    /// after it was put. Then groups wait for each other's chunks before they ask.
    fn lends_chunks(&self) -> bool {
        false
    }

    /// Whether this target stores chunks under other names than the source, and learns these from snapshots that are at
    /// both ends ([`pair`](Self::pair)).
    fn wants_pairs(&self) -> bool {
        false
    }

    /// Hears, before anything is copied, of a snapshot that is at the source and here: the base of a group that is about
    /// to be copied. What the two have in common need not be fetched again.
    ///
    /// # Errors
    /// Whatever keeps one of the two from being read. Nothing is lost by it: chunks are fetched that are here.
    async fn pair(&self, _namespace: &Namespace, _source: &dyn OpenSnapshot) -> Result<(), EndError> {
        Ok(())
    }

    /// Opens a finished snapshot of this target for reading. `None` when it is not there, or when this target is not
    /// read from.
    ///
    /// # Errors
    /// Whatever keeps its manifest from being read.
    async fn open_copy(
        &self,
        _namespace: &Namespace,
        _snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        Ok(None)
    }

    /// Makes a namespace, and its missing parents. One that exists is fine.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    async fn create_namespace(&self, namespace: &Namespace) -> Result<(), EndError>;

    /// Starts a new snapshot, or goes on with one that was left without a manifest; makes the group where it is
    /// missing, with `owner`.
    ///
    /// `base` is the newest good snapshot of the group at this target: what it names can be trusted to be there.
    ///
    /// # Errors
    /// A finished snapshot of that time, a group that somebody else is working on (class `Retry`) or that another
    /// identity owns.
    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError>;

    /// Opens a finished snapshot to look at it again, or to mend it.
    ///
    /// Returns `None` when it is not there, or when this target never changes a finished snapshot.
    ///
    /// # Errors
    /// A snapshot that somebody is reading or writing (class `Retry`), or whose group another identity owns.
    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError>;

    /// Looks at a snapshot as [`begin`](Self::begin) or [`reopen`](Self::reopen) would and changes nothing: what a
    /// dry run is made of. `None` where `reopen` would return `None`.
    ///
    /// # Errors
    /// Whatever keeps it from being looked at; a target that cannot do this.
    async fn probe(&self, _asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        Err(EndError::stop(format!("{} cannot be asked without being written to", self.describe())))
    }

    /// Opens a finished snapshot to read back what was written, all of it as it is stored here. `None` when it is not
    /// there.
    ///
    /// # Errors
    /// Whatever keeps its manifest from being read, a missing right to read included.
    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError>;

    /// Replaces the notes of a finished snapshot.
    ///
    /// # Errors
    /// Whatever keeps them from being stored.
    async fn set_notes(&self, namespace: &Namespace, snapshot: &SnapshotId, notes: &str) -> Result<(), EndError>;

    /// Protects a finished snapshot from removal, or lifts that.
    ///
    /// # Errors
    /// Whatever keeps it from being stored.
    async fn set_protected(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), EndError>;

    /// Replaces the notes of a group.
    ///
    /// # Errors
    /// Whatever keeps them from being stored.
    async fn set_group_notes(&self, namespace: &Namespace, group: &GroupId, notes: &str) -> Result<(), EndError>;

    /// Gives a finished snapshot the client's log that came late. It has none yet.
    ///
    /// # Errors
    /// Whatever keeps it from being stored.
    async fn add_client_log(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        encoded: Bytes,
    ) -> Result<(), EndError>;

    /// Removes a snapshot; a protected one stays and is an error.
    ///
    /// # Errors
    /// Whatever keeps it from being removed.
    async fn remove_snapshot(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError>;

    /// Removes a group with its snapshots; protected snapshots stay, and with them the group.
    ///
    /// # Errors
    /// Whatever keeps it from being removed, but for protected snapshots.
    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError>;

    /// Removes an empty namespace.
    ///
    /// # Errors
    /// One that holds a group or another namespace stays, and is an error.
    async fn remove_namespace(&self, namespace: &Namespace) -> Result<(), EndError>;
}

/// What a removal removed, and what it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Groups removed.
    pub groups: u64,
    /// Snapshots removed.
    pub snapshots: u64,
    /// Protected snapshots that stayed.
    pub protected: u64,
}

/// What a target makes of a snapshot that is about to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// It is there already, although its files differ from those of the source.
    pub unchanged: bool,
    /// What is stored differs from what is put: chunks have other names here.
    pub rewritten: bool,
    /// What the report should mention.
    pub warning: Option<String>,
}

/// A snapshot that is being written. Nothing of it is visible before [`SnapshotSink::commit`].
///
/// Dropping a sink ends the work: a target on disk keeps what can be used by the next try, a remote throws it away.
#[async_trait]
pub trait SnapshotSink: Send + Sync {
    /// The manifest the snapshot already has at the target; `None` unless it was reopened.
    fn existing(&self) -> Option<&DataBlob>;

    /// Hears which snapshot comes, before anything of it does, and says what becomes of it here.
    ///
    /// `anew` tells that all of it is coming, whatever is there: it is missing, or was found damaged.
    ///
    /// # Errors
    /// A snapshot that must not be put beside, or in place of, what is there.
    async fn expect(&self, _manifest: &Manifest, _anew: bool) -> Result<Expectation, EndError> {
        Ok(Expectation::default())
    }

    /// Whether the target already has this file, complete and with the very checksum and size.
    ///
    /// For an index this says nothing about its chunks.
    ///
    /// # Errors
    /// A disk that cannot be read. A damaged file is no error but `false`.
    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError>;

    /// Whether the target already has the client's log.
    ///
    /// # Errors
    /// A disk that cannot be read.
    async fn has_client_log(&self) -> Result<bool, EndError>;

    /// Starts an archive.
    ///
    /// # Errors
    /// Whatever keeps the target from taking it.
    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError>;

    /// Returns those of `chunks` that must be put, in their order. The others are there, whole, and will stay.
    ///
    /// `chunks` has each digest once. A chunk at the target is trusted unread when the base names it, and is read and
    /// checked otherwise; an empty one is missing; a damaged one is set aside and missing.
    ///
    /// # Errors
    /// A disk that cannot be read.
    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError>;

    /// How many chunks are best asked about at once.
    fn asks_at_once(&self) -> usize {
        32
    }

    /// Stores a chunk that was checked against its reference. Many calls may be under way at once, in any order.
    ///
    /// # Errors
    /// Whatever keeps the target from storing it.
    async fn put_chunk(&self, archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError>;

    /// Completes an archive with its index file (header included). All its chunks were put or were not missing.
    ///
    /// # Errors
    /// Whatever keeps the target from storing it.
    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError>;

    /// Stores a blob file exactly as it is given.
    ///
    /// # Errors
    /// Whatever keeps the target from storing it.
    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError>;

    /// Stores the client's log exactly as it is given.
    ///
    /// # Errors
    /// Whatever keeps the target from storing it.
    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError>;

    /// Makes the snapshot visible: stores the manifest, exactly as `blob` has it, after everything else is durable.
    ///
    /// # Errors
    /// Whatever keeps the target from storing it; the snapshot is then not visible.
    async fn commit(self: Box<Self>, manifest: &Manifest, blob: &DataBlob) -> Result<(), EndError>;

    /// Gives up and removes what was written, unless the snapshot had a manifest before.
    async fn abandon(self: Box<Self>);
}
