//! Verification: reads every byte of a snapshot and compares it with the manifest.
//!
//! Each chunk is read once per run, whatever many snapshots use it. One that was read and is wrong is set aside, so that the next
//! backup stores it anew; one that could not be read stays where it is. Memory: one encoded and one decoded chunk for each worker,
//! and about 64 bytes for each chunk of the run.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use formats::{
    ArchiveKind, BlobError, BlobKind, ChunkDigest, CryptMode, DataBlob, FileInfo, Index, MAX_BLOB_PLAIN,
    MAX_CHUNK_PLAIN, Namespace, RSA_KEY_NAME, SnapshotId, Upid, VerifyResult, VerifyState, sha256,
};
use tokio::task::JoinSet;

use crate::chunks::ChunkStore;
use crate::error::{DatastoreError, Result};
use crate::store::Datastore;

/// Most chunks read and checked at a time.
const MAX_WORKERS: usize = 4;
/// Problems listed for one file; more are only counted.
const MAX_PROBLEMS: usize = 50;

/// What is known about the chunks of a run. Clones share it, so one serves all snapshots of a run.
#[derive(Clone, Debug, Default)]
pub struct VerifyCache {
    verdicts: Arc<Mutex<HashMap<ChunkDigest, Verdict>>>,
}

#[derive(Clone, Debug)]
enum Verdict {
    Good { encrypted: bool, plain_len: Option<u64> },
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

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkDigest, Verdict>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunks of an index that nothing is known about yet, each once, in index order.
    fn unknown(&self, index: &Index) -> Vec<(ChunkDigest, u64)> {
        let known = self.lock();
        let mut seen = HashSet::new();
        index
            .entries()
            .filter(|entry| match known.get(&entry.digest) {
                // What could not be looked at before may be now.
                None | Some(Verdict::Bad(Wrong { damage: false, .. })) => seen.insert(entry.digest),
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
        for file in manifest.files {
            let checked = {
                let file = file.clone();
                self.on_pool(ns, snapshot, move |store, ns, snapshot| Ok(check_file(store, ns, snapshot, &file)))
                    .await?
            };
            match checked {
                Ok(None) => {}
                Ok(Some(index)) => self.verify_chunks(&file, index, cache, &mut report).await?,
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
        cache: &VerifyCache,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let work = Arc::new(Work { queue: cache.unknown(&index), ..Work::default() });
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
                crate::blocking(move || Ok(check_chunk(&blob, &digest, plain_len))).await?
            }
            Err(e) => Err(e),
        };
        work.chunks.fetch_add(1, Ordering::Relaxed);
        let verdict = match checked {
            Ok(verdict) => verdict,
            Err(e) => {
                let mut message = e.chain();
                if e.is_corrupt() {
                    match chunks.set_aside(&digest).await {
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
fn check_chunk(blob: &DataBlob, digest: &ChunkDigest, plain_len: u64) -> Result<Verdict> {
    let kind = blob.kind();
    let encrypted = kind.is_encrypted();
    let wrong = match blob.verify_chunk(digest, plain_len, None) {
        Ok(()) => {
            // Nobody can tell the length of what is compressed below the encryption.
            let plain_len = (kind != BlobKind::EncryptedCompressed).then_some(plain_len);
            return Ok(Verdict::Good { encrypted, plain_len });
        }
        Err(BlobError::PlainLength { found, .. }) if encrypted => {
            return Ok(Verdict::Good { encrypted, plain_len: Some(found) });
        }
        Err(wrong) => wrong,
    };
    match blob.decode(None, MAX_CHUNK_PLAIN) {
        Ok(plain) if !encrypted && ChunkDigest::of(&plain) == *digest => {
            Ok(Verdict::Good { encrypted, plain_len: Some(plain.len() as u64) })
        }
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

/// Checks one file of a snapshot but for its chunks; returns it when it is an index.
fn check_file(
    store: &Datastore,
    ns: &Namespace,
    snapshot: &SnapshotId,
    file: &FileInfo,
) -> std::result::Result<Option<Index>, Wrong> {
    let bytes = store.read_file(ns, snapshot, &file.filename)?;
    let checked = match file.filename.kind() {
        ArchiveKind::Blob => check_blob(bytes, file).map(|()| None),
        kind => check_index(kind, bytes, file).map(Some),
    };
    checked.map_err(Wrong::damage)
}

fn check_index(kind: ArchiveKind, bytes: Vec<u8>, file: &FileInfo) -> std::result::Result<Index, String> {
    let index = Index::parse(kind, bytes).map_err(|e| e.to_string())?;
    if index.csum() != file.csum {
        return Err("its checksum is not the manifest's".to_owned());
    }
    if index.size() != file.size {
        return Err(format!("it describes {} bytes, the manifest says {}", index.size(), file.size));
    }
    Ok(index)
}

fn check_blob(bytes: Vec<u8>, file: &FileInfo) -> std::result::Result<(), String> {
    if bytes.len() as u64 != file.size {
        return Err(format!("it has {} bytes, the manifest says {}", bytes.len(), file.size));
    }
    if sha256(&bytes) != file.csum {
        return Err("its checksum is not the manifest's".to_owned());
    }
    let blob = DataBlob::parse(bytes).map_err(|e| e.to_string())?;
    let encrypted = blob.kind().is_encrypted();
    // Encrypted with a public key inside a plain blob, although the manifest says "encrypt".
    let exempt = file.filename.as_str() == RSA_KEY_NAME;
    if encrypted != (file.crypt_mode == CryptMode::Encrypt) && !exempt {
        let kind = if encrypted { "encrypted" } else { "not encrypted" };
        return Err(format!("it is {kind}, against its crypt mode in the manifest"));
    }
    if encrypted {
        return blob.verify_crc().map_err(|e| e.to_string());
    }
    blob.decode(None, MAX_BLOB_PLAIN).map(drop).map_err(|e| e.to_string())
}
