//! Which chunks a datastore on this machine already has: the rule for writing, and for asking without writing.

use std::collections::HashSet;

use datastore::{Datastore, DatastoreError};
use formats::{ArchiveKind, Namespace, SnapshotId, VerifyResult};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::OnceCell;

use super::local_target::{LocalTarget, READ_AT_ONCE};
use crate::error::EndError;
use crate::traits::{ChunkRef, Inventoried as _};
use crate::verify::{self, blocking};

/// What becomes of a chunk that turns out to be damaged. It is missing in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damaged {
    /// It makes room for the good one that is about to come.
    SetAside,
    /// It stays where it is.
    Left,
}

/// Tells which chunks of one snapshot must be put.
pub(super) struct Presence {
    target: LocalTarget,
    namespace: Namespace,
    base: Option<SnapshotId>,
    damaged: Damaged,
    /// What the base names, with length and kind; read when first needed.
    named_by_base: OnceCell<HashSet<ChunkRef>>,
}

impl Presence {
    pub(super) fn new(target: LocalTarget, namespace: Namespace, base: Option<&SnapshotId>, damaged: Damaged) -> Self {
        Self { target, namespace, base: base.cloned(), damaged, named_by_base: OnceCell::new() }
    }

    /// As [`SnapshotSink::missing`](crate::SnapshotSink::missing).
    pub(super) async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        let digests = chunks.iter().map(|chunk| chunk.digest).collect();
        let there = self.target.store.chunks().touch_many(digests).await?;

        let (mut missing, mut unsure) = (Vec::new(), Vec::new());
        for (position, (chunk, there)) in chunks.iter().zip(there).enumerate() {
            if !there {
                missing.push(position);
            } else if !self.base().await.contains(chunk) {
                unsure.push((position, *chunk));
            }
        }
        let mut checked = stream::iter(unsure)
            .map(|(position, chunk)| async move { (position, self.is_good(chunk).await) })
            .buffer_unordered(READ_AT_ONCE);
        while let Some((position, good)) = checked.next().await {
            if !good? {
                missing.push(position);
            }
        }
        missing.sort_unstable();
        Ok(missing.into_iter().filter_map(|position| chunks.get(position).copied()).collect())
    }

    async fn base(&self) -> &HashSet<ChunkRef> {
        self.named_by_base
            .get_or_init(|| async {
                let Some(base) = self.base.clone() else { return HashSet::new() };
                let (store, namespace) = (self.target.store.clone(), self.namespace.clone());
                // A base that cannot be read is trusted with nothing.
                let named = blocking(move || named_by(&store, &namespace, &base)).await;
                named.ok().and_then(Result::ok).unwrap_or_default()
            })
            .await
    }

    /// Reads a chunk that nobody vouches for and tells whether it is good. What becomes of a damaged one is said by [`Damaged`].
    async fn is_good(&self, chunk: ChunkRef) -> Result<bool, EndError> {
        let _reading = self.target.reading.acquire().await.map_err(|_| EndError::stop("the run is over"))?;
        let chunks = self.target.store.chunks();
        let bad = match chunks.read(&chunk.digest).await {
            Ok(blob) => match verify::check(chunk, blob).await {
                Ok(_) => return Ok(true),
                Err(bad) if !bad.is_damage() => {
                    let claim = format!("chunk {} is at the target, but not as the source describes it", chunk.digest);
                    return Err(EndError::skip(claim).caused_by(bad).with_hint("verify the snapshot at the source"));
                }
                Err(bad) => bad.to_string(),
            },
            Err(DatastoreError::ChunkMissing(_)) => return Ok(false),
            Err(error) if error.is_corrupt() => error.chain(),
            Err(error) => return Err(error.into()),
        };
        if self.damaged == Damaged::Left {
            tracing::warn!("chunk {} in {} is damaged: {bad}", chunk.digest, self.target.describe());
            return Ok(false);
        }
        tracing::warn!("chunk {} in {} is damaged and set aside: {bad}", chunk.digest, self.target.describe());
        chunks.set_aside(&chunk.digest, None).await?;
        Ok(false)
    }
}

/// Lists what a good snapshot names.
fn named_by(store: &Datastore, namespace: &Namespace, base: &SnapshotId) -> Result<HashSet<ChunkRef>, DatastoreError> {
    let (manifest, _) = store.manifest(namespace, base)?;
    let mut named = HashSet::new();
    if manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Failed) {
        return Ok(named);
    }
    for info in manifest.files.iter().filter(|info| info.filename.kind() != ArchiveKind::Blob) {
        let index = store.index(namespace, base, &info.filename)?;
        named.extend(ChunkRef::of_index(&index, info.crypt_mode));
    }
    Ok(named)
}
