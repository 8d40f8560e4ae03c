//! Looking at a datastore on this machine as a writer would, without writing.

use async_trait::async_trait;
use datastore::DatastoreError;
use formats::{ArchiveName, DataBlob, FileInfo, Namespace, SnapshotId};

use super::local_target::{LocalTarget, is_file};
use super::presence::{Damaged, Presence};
use crate::error::EndError;
use crate::rehearsal::{Probe, Probing};
use crate::traits::ChunkRef;
use crate::verify::blocking;

/// What a writer of one snapshot would find.
pub(super) struct LocalProbe {
    target: LocalTarget,
    namespace: Namespace,
    snapshot: SnapshotId,
    presence: Presence,
    existing: Option<DataBlob>,
}

impl LocalProbe {
    pub(super) async fn open(target: &LocalTarget, asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        let (namespace, snapshot) = (asked.namespace.clone(), asked.snapshot.clone());
        let presence = {
            let base = asked.base.filter(|_| target.verification.is_none());
            Presence::new(target.clone(), namespace.clone(), base, Damaged::Left)
        };
        let mut probe = Self { target: target.clone(), namespace, snapshot, presence, existing: None };
        if asked.again {
            match probe.read(ArchiveName::manifest()).await? {
                None => return Ok(None),
                // A manifest that is no blob counts as none: everything is looked at.
                Some(bytes) => probe.existing = DataBlob::parse(bytes).ok(),
            }
        }
        Ok(Some(Box::new(probe)))
    }

    /// Reads a file; a damaged one is empty, one that is not there is `None`.
    async fn read(&self, name: ArchiveName) -> Result<Option<Vec<u8>>, EndError> {
        let (store, namespace, snapshot) = (self.target.store.clone(), self.namespace.clone(), self.snapshot.clone());
        let read: Result<Vec<u8>, DatastoreError> =
            blocking(move || store.read_file(&namespace, &snapshot, &name)).await?;
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_corrupt() => Ok(Some(Vec::new())),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Probe for LocalProbe {
    fn existing(&self) -> Option<&DataBlob> {
        self.existing.as_ref()
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        let read = self.read(info.filename.clone()).await?;
        Ok(read.is_some_and(|bytes| is_file(info, bytes)))
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        Ok(self.read(ArchiveName::client_log()).await?.is_some())
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        self.presence.missing(chunks).await
    }
}
