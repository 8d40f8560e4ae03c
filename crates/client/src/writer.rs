use std::{collections::BTreeMap, fmt, sync::Arc};

use api_types::protocol::{MAX_KNOWN_CHUNKS, WRITER_PROTOCOL};
use bytes::Bytes;
use formats::{BackupTime, ChunkDigest, DataBlob};
use http::StatusCode;
use serde_json::Value;

use crate::{ClientError, ProtocolError, call::Call, rest::Rest, session::Session};

/// Digests in one append; 512 of them are about 40 KiB of JSON, where a server takes less than 512 KiB.
pub const MAX_APPEND: usize = 512;

/// Kind of an index being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexKind {
    /// Chunks of any length, appended in order.
    Dynamic,
    /// Chunks of 4 MiB, the last may be shorter; appended in any order.
    Fixed,
}

impl IndexKind {
    fn path(self, dynamic: &'static str, fixed: &'static str) -> &'static str {
        match self {
            Self::Dynamic => dynamic,
            Self::Fixed => fixed,
        }
    }

    fn index(self) -> &'static str {
        self.path("/dynamic_index", "/fixed_index")
    }
}

/// An open writer session on one new snapshot.
///
/// Clones share the session and may be used at once. When the last one is dropped without [`WriterSession::finish`], the
/// server removes what was written.
#[derive(Clone)]
pub struct WriterSession {
    session: Arc<Session>,
}

impl fmt::Debug for WriterSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterSession").field("address", &self.session.peer().address).finish_non_exhaustive()
    }
}

impl WriterSession {
    pub(crate) async fn open(rest: &Rest, call: &Call) -> Result<Self, ClientError> {
        Ok(Self { session: Arc::new(Session::open(rest, call, WRITER_PROTOCOL).await?) })
    }

    /// Asks for the time of the group's newest good snapshot, the one [`WriterSession::previous`] reads.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn previous_backup_time(&self) -> Result<Option<BackupTime>, ClientError> {
        let call = Call::get("/previous_backup_time");
        let Some(time) = self.session.json::<Option<i64>>(&call).await? else {
            return Ok(None);
        };
        let bad = |_| self.session.peer().protocol(&call, ProtocolError::Time(time));
        BackupTime::from_unix(time).map(Some).map_err(bad)
    }

    /// Downloads a file of the previous snapshot, `None` when there is no snapshot or no such file (400 or 404: the
    /// server does not tell these apart). The chunks of an index become known to this session.
    ///
    /// # Errors
    /// [`ClientError::TooLong`] when it has more than `max` bytes.
    pub async fn previous(&self, name: &str, max: u64) -> Result<Option<Bytes>, ClientError> {
        let call = Call::get("/previous").query("archive-name", name);
        match self.session.bytes(&call, max).await {
            Ok(file) => Ok(Some(file)),
            Err(ClientError::NotFound { .. }) => Ok(None),
            Err(error) if error.status() == Some(StatusCode::BAD_REQUEST.as_u16()) => {
                tracing::debug!(%error, "no previous file");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a dynamic index; returns its writer id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_dynamic(&self, name: &str) -> Result<u64, ClientError> {
        self.session.json(&Call::post(IndexKind::Dynamic.index()).query("archive-name", name)).await
    }

    /// Opens a fixed index of an image of `size` bytes; returns its writer id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_fixed(&self, name: &str, size: u64) -> Result<u64, ClientError> {
        let call = Call::post(IndexKind::Fixed.index()).query("archive-name", name).query("size", size);
        self.session.json(&call).await
    }

    /// Uploads a chunk of `plain_size` plain bytes, which may then be appended to any index of this session.
    ///
    /// Many uploads may be under way; each holds its blob until the answer.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the server confirms another digest.
    pub async fn upload_chunk(
        &self,
        kind: IndexKind,
        wid: u64,
        digest: &ChunkDigest,
        plain_size: u64,
        blob: DataBlob,
    ) -> Result<(), ClientError> {
        let call = Call::post(kind.path("/dynamic_chunk", "/fixed_chunk"))
            .query("digest", digest)
            .query("encoded-size", blob.encoded_len())
            .query("size", plain_size)
            .query("wid", wid)
            .octets(blob.into_bytes());
        let found: String = self.session.json(&call).await?;
        if found != digest.to_string() {
            let found = found.chars().take(64).collect();
            return Err(self.session.peer().protocol(&call, ProtocolError::OtherDigest { found }));
        }
        Ok(())
    }

    /// Appends known chunks, each with its start offset, at most [`MAX_APPEND`] per request and one request at a time.
    ///
    /// A dynamic index takes them only in order, each beginning where the one before ended.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when a chunk was neither uploaded nor known from a previous index.
    pub async fn append(&self, kind: IndexKind, wid: u64, chunks: &[(ChunkDigest, u64)]) -> Result<(), ClientError> {
        for batch in chunks.chunks(MAX_APPEND) {
            let digests: Vec<Value> = batch.iter().map(|(digest, _)| digest.to_string().into()).collect();
            let offsets: Vec<Value> = batch.iter().map(|(_, offset)| (*offset).into()).collect();
            let parameters = BTreeMap::from([
                ("digest-list", digests.into()),
                ("offset-list", offsets.into()),
                ("wid", Value::from(wid)),
            ]);
            self.session.json::<()>(&Call::put(kind.index()).json(&parameters)).await?;
        }
        Ok(())
    }

    /// Asks which chunks this session may append without uploading them: the plain length in bytes of each, in the order
    /// given, or `None` for those that must be sent. At most [`MAX_KNOWN_CHUNKS`] travel per request.
    ///
    /// Only a server whose version lists the extension [`KNOWN_CHUNKS`](api_types::protocol::KNOWN_CHUNKS) knows this call.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the answer has another length than the question.
    pub async fn known_chunks(&self, digests: &[ChunkDigest]) -> Result<Vec<Option<u64>>, ClientError> {
        let mut known = Vec::with_capacity(digests.len());
        for batch in digests.chunks(MAX_KNOWN_CHUNKS) {
            let list: Vec<Value> = batch.iter().map(|digest| digest.to_string().into()).collect();
            let call = Call::post("/known_chunks").json(&BTreeMap::from([("digest-list", Value::from(list))]));
            let lengths: Vec<Option<u64>> = self.session.json(&call).await?;
            if lengths.len() != batch.len() {
                let (asked, answered) = (batch.len(), lengths.len());
                return Err(self.session.peer().protocol(&call, ProtocolError::OtherCount { asked, answered }));
            }
            known.extend(lengths);
        }
        Ok(known)
    }

    /// Closes an index of `chunk_count` appended chunks and `size` bytes; `csum` is the index's checksum.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the server counts otherwise; after a wrong `csum` the session is lost.
    pub async fn close(
        &self,
        kind: IndexKind,
        wid: u64,
        chunk_count: u64,
        size: u64,
        csum: &[u8; 32],
    ) -> Result<(), ClientError> {
        let call = Call::post(kind.path("/dynamic_close", "/fixed_close"))
            .query("chunk-count", chunk_count)
            .query("csum", ChunkDigest::from_bytes(*csum)) // the same 64 hex digits
            .query("size", size)
            .query("wid", wid);
        self.session.json(&call).await
    }

    /// Uploads an encoded blob as a file of the snapshot, replacing one of that name. Its CRC must be right.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when the server finds it damaged.
    pub async fn upload_blob(&self, name: &str, blob: Bytes) -> Result<(), ClientError> {
        let call = Call::post("/blob").query("encoded-size", blob.len()).query("file-name", name).octets(blob);
        self.session.json(&call).await
    }

    /// Commits the snapshot; to be called once, after the manifest was uploaded. The answer may take minutes when the
    /// server syncs its file system.
    ///
    /// # Errors
    /// [`ClientError::Api`] with status 400 when an index is still open or the manifest is missing or bad.
    pub async fn finish(&self) -> Result<(), ClientError> {
        self.session.json_within(&Call::post("/finish"), self.session.timeouts().finish).await
    }
}
