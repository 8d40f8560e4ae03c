//! Plain snapshots, shown as the encrypted ones they become.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Fingerprint, GroupId,
    ListingFingerprint, MAX_BLOB_PLAIN, Manifest, Namespace, SnapshotId,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Semaphore;

use super::{Rewritten, renamed};
use crate::error::EndError;
use crate::executor::{check_blob, check_index};
use crate::traits::{ChunkRef, GroupInfo, Inventoried, OpenSnapshot, SnapshotInfo, Source};
use crate::verify::on_core;

/// Chunks that one snapshot has read to learn their names at the same time.
const READ_AT_ONCE: usize = 8;
/// Snapshots that do so at the same time.
const SNAPSHOTS_AT_ONCE: usize = 2;
/// Names remembered from one snapshot to the next, some 100 bytes each; when there are more, all are forgotten.
const MAX_REMEMBERED: usize = 2_000_000;

/// A source whose plain snapshots are encrypted on their way.
///
/// A snapshot whose files are all encrypted is handed on as it is; one that is encrypted in part is left alone with a
/// warning. A file that is only signed is plain to whoever reads it, so it is encrypted too, under the new signature.
#[derive(Clone)]
pub struct EncryptingSource {
    inner: Arc<dyn Source>,
    key: Arc<CryptKey>,
    names: Arc<Mutex<HashMap<ChunkRef, ChunkDigest>>>,
    reading: Arc<Semaphore>,
}

impl EncryptingSource {
    /// Encrypts what comes from `inner` with `key`.
    pub fn new(inner: Arc<dyn Source>, key: CryptKey) -> Self {
        let reading = Arc::new(Semaphore::new(SNAPSHOTS_AT_ONCE));
        Self { inner, key: Arc::new(key), names: Arc::default(), reading }
    }

    fn name_of(&self, chunk: &ChunkRef) -> Option<ChunkDigest> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(chunk).copied()
    }

    fn remember(&self, chunk: ChunkRef, name: ChunkDigest) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_REMEMBERED {
            names.clear();
        }
        names.insert(chunk, name);
    }

    /// Learns the names that the distinct `chunks` have once they are encrypted, reading those not seen before.
    async fn names(
        &self,
        open: &dyn OpenSnapshot,
        chunks: HashSet<ChunkRef>,
    ) -> Result<HashMap<ChunkRef, ChunkDigest>, EndError> {
        let _reading = self.reading.acquire().await.map_err(|_| EndError::stop("the run is over"))?;
        let (mut known, mut unknown) = (HashMap::with_capacity(chunks.len()), Vec::new());
        for chunk in chunks {
            match self.name_of(&chunk) {
                Some(name) => drop(known.insert(chunk, name)),
                None => unknown.push(chunk),
            }
        }
        for batch in unknown.chunks(READ_AT_ONCE) {
            let mut named = open
                .fetch(batch.to_vec())
                .map(|(chunk, blob)| async move { Ok::<_, EndError>((chunk, self.name(chunk, blob?).await?)) })
                .buffer_unordered(READ_AT_ONCE);
            while let Some(named) = named.next().await {
                let (chunk, name) = named?;
                self.remember(chunk, name);
                known.insert(chunk, name);
            }
        }
        Ok(known)
    }

    async fn name(&self, chunk: ChunkRef, blob: DataBlob) -> Result<ChunkDigest, EndError> {
        let key = Arc::clone(&self.key);
        on_core(move || plain_chunk(&chunk, &blob).map(|plain| key.digest(&plain))).await?
    }

    /// Makes the encrypted form of `open`, whose files are all plain.
    async fn encrypted(&self, open: Box<dyn OpenSnapshot>) -> Result<EncryptedSnapshot, EndError> {
        let original = open.manifest().clone();
        let mut manifest = original.clone();
        manifest.files.clear();
        let (mut files, mut plain_of) = (BTreeMap::new(), HashMap::new());
        for info in &original.files {
            let named = |error: EndError| error.while_doing(&info.filename);
            let bytes = open.file(&info.filename).await.map_err(named)?;
            let file = if info.filename.kind() == ArchiveKind::Blob {
                check_blob(info, &bytes)?;
                self.blob(&info.filename, bytes).await.map_err(named)?
            } else {
                self.index(open.as_ref(), info, &bytes, &mut plain_of).await.map_err(named)?
            };
            manifest.files.push(file.info);
            files.insert(info.filename.clone(), file.bytes);
        }
        manifest.clear_verify_state();
        manifest.sign(&self.key);
        manifest.set_source_signature(Fingerprint::from_bytes(self.key.sign(&original.canonical_signed_part())));
        let blob = manifest
            .to_blob()
            .map_err(|error| EndError::skip("its encrypted manifest cannot be written").caused_by(error))?;
        Ok(EncryptedSnapshot { inner: open, key: Arc::clone(&self.key), original, manifest, blob, files, plain_of })
    }

    async fn blob(&self, name: &ArchiveName, bytes: Bytes) -> Result<Rewritten, EndError> {
        let bytes = encrypted_blob(Arc::clone(&self.key), bytes).await?;
        Ok(Rewritten { info: FileInfo::of_blob(name.clone(), CryptMode::Encrypt, &bytes), bytes })
    }

    async fn index(
        &self,
        open: &dyn OpenSnapshot,
        info: &FileInfo,
        bytes: &Bytes,
        plain_of: &mut HashMap<ChunkRef, ChunkDigest>,
    ) -> Result<Rewritten, EndError> {
        let index = check_index(info, bytes)?;
        let plain = |digest, plain_len| ChunkRef { digest, plain_len, encrypted: false };
        let names = self.names(open, ChunkRef::of_index(&index, CryptMode::None).collect()).await?;
        for (chunk, name) in &names {
            plain_of.insert(ChunkRef { digest: *name, encrypted: true, ..*chunk }, chunk.digest);
        }
        let index = renamed(&index, |entry| names.get(&plain(entry.digest, entry.len())).copied())?;
        let (size, csum) = (index.size, index.csum);
        let info = FileInfo { filename: info.filename.clone(), crypt_mode: CryptMode::Encrypt, size, csum };
        Ok(Rewritten { info, bytes: index.bytes.into() })
    }
}

/// Decodes a plain chunk, which must be what it is called.
fn plain_chunk(chunk: &ChunkRef, blob: &DataBlob) -> Result<Vec<u8>, EndError> {
    let bad = |error| {
        EndError::skip(format!("chunk {} cannot be encrypted", chunk.digest))
            .caused_by(error)
            .with_hint("verify the snapshot at the source")
    };
    blob.decode_chunk(&chunk.digest, chunk.plain_len, None).map_err(bad)
}

/// Encrypts a plain blob file.
async fn encrypted_blob(key: Arc<CryptKey>, bytes: Bytes) -> Result<Bytes, EndError> {
    on_core(move || {
        let plain = DataBlob::parse(bytes)?.decode(None, MAX_BLOB_PLAIN)?;
        DataBlob::encode(&plain, true, Some(&key))
    })
    .await?
    .map(DataBlob::into_bytes)
    .map_err(|error: formats::BlobError| EndError::skip("it cannot be encrypted").caused_by(error))
}

#[async_trait]
impl Inventoried for EncryptingSource {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        self.inner.namespaces(below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        self.inner.groups(namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        self.inner.snapshots(namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        self.inner.fingerprint(below, max_depth).await
    }
}

#[async_trait]
impl Source for EncryptingSource {
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        let Some(open) = self.inner.open(namespace, snapshot).await? else { return Ok(None) };
        let files = &open.manifest().files;
        let encrypted = files.iter().filter(|info| info.crypt_mode == CryptMode::Encrypt).count();
        if encrypted == 0 {
            return Ok(Some(Box::new(self.encrypted(open).await?)));
        }
        Ok(Some(if encrypted == files.len() { open } else { Box::new(PartlyEncrypted(open)) }))
    }

    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError> {
        self.inner.notes(namespace, snapshot).await
    }

    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError> {
        self.inner.group_notes(namespace, group).await
    }

    async fn may_remove(&self, namespace: &Namespace, group: &GroupId) -> Result<(), EndError> {
        self.inner.may_remove(namespace, group).await
    }

    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        self.inner.remove_moved(namespace, snapshot).await
    }
}

/// A plain snapshot in its encrypted form.
struct EncryptedSnapshot {
    inner: Box<dyn OpenSnapshot>,
    key: Arc<CryptKey>,
    original: Manifest,
    manifest: Manifest,
    blob: DataBlob,
    /// Every file of the manifest as it is sent. Blobs are here too: encrypting them anew gives other bytes.
    files: BTreeMap<ArchiveName, Bytes>,
    /// The plain chunk behind each encrypted one.
    plain_of: HashMap<ChunkRef, ChunkDigest>,
}

impl EncryptedSnapshot {
    async fn encrypt(&self, chunk: ChunkRef, plain: ChunkRef, blob: DataBlob) -> Result<DataBlob, EndError> {
        let key = Arc::clone(&self.key);
        on_core(move || {
            let bytes = plain_chunk(&plain, &blob)?;
            if key.digest(&bytes) != chunk.digest {
                return Err(EndError::skip(format!("chunk {} changed while it was read", plain.digest)));
            }
            DataBlob::encode(&bytes, true, Some(&key))
                .map_err(|error| EndError::skip(format!("chunk {} cannot be encrypted", plain.digest)).caused_by(error))
        })
        .await?
    }
}

#[async_trait]
impl OpenSnapshot for EncryptedSnapshot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn manifest_blob(&self) -> &DataBlob {
        &self.blob
    }

    fn original(&self) -> &Manifest {
        &self.original
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        let file = self.files.get(name).cloned();
        file.ok_or_else(|| EndError::skip(format!("`{name}` is not in the manifest")))
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        match self.inner.client_log().await? {
            Some(log) => encrypted_blob(Arc::clone(&self.key), log).await.map(Some),
            None => Ok(None),
        }
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        let at_once = chunks.len().max(1);
        let (mut plain, mut wanted, mut unknown) = (Vec::new(), HashMap::new(), Vec::new());
        for chunk in chunks {
            match self.plain_of.get(&chunk) {
                Some(digest) => {
                    let of = ChunkRef { digest: *digest, encrypted: false, ..chunk };
                    wanted.insert(of, chunk);
                    plain.push(of);
                }
                None => {
                    let error = EndError::skip(format!("chunk {} is not of this snapshot", chunk.digest));
                    unknown.push((chunk, Err(error)));
                }
            }
        }
        self.inner
            .fetch(plain)
            .filter_map(move |(plain, blob)| {
                let chunk = wanted.get(&plain).copied();
                async move { chunk.map(|chunk| (chunk, plain, blob)) }
            })
            .map(move |(chunk, plain, blob)| async move {
                let encrypted = match blob {
                    Ok(blob) => self.encrypt(chunk, plain, blob).await,
                    Err(error) => Err(error),
                };
                (chunk, encrypted)
            })
            .buffer_unordered(at_once)
            .chain(stream::iter(unknown))
            .boxed()
    }
}

/// A snapshot of which some files are encrypted and others are not.
struct PartlyEncrypted(Box<dyn OpenSnapshot>);

#[async_trait]
impl OpenSnapshot for PartlyEncrypted {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn manifest_blob(&self) -> &DataBlob {
        self.0.manifest_blob()
    }

    fn objection(&self) -> Option<&str> {
        Some(
            "some of its files are encrypted and others are not, so it is neither encrypted nor pushed as it is: skipped",
        )
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        self.0.file(name).await
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        self.0.client_log().await
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        self.0.fetch(chunks)
    }
}
