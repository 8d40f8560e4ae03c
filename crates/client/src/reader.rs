use std::{fmt, sync::Arc};

use api_types::protocol::READER_PROTOCOL;
use bytes::Bytes;
use formats::{ChunkDigest, DataBlob};

use crate::{ClientError, ProtocolError, call::Call, rest::Rest, session::Session};

/// An open reader session on one snapshot.
///
/// Clones share the session and may be used at once; it closes when the last one is dropped.
#[derive(Clone)]
pub struct ReaderSession {
    session: Arc<Session>,
}

impl fmt::Debug for ReaderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderSession").field("address", &self.session.peer().address).finish_non_exhaustive()
    }
}

impl ReaderSession {
    pub(crate) async fn open(rest: &Rest, call: &Call) -> Result<Self, ClientError> {
        Ok(Self { session: Arc::new(Session::open(rest, call, READER_PROTOCOL).await?) })
    }

    /// Downloads a file of the snapshot as it is stored, `None` when there is none (404). Contents are not checked.
    ///
    /// An index is what makes its chunks available to [`ReaderSession::chunk`]. A stock server answers 404 for missing
    /// blobs only; a missing index is a [`ClientError::Api`] with status 400.
    ///
    /// # Errors
    /// [`ClientError::TooLong`] when it has more than `max` bytes.
    pub async fn download(&self, name: &str, max: u64) -> Result<Option<Bytes>, ClientError> {
        match self.session.bytes(&Call::get("/download").query("file-name", name), max).await {
            Ok(file) => Ok(Some(file)),
            Err(ClientError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Downloads a chunk as it is stored, of at most `max` bytes; an index that names it must have been downloaded in
    /// this session. Only the blob's magic is checked: CRC, digest and length are the caller's.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when it is no blob, [`ClientError::Api`] with status 401 when no downloaded index
    /// names it, with status 400 when the server cannot read it.
    pub async fn chunk(&self, digest: &ChunkDigest, max: u64) -> Result<DataBlob, ClientError> {
        let call = Call::get("/chunk").query("digest", digest);
        let body = self.session.bytes(&call, max).await?;
        DataBlob::parse(body).map_err(|error| self.session.peer().protocol(&call, ProtocolError::Blob(error)))
    }
}
