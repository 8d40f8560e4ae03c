//! Chunk uploads.

use std::sync::Arc;

use formats::{ArchiveKind, BlobError, ChunkDigest, DataBlob};

use super::Writer;
use crate::http::body::read_exact;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::h2::SessionCall;

/// `POST dynamic_chunk`, `POST fixed_chunk`: stores a chunk and only then lets the session name it.
pub(crate) async fn upload(mut call: SessionCall<Writer>, kind: ArchiveKind) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.require_open()?;
    let wid = call.params.uint("wid")?;
    let digest: ChunkDigest = call.params.parse("digest")?;
    let (size, encoded_size) = (call.params.uint("size")?, call.params.uint("encoded-size")?);
    session.indexes().check_upload(wid, kind, size)?;

    let share = call.state.uploads.share(session.number, encoded_size).await;
    let length = usize::try_from(encoded_size).map_err(|_| ApiError::parameter("encoded-size", "too large"))?;
    let body = read_exact(call.take_body()?, length, call.state.settings.upload_stall).await?;
    let blob = call.state.compute(move || checked(body, &digest, size)).await??;

    // Only now, so that a refused upload does not use up the one short chunk an image may have.
    session.indexes().count_upload(wid, kind, size)?;
    let (encoded, encrypted) = (blob.encoded_len(), blob.kind().is_encrypted());
    let inserted = session.store.chunks().insert(&digest, blob).await?;
    drop(share);
    session.known.add(digest, size);
    // Nobody here can tell an encrypted chunk from another one under its name: where one was there already, that it came
    // again proves nothing beyond this session.
    if !encrypted || matches!(inserted, datastore::Inserted::New(_)) {
        session.voucher.sent(&session.caller, digest, size);
    }
    {
        let mut statistics = session.statistics();
        statistics.chunks += 1;
        statistics.size += size;
        match inserted {
            datastore::Inserted::New(_) => statistics.compressed_size += encoded,
            datastore::Inserted::Duplicate(_) => {
                statistics.compressed_size += encoded;
                statistics.duplicates += 1;
            }
        }
    }
    Reply::json(&digest.to_string())
}

/// Checks an uploaded chunk against what its sender says of it. A wrong checksum is not an error but replaced: clients
/// may leave the field zero.
fn checked(body: bytes::Bytes, digest: &ChunkDigest, size: u64) -> Result<DataBlob, ApiError> {
    let refuse = |error: &BlobError| ApiError::bad_request(format!("chunk {digest} refused: {error}"));
    let blob = DataBlob::parse(body).map_err(|error| refuse(&error))?;
    let blob = match blob.verify_chunk(digest, size, None) {
        Ok(()) => return Ok(blob),
        Err(BlobError::Crc { .. }) => blob.with_fresh_crc(),
        Err(error) => return Err(refuse(&error)),
    };
    blob.verify_chunk(digest, size, None).map_err(|error| refuse(&error))?;
    Ok(blob)
}
