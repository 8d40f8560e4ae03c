//! Files of snapshots outside of sessions, and the client's log.

use std::sync::Arc;

use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, ChunkDigest, DataBlob, Index, MAX_BLOB_PLAIN, MAX_CHUNK_PLAIN, Namespace, SnapshotId,
};

use super::call::{Call, OwnerCheck};
use crate::http::body::read_limited;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::reader::file_name;
use crate::stores::Purpose;
use datastore::Datastore;

/// Longest client log, encoded: a blob as big as a session's blobs may be.
const MAX_LOG: usize = (16 << 20) + 45;

/// Longest archive that is decoded as a whole; larger ones are for sessions.
const MAX_DECODED: u64 = 256 << 20;

/// `GET download`: a file as it is stored. What is missing is 400 here.
pub(crate) async fn download(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let name = file_name(call.params.text("file-name")?)?;
    let store = call.datastore(Purpose::Read)?;
    let bytes = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            Ok::<_, ApiError>(store.read_file(&ns, &snapshot, &name)?)
        })
        .await??;
    Ok(Reply::file(bytes.into()))
}

/// `GET download-decoded`: the content of a file that is not encrypted.
pub(crate) async fn download_decoded(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let name = file_name(call.params.text("file-name")?)?;
    let store = call.datastore(Purpose::Read)?;
    let (reading, wanted) = (store.clone(), name.clone());
    let bytes = call.state.blocking(move || stored(&reading, &ns, &snapshot, &wanted, &check)).await??;
    if name.kind() == ArchiveKind::Blob {
        let plain = call.state.compute(move || decoded(bytes, MAX_BLOB_PLAIN)).await??;
        return Ok(Reply::file(plain.into()));
    }
    let index = Index::parse(name.kind(), bytes).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if index.size() > MAX_DECODED {
        return Err(ApiError::bad_request("archive is too large to be decoded here, use a reader session"));
    }
    let mut plain = Vec::new();
    for entry in index.entries() {
        plain.extend_from_slice(&chunk(&call, &store, entry.digest).await?);
    }
    Ok(Reply::file(plain.into()))
}

async fn chunk(call: &Call, store: &Datastore, digest: ChunkDigest) -> Result<Vec<u8>, ApiError> {
    let blob = store.chunks().read(&digest).await?;
    call.state.compute(move || decoded(blob.into_bytes(), MAX_CHUNK_PLAIN)).await?
}

fn stored(
    store: &Datastore,
    ns: &Namespace,
    snapshot: &SnapshotId,
    name: &ArchiveName,
    check: &OwnerCheck,
) -> Result<Bytes, ApiError> {
    check.check(store, ns, &snapshot.group)?;
    let (manifest, _) = store.manifest(ns, snapshot)?;
    if manifest.find(name).is_some_and(|file| file.crypt_mode == formats::CryptMode::Encrypt) {
        return Err(ApiError::bad_request(format!("cannot decode '{name}' - is encrypted")));
    }
    Ok(store.read_file(ns, snapshot, name)?.into())
}

fn decoded(encoded: Bytes, limit: usize) -> Result<Vec<u8>, ApiError> {
    let blob = DataBlob::parse(encoded).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if blob.kind().is_encrypted() {
        return Err(ApiError::bad_request("cannot decode an encrypted file"));
    }
    blob.decode(None, limit).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// `POST upload-backup-log`: the owner's client adds its log, once.
pub(crate) async fn upload_log(mut call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot) = (call.namespace()?, call.params.snapshot()?);
    let check = OwnerCheck::always(call.identity()?);
    let store = call.datastore(Purpose::Write)?;
    let body = call.body.take().ok_or_else(|| ApiError::bad_request("the log is missing"))?;
    let state = Arc::clone(&call.state);
    let body = read_limited(body, MAX_LOG, state.settings.body_timeout).await?;
    state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            let refuse = |error| ApiError::bad_request(format!("log refused: {error}"));
            let blob = DataBlob::parse(body).map_err(refuse)?;
            blob.verify_crc().map_err(refuse)?;
            Ok::<_, ApiError>(store.store_client_log(&ns, &snapshot, &blob)?)
        })
        .await??;
    Ok(Reply::null())
}
