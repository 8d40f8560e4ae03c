//! Verification: reads every byte of a snapshot and compares it with the manifest.
//!
//! Each chunk is read once per run, whatever many snapshots use it. One that was read and is wrong is set aside, so that the next
//! backup stores it anew; one that could not be read stays where it is. Memory: one encoded and one decoded chunk for each worker,
//! and about 100 bytes for each chunk of the run.
//!
//! An encrypted chunk is checked by its CRC, and with the key of its snapshot also by what it holds. Without that key nobody can
//! tell a chunk from another one that is as well formed.

mod files;
mod seal;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use formats::{
    BlobError, BlobKind, ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Fingerprint, Index, MAX_CHUNK_PLAIN,
    Namespace, SnapshotId, Upid, VerifyResult, VerifyState,
};
use tokio::task::JoinSet;

use self::files::check_file;
use self::seal::Seal;
use crate::chunks::ChunkStore;
use crate::error::{DatastoreError, Result};
use crate::store::Datastore;

/// Most chunks read and checked at a time.
const MAX_WORKERS: usize = 4;
/// Problems listed for one file; more are only counted.
const MAX_PROBLEMS: usize = 50;

/// What is known about the chunks of a run. Clones share it, so one serves all snapshots of a run.
#[derive(Clone, Default)]
pub struct VerifyCache {
    verdicts: Arc<Mutex<HashMap<ChunkDigest, Verdict>>>,
    keys: Arc<[CryptKey]>,
}

#[derive(Clone, Debug)]
enum Verdict {
    /// `key` is the one it was decrypted with, if it was.
    Good {
        encrypted: bool,
        plain_len: Option<u64>,
        key: Option<Fingerprint>,
    },
    Bad(Wrong),
}

/// Something that is wrong, and whether that is the data's fault.
#[derive(Clone, Debug)]
struct Wrong {
    message: Arc<str>,
    /// The data is damaged; otherwise it could not be looked at, which says nothing about it.
    damage: bool,
}

impl Wrong {
    fn damage(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into(), damage: true }
    }
}

impl From<DatastoreError> for Wrong {
    fn from(error: DatastoreError) -> Self {
        Self { message: error.chain().into(), damage: error.is_damage() }
    }
}

impl VerifyCache {
    /// An empty cache, for a new run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks encrypted chunks with whichever of `keys` their snapshot is under.
    #[must_use]
    pub fn with_keys(self, keys: Vec<CryptKey>) -> Self {
        Self { keys: keys.into(), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkDigest, Verdict>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunks of an index that nothing is known about yet, or not with `key`, each once, in index order.
    fn unknown(&self, index: &Index, key: Option<&CryptKey>) -> Vec<(ChunkDigest, u64)> {
        let key = key.map(CryptKey::fingerprint);
        let known = self.lock();
        let mut seen = HashSet::new();
        index
            .entries()
            .filter(|entry| match known.get(&entry.digest) {
                // What could not be looked at before may be now.
                None | Some(Verdict::Bad(Wrong { damage: false, .. })) => seen.insert(entry.digest),
                Some(Verdict::Good { encrypted: true, key: checked, .. }) if key.is_some() && key != *checked => {
                    seen.insert(entry.digest)
                }
                Some(_) => false,
            })
            .map(|entry| (entry.digest, entry.len()))
            .collect()
    }
}

/// One thing that is wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyProblem {
    /// The file concerned, as the manifest calls it.
    pub file: String,
    /// What is wrong with it.
    pub message: String,
}

/// What verifying a snapshot found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// All that is wrong; nothing if the snapshot is good.
    pub problems: Vec<VerifyProblem>,
    /// Chunks read for this snapshot. Those that an earlier one of the run had are not read again.
    pub chunks: u64,
    /// Encoded bytes read for these chunks.
    pub bytes: u64,
    /// Corrupt chunks set aside.
    pub set_aside: u64,
    /// Some of what is wrong is damage. False as well while [`problems`](Self::problems) only say that data could not be looked at
    /// for want of rights or resources: such a verification has failed, the snapshot has not.
    pub damaged: bool,
    /// What was not checked, although keys were given.
    pub notes: Vec<String>,
    /// Why the snapshot was not verified at all: it is in use or has vanished. That is no failure.
    pub skipped: Option<String>,
}

impl VerifyReport {
    /// True when nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// The result to store; none when nobody knows.
    pub fn result(&self) -> Option<VerifyResult> {
        match (self.is_ok(), self.damaged) {
            (true, _) => Some(VerifyResult::Ok),
            (false, true) => Some(VerifyResult::Failed),
            (false, false) => None,
        }
    }

    fn problem(&mut self, file: &str, wrong: &Wrong) {
        self.damaged |= wrong.damage;
        self.problems.push(VerifyProblem { file: file.to_owned(), message: wrong.message.to_string() });
    }
}

impl Datastore {
    /// Verifies a snapshot and stores the result in its manifest, under the task `upid`.
    ///
    /// Holds the snapshot's shared lock meanwhile. Sets chunks aside that were read and are wrong. Where data could not be looked at
    /// for want of rights or resources, and nothing else is wrong, the stored result stays what it was.
    ///
    /// # Errors
    /// When the result cannot be stored. What is wrong with the snapshot is in the report, a manifest that does not load included
    /// (then nothing is stored).
    pub async fn verify_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotId,
        cache: &VerifyCache,
        upid: Upid,
    ) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let _lock = match self.on_pool(ns, snapshot, Self::lock_snapshot_shared).await {
            Ok(lock) => lock,
            Err(e) if e.is_busy() || e.is_not_found() => {
                report.skipped = Some(e.to_string());
                return Ok(report);
            }
            Err(e) => return Err(e),
        };
        let manifest = match self.on_pool(ns, snapshot, Self::manifest).await {
            Ok((manifest, _)) => manifest,
            Err(e) => {
                report.problem(formats::MANIFEST_NAME, &e.into());
                return Ok(report);
            }
        };
        let key = match Seal::of(&manifest, &cache.keys) {
            Seal::Unread => None,
            Seal::Key(key) => Some(key),
            Seal::Unproven(note) => {
                report.notes.push(note);
                None
            }
            Seal::Broken(message) => {
                report.problem(formats::MANIFEST_NAME, &Wrong::damage(message));
                None
            }
        };
        for file in manifest.files {
            let checked = {
                let file = file.clone();
                self.on_pool(ns, snapshot, move |store, ns, snapshot| Ok(check_file(store, ns, snapshot, &file)))
                    .await?
            };
            match checked {
                Ok(None) => {}
                Ok(Some(index)) => {
                    let key = key.filter(|_| file.crypt_mode == CryptMode::Encrypt);
                    self.verify_chunks(&file, index, key, cache, &mut report).await?;
                }
                Err(wrong) => report.problem(file.filename.as_str(), &wrong),
            }
        }
        let Some(state) = report.result() else { return Ok(report) };
        let state = VerifyState { upid, state };
        self.on_pool(ns, snapshot, move |store, ns, snapshot| {
            store.update_manifest(ns, snapshot, |manifest| {
                manifest.set_verify_state(&state);
                Ok(())
            })
        })
        .await?;
        Ok(report)
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotId,
        work: impl FnOnce(&Self, &Namespace, &SnapshotId) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, ns, snapshot) = (self.clone(), ns.clone(), snapshot.clone());
        crate::blocking(move || work(&store, &ns, &snapshot)).await
    }

    /// Reads the chunks of an index that are new to the run, then judges each entry.
    async fn verify_chunks(
        &self,
        file: &FileInfo,
        index: Index,
        key: Option<&CryptKey>,
        cache: &VerifyCache,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let work = Arc::new(Work { queue: cache.unknown(&index, key), key: key.cloned(), ..Work::default() });
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_WORKERS);
        let mut running = JoinSet::new();
        for _ in 0..workers.min(work.queue.len()) {
            running.spawn(work_through(Arc::clone(self.chunks()), Arc::clone(&work), cache.clone()));
        }
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok(result) => result?,
                Err(e) => match e.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return Err(DatastoreError::Refused("verification was cancelled".to_owned())),
                },
            }
        }
        report.chunks += work.chunks.load(Ordering::Relaxed);
        report.bytes += work.bytes.load(Ordering::Relaxed);
        report.set_aside += work.set_aside.load(Ordering::Relaxed);
        judge_entries(file, &index, cache, report);
        Ok(())
    }
}

/// The chunks to read for one index, and what reading them has come to.
#[derive(Default)]
struct Work {
    queue: Vec<(ChunkDigest, u64)>,
    key: Option<CryptKey>,
    next: AtomicUsize,
    chunks: AtomicU64,
    bytes: AtomicU64,
    set_aside: AtomicU64,
}

async fn work_through(chunks: Arc<dyn ChunkStore>, work: Arc<Work>, cache: VerifyCache) -> Result<()> {
    while let Some((digest, plain_len)) = work.queue.get(work.next.fetch_add(1, Ordering::Relaxed)).copied() {
        let checked = match chunks.read(&digest).await {
            Ok(blob) => {
                work.bytes.fetch_add(blob.encoded_len(), Ordering::Relaxed);
                let work = Arc::clone(&work);
                crate::blocking(move || Ok(check_chunk(&blob, &digest, plain_len, work.key.as_ref()))).await?
            }
            Err(e) => Err(e),
        };
        work.chunks.fetch_add(1, Ordering::Relaxed);
        let verdict = match checked {
            Ok(verdict) => verdict,
            Err(e) => {
                let mut message = e.chain();
                if e.is_corrupt() {
                    match chunks.set_aside(&digest, work.key.as_ref()).await {
                        Ok(None) => {}
                        Ok(Some(_)) => {
                            work.set_aside.fetch_add(1, Ordering::Relaxed);
                            message.push_str(" (set aside)");
                        }
                        // Known all the same: the snapshot has failed.
                        Err(stays) => message.push_str(&format!(" (it stays: {})", stays.chain())),
                    }
                }
                Verdict::Bad(Wrong { message: message.into(), damage: e.is_damage() })
            }
        };
        cache.lock().insert(digest, verdict);
    }
    Ok(())
}

/// Judges a chunk for itself: an index that claims a wrong length for it is the index's fault, found later.
fn check_chunk(blob: &DataBlob, digest: &ChunkDigest, plain_len: u64, key: Option<&CryptKey>) -> Result<Verdict> {
    let kind = blob.kind();
    let encrypted = kind.is_encrypted();
    let good = |plain_len: Option<u64>| {
        let key = key.filter(|_| encrypted).map(CryptKey::fingerprint);
        Ok(Verdict::Good { encrypted, plain_len, key })
    };
    let wrong = match blob.verify_chunk(digest, plain_len, key) {
        // Nobody can tell the length of what is compressed below the encryption without the key.
        Ok(()) if kind == BlobKind::EncryptedCompressed && key.is_none() => return good(None),
        Ok(()) => return good(Some(plain_len)),
        Err(BlobError::PlainLength { found, .. }) if encrypted && key.is_none() => return good(Some(found)),
        Err(wrong) => wrong,
    };
    let name = |plain: &[u8]| match key {
        Some(key) if encrypted => key.digest(plain),
        _ => ChunkDigest::of(plain),
    };
    match blob.decode(key, MAX_CHUNK_PLAIN) {
        Ok(plain) if name(&plain) == *digest => good(Some(plain.len() as u64)),
        _ => Err(DatastoreError::ChunkCorrupt { digest: *digest, reason: wrong.to_string() }),
    }
}

/// Compares each entry of an index with what is known about its chunk.
fn judge_entries(file: &FileInfo, index: &Index, cache: &VerifyCache, report: &mut VerifyReport) {
    let name = file.filename.as_str();
    let wants_encrypted = file.crypt_mode == CryptMode::Encrypt;
    let known = cache.lock();
    let mut seen = HashSet::new();
    let mut unlisted = 0_u64;
    for entry in index.entries() {
        let wrong = match known.get(&entry.digest) {
            Some(Verdict::Good { encrypted, .. }) if *encrypted != wants_encrypted => {
                let kind = if *encrypted { "encrypted" } else { "not encrypted" };
                Wrong::damage(format!("chunk {} is {kind}, against the file's crypt mode", entry.digest))
            }
            Some(Verdict::Good { plain_len: Some(found), .. }) if *found != entry.len() => {
                Wrong::damage(format!("chunk {} holds {found} bytes, the index says {}", entry.digest, entry.len()))
            }
            Some(Verdict::Good { .. }) => continue,
            Some(Verdict::Bad(wrong)) => wrong.clone(),
            None => Wrong { message: format!("chunk {} was not read", entry.digest).into(), damage: false },
        };
        if !seen.insert(entry.digest) {
            continue;
        }
        if seen.len() > MAX_PROBLEMS {
            unlisted += 1;
            report.damaged |= wrong.damage;
        } else {
            report.problem(name, &wrong);
        }
    }
    if unlisted > 0 {
        let message = format!("{unlisted} more chunks are missing or wrong").into();
        report.problem(name, &Wrong { message, damage: false });
    }
}
