//! Rehearsing a run: the plan is obeyed to the letter, with a target that only pretends.
//!
//! The same executor that copies decides here what is copied, looked at again and reused. Only its target is another:
//! a [`RehearsalTarget`] asks the real one what is there ([`Target::probe`](crate::Target::probe)) and remembers what
//! a run would have put there by now; and no chunk is fetched, its length is noted instead. So what a rehearsal
//! announces is what the run does.

mod forecast;
mod outline;
mod target;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use formats::{ChunkDigest, DataBlob, FileInfo, Manifest, Namespace, SnapshotId};

pub(crate) use forecast::Notes;
pub use forecast::{Amount, Forecast, SnapshotForecast};
pub use outline::{
    GroupOutline, NamespaceOutline, Outline, SnapshotOutline, VanishedGroupOutline, VanishedNamespaceOutline,
};
pub(crate) use target::RehearsalTarget;

use crate::error::EndError;
use crate::traits::{ArchiveLayout, ChunkRef, Expectation};

/// What a target is asked about a snapshot that a run would write now.
#[derive(Clone, Copy, Debug)]
pub struct Probing<'a> {
    /// Namespace at the target.
    pub namespace: &'a Namespace,
    /// The snapshot.
    pub snapshot: &'a SnapshotId,
    /// What [`begin`](crate::Target::begin) or [`reopen`](crate::Target::reopen) would be told.
    pub base: Option<&'a SnapshotId>,
    /// Whether a finished snapshot is looked at again (`reopen`), or one is begun.
    pub again: bool,
    /// The newest snapshot of the group that the rehearsal itself has finished.
    pub rehearsed: Option<&'a Rehearsed>,
}

/// A snapshot that would be at the target by now.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What its indexes name, as the source calls it; nothing when its manifest says that its verification failed.
    pub chunks: Arc<HashSet<ChunkDigest>>,
    /// Whether it is stored under other names than the source has.
    pub rewritten: bool,
}

/// Answers what a [`SnapshotSink`](crate::SnapshotSink) would, and changes nothing.
#[async_trait]
pub trait Probe: Send + Sync {
    /// As [`SnapshotSink::existing`](crate::SnapshotSink::existing).
    fn existing(&self) -> Option<&DataBlob>;

    /// As [`SnapshotSink::expect`](crate::SnapshotSink::expect).
    ///
    /// # Errors
    /// As there.
    async fn expect(&self, _manifest: &Manifest, _anew: bool) -> Result<Expectation, EndError> {
        Ok(Expectation::default())
    }

    /// As [`SnapshotSink::has_file`](crate::SnapshotSink::has_file).
    ///
    /// # Errors
    /// A disk that cannot be read.
    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError>;

    /// As [`SnapshotSink::has_client_log`](crate::SnapshotSink::has_client_log).
    ///
    /// # Errors
    /// A disk that cannot be read.
    async fn has_client_log(&self) -> Result<bool, EndError>;

    /// Whether an archive of this shape can be begun.
    ///
    /// # Errors
    /// Why it cannot.
    fn accepts(&self, _layout: ArchiveLayout) -> Result<(), EndError> {
        Ok(())
    }

    /// As [`SnapshotSink::missing`](crate::SnapshotSink::missing), by the very same rule; but a damaged chunk stays
    /// where it is. What the rehearsal has put is not asked about.
    ///
    /// # Errors
    /// A disk that cannot be read, a remote that does not answer.
    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError>;

    /// As [`SnapshotSink::asks_at_once`](crate::SnapshotSink::asks_at_once).
    fn asks_at_once(&self) -> usize {
        32
    }
}
