//! The reader protocol: files of one snapshot, and the chunks of indexes that were downloaded before.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use api_types::protocol::READER_PROTOCOL;
use bytes::Bytes;
use datastore::{Datastore, DatastoreError, SnapshotLock};
use formats::{ArchiveKind, ArchiveName, ChunkDigest, FIXED_CHUNK_SIZE, Index, Namespace, SnapshotId};
use http::Method;
use tasks::{TaskEnd, new_upid};
use tokio::sync::Semaphore;

use super::h2::{self, SessionCall, SessionRoute};
use super::{in_namespace, upgrade};
use crate::http::error::ApiError;
use crate::http::input::Input;
use crate::http::params::{TEXT, required};
use crate::http::reply::Reply;
use crate::rest::access::Scope;
use crate::rest::call::{Call, OwnerCheck};
use crate::rest::verify::hex_time;
use crate::running_task::{RunningTask, Stopped};
use crate::state::SessionPlace;
use crate::stores::{Operation, Purpose};
use config::acl::Privileges;

/// A session that reads one snapshot.
pub(crate) struct Reader {
    store: Datastore,
    ns: Namespace,
    snapshot: SnapshotId,
    allowed: RwLock<HashSet<ChunkDigest>>,
    /// Chunks on their way, in units of the usual chunk size.
    sending: Arc<Semaphore>,
    _lock: SnapshotLock,
    _operation: Operation,
    _place: SessionPlace,
}

/// Calls of a reader session.
static ROUTES: &[SessionRoute<Reader>] = &[
    SessionRoute {
        method: Method::GET,
        path: "download",
        params: &[required("file-name", TEXT)],
        input: Input::Stream,
        handler: |call| Box::pin(download(call)),
    },
    SessionRoute {
        method: Method::GET,
        path: "chunk",
        params: &[required("digest", TEXT)],
        input: Input::Stream,
        handler: |call| Box::pin(chunk(call)),
    },
    SessionRoute {
        method: Method::GET,
        path: "speedtest",
        params: &[],
        input: Input::Stream,
        handler: |_| Box::pin(async { Ok(Reply::file(Bytes::from(vec![b'A'; 1024 * 1024]))) }),
    },
];

/// `GET /reader`: checks everything, then answers 101 and serves the session.
pub(crate) async fn open(mut call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot) = (call.namespace()?, call.params.snapshot()?);
    let name = call.params.parse("store")?;
    // Without rights the answer is 400 here, unlike everywhere else.
    let scope = call
        .scope_on(&name, &ns, Privileges::DATASTORE_READ, Privileges::DATASTORE_BACKUP)
        .map_err(|error| ApiError::bad_request(error.message))?;
    let caller = call.identity()?.clone();
    let store = call.datastore(Purpose::Read)?;
    upgrade::check(&call.headers, READER_PROTOCOL)?;
    let place = call.state.session_place()?;
    let operation = call.state.stores.operation(&name, Purpose::Read);
    let budget = call.state.settings.reader_budget;
    let reader = call
        .state
        .blocking(move || {
            if scope == Scope::Owned {
                OwnerCheck::always(&caller).check(&store, &ns, &snapshot.group)?;
            }
            let lock = store.lock_snapshot_shared(&ns, &snapshot)?;
            if !store.snapshot_exists(&ns, &snapshot)? {
                return Err(ApiError::bad_request(format!("snapshot {snapshot} does not exist")));
            }
            let places = usize::try_from(budget / FIXED_CHUNK_SIZE).unwrap_or(1).max(1);
            let sending = Arc::new(Semaphore::new(places));
            let allowed = RwLock::default();
            Ok(Reader { store, ns, snapshot, allowed, sending, _lock: lock, _operation: operation, _place: place })
        })
        .await??;
    let connection = call.upgrade.take().ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
    let (group, time) = (&reader.snapshot.group, hex_time(reader.snapshot.time));
    let upid = new_upid("reader", Some(format!("{name}:{group}/{time}")), call.identity()?.clone());
    let task = RunningTask::begin(&call.state, upid).await?;
    task.log().info(format!("reading {} of datastore '{name}'{}", reader.snapshot, in_namespace(&reader.ns)));
    let state = Arc::clone(&call.state);
    let number = state.session_number();
    tracing::info!(session = number, snapshot = %reader.snapshot, store = %name, caller = %call.identity()?, "reader session");
    call.state.tracker.spawn(async move {
        let stopped = match connection.await {
            Ok(io) => task.unless_stopped(&state, h2::serve(&state, io, &Arc::new(reader), ROUTES)).await.err(),
            Err(error) => {
                tracing::debug!(%error, "peer left during the upgrade");
                None
            }
        };
        tracing::info!(session = number, "reader session over");
        task.finish(&state, stopped.map_or(TaskEnd::Ok, Stopped::end)).await;
    });
    Ok(Reply::Switch(READER_PROTOCOL))
}

/// Parses a file name of a snapshot: index or blob.
///
/// # Errors
/// 400 for any other name.
pub(crate) fn file_name(text: &str) -> Result<ArchiveName, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("unknown archive type of {text:?}: {error}")))
}

/// Maps a file that could not be read: a missing blob is 404, all else 400.
pub(crate) fn unreadable(name: &ArchiveName, error: DatastoreError) -> ApiError {
    if name.kind() == ArchiveKind::Blob && error.is_not_found() {
        return ApiError::not_found(format!("file {name} not found"));
    }
    ApiError::from(error)
}

async fn download(call: SessionCall<Reader>) -> Result<Reply, ApiError> {
    let name = file_name(call.params.text("file-name")?)?;
    let session = Arc::clone(&call.session);
    let bytes = call.state.blocking(move || session.file(&name)).await??;
    Ok(Reply::file(bytes))
}

impl Reader {
    /// Reads a file. An index allows its chunks from then on.
    fn file(&self, name: &ArchiveName) -> Result<Bytes, ApiError> {
        let bytes = self.store.read_file(&self.ns, &self.snapshot, name).map_err(|error| unreadable(name, error))?;
        let bytes = Bytes::from(bytes);
        if name.kind() != ArchiveKind::Blob {
            let index = Index::parse(name.kind(), bytes.clone())
                .map_err(|error| ApiError::bad_request(format!("index {name} is broken: {error}")))?;
            let mut allowed = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
            allowed.extend(index.entries().map(|entry| entry.digest));
        }
        Ok(bytes)
    }
}

async fn chunk(call: SessionCall<Reader>) -> Result<Reply, ApiError> {
    let digest: ChunkDigest = call.params.parse("digest")?;
    let session = &call.session;
    if !session.allowed.read().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
        return Err(ApiError::unauthorized(format!("download chunk {digest} not allowed")));
    }
    let place = Arc::clone(&session.sending).acquire_owned().await;
    let blob = session.store.chunks().read(&digest).await?;
    Ok(Reply::Octets { bytes: blob.into_bytes(), sized: true, held: Some(Box::new(place)) })
}
