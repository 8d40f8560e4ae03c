//! What writing a decrypted snapshot and asking about one have in common: the key, and the plain names of chunks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use formats::{ChunkDigest, CryptKey, CryptMode, DataBlob, Index, Manifest};

use super::decide::{Way, decide};
use crate::error::EndError;
use crate::executor::check_index;
use crate::traits::{ChunkRef, Expectation, OpenSnapshot};

/// The plain names of encrypted chunks seen in this run.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<ChunkRef, ChunkDigest>>);

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkRef, ChunkDigest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, chunk: &ChunkRef) -> Option<ChunkDigest> {
        self.lock().get(chunk).copied()
    }

    pub(super) fn learn(&self, chunk: ChunkRef, name: ChunkDigest) {
        self.lock().insert(chunk, name);
    }

    /// Learns the names of a snapshot from its decrypted copy: their indexes list the same chunks in the same order.
    ///
    /// Nothing is learnt unless the copy says that it was made of this very snapshot, whose signature is that of a key at
    /// hand, and the indexes are those that the manifests speak of.
    pub(super) async fn pair(
        &self,
        source: &dyn OpenSnapshot,
        copy: &dyn OpenSnapshot,
        keys: &[CryptKey],
    ) -> Result<(), EndError> {
        let (original, decrypted) = (source.manifest(), copy.manifest());
        if !matches!(decide(original, Some(decrypted), keys, false), Ok(Way::Unchanged(_))) {
            return Ok(());
        }
        for info in original.files.iter().filter(|info| info.filename.kind() != formats::ArchiveKind::Blob) {
            let Some(ours) = decrypted.find(&info.filename).filter(|ours| ours.crypt_mode != CryptMode::Encrypt) else {
                continue;
            };
            let theirs = check_index(info, &source.file(&info.filename).await?)?;
            let ours = check_index(ours, &copy.file(&info.filename).await?)?;
            self.pair_indexes(&theirs, &ours);
        }
        Ok(())
    }

    fn pair_indexes(&self, encrypted: &Index, decrypted: &Index) {
        let ends = |index: &Index| index.entries().map(|entry| (entry.start, entry.end)).collect::<Vec<_>>();
        if ends(encrypted) != ends(decrypted) {
            return;
        }
        let chunks = ChunkRef::of_index(encrypted, CryptMode::Encrypt);
        self.lock().extend(chunks.zip(decrypted.entries().map(|entry| entry.digest)));
    }
}

/// The plain chunk that `chunk` becomes.
pub(super) fn plain(chunk: &ChunkRef, digest: ChunkDigest) -> ChunkRef {
    ChunkRef { digest, encrypted: false, ..*chunk }
}

/// How one snapshot is read: as it is, or with a key.
pub(super) struct Translation {
    keys: Arc<[CryptKey]>,
    pub(super) names: Arc<Names>,
    /// Set once the manifest was heard, where the snapshot is decrypted.
    key: OnceLock<CryptKey>,
}

impl Translation {
    pub(super) fn new(keys: Arc<[CryptKey]>, names: Arc<Names>) -> Self {
        Self { keys, names, key: OnceLock::new() }
    }

    /// The key with which the snapshot is decrypted; `None` where it is taken as it is.
    pub(super) fn key(&self) -> Option<&CryptKey> {
        self.key.get()
    }

    /// Decides what becomes of a snapshot beside what is there already. The second part is for one that is taken as it
    /// is: a warning about that.
    pub(super) fn hear(&self, manifest: &Manifest, existing: Option<&DataBlob>, anew: bool) -> Result<Heard, EndError> {
        // One that cannot be read says nothing, and is replaced.
        let existing = existing.and_then(|blob| Manifest::parse_blob(blob).ok());
        let (key, unchanged) = match decide(manifest, existing.as_ref(), &self.keys, anew)? {
            Way::AsIs(warning) => return Ok(Heard::AsIs(warning)),
            Way::Decrypt(key) => (key, false),
            Way::Unchanged(key) => (key, true),
        };
        // Heard twice, it is the same snapshot and so the same key.
        let _ = self.key.set(key.clone());
        Ok(Heard::Decrypted(Expectation { unchanged, rewritten: true, warning: None }))
    }

    /// The plain chunks behind those of `chunks` whose names are known.
    pub(super) fn known(&self, chunks: &[ChunkRef]) -> Vec<ChunkRef> {
        chunks.iter().filter_map(|chunk| self.names.of(chunk).map(|name| plain(chunk, name))).collect()
    }

    /// Those of `chunks` that must be fetched: their names are not known, or the plain chunk is `missing`.
    pub(super) fn lacking(&self, chunks: &[ChunkRef], missing: Vec<ChunkRef>) -> Vec<ChunkRef> {
        let missing: HashSet<ChunkRef> = missing.into_iter().collect();
        let lacks = |chunk: &&ChunkRef| self.names.of(chunk).is_none_or(|name| missing.contains(&plain(chunk, name)));
        chunks.iter().filter(lacks).copied().collect()
    }
}

/// What becomes of a snapshot.
pub(super) enum Heard {
    /// It is taken as it is; there may be something to say about that.
    AsIs(Option<&'static str>),
    /// It is decrypted, or was before.
    Decrypted(Expectation),
}

impl Heard {
    /// What the wrapped end expects, with what is to be said beside it.
    pub(super) fn beside(warning: Option<&'static str>, expected: Expectation) -> Expectation {
        Expectation { warning: warning.map(str::to_owned).or(expected.warning), ..expected }
    }
}
