//! The writer protocol: one new snapshot, chunk by chunk.

mod chunk;
mod files;
mod finish;
mod index;
mod known;
pub(crate) mod known_chunks;
pub(crate) mod open;
mod phase;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datastore::{Datastore, SnapshotLock, StagedSnapshot, WriterGuard};
use formats::{ArchiveKind, AuthId, Namespace, SnapshotId};
use http::Method;
use tokio::sync::RwLock;

use super::h2::SessionRoute;
use crate::http::body::discard;
use crate::http::input::Input;
use crate::http::params::{Kind, Param, TEXT, optional, required};
use crate::http::reply::Reply;
use crate::state::SessionPlace;
use crate::stores::Operation;
use crate::vouch::{View, Voucher};
use known::KnownChunks;
use phase::PhaseCell;

/// A session that writes one snapshot.
pub(crate) struct Writer {
    number: u64,
    store: Datastore,
    ns: Namespace,
    snapshot: SnapshotId,
    caller: AuthId,
    benchmark: bool,
    verify_after: bool,
    /// The newest finished snapshot of the group, if it is good; locked so that it stays.
    previous: Option<(SnapshotId, Mutex<Option<SnapshotLock>>)>,
    known: KnownChunks,
    /// Knows what may be named without being sent.
    voucher: Arc<Voucher>,
    /// What the voucher found out for this session.
    view: Mutex<View>,
    indexes: Mutex<index::Indexes>,
    phase: PhaseCell,
    statistics: Mutex<Statistics>,
    /// What the session has made so far; taken out by its end. Calls that write a file hold it shared.
    staged: RwLock<Option<Staged>>,
    _operation: Operation,
    _place: SessionPlace,
}

/// What the session has made so far.
struct Staged {
    snapshot: StagedSnapshot,
    /// The manifest as uploaded; the datastore writes it last of all.
    manifest: Mutex<Option<Bytes>>,
    _guard: WriterGuard,
}

/// What was uploaded. Also what the manifest says of it.
#[derive(Debug, Default, Clone, Copy)]
struct Statistics {
    files: u64,
    chunks: u64,
    size: u64,
    compressed_size: u64,
    duplicates: u64,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, chunks, size, compressed_size, duplicates } = self;
        write!(
            f,
            "{files} files; {chunks} chunks of {size} bytes, {compressed_size} as they came; {duplicates} were there already"
        )
    }
}

impl Writer {
    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn indexes(&self) -> MutexGuard<'_, index::Indexes> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer id: 1 to 256.
const WID: Param = required("wid", Kind::Int(1, 256));

const APPEND: &[Param] = &[WID, required("digest-list", Kind::Texts), required("offset-list", Kind::Ints)];

const CHUNK: &[Param] = &[
    WID,
    required("digest", TEXT),
    required("size", Kind::Int(1, 16 << 20)),
    required("encoded-size", Kind::Int(13, (16 << 20) + 44)),
];

/// Calls of a writer session.
static ROUTES: &[SessionRoute<Writer>] = &[
    SessionRoute {
        method: Method::GET,
        path: "previous_backup_time",
        params: &[],
        input: Input::Parsed,
        handler: |call| Box::pin(files::previous_backup_time(call)),
    },
    SessionRoute {
        method: Method::GET,
        path: "previous",
        params: &[required("archive-name", TEXT)],
        input: Input::Stream,
        handler: |call| Box::pin(files::previous(call)),
    },
    SessionRoute {
        method: Method::POST,
        path: "known_chunks",
        params: &[required("digest-list", Kind::Texts)],
        input: Input::Parsed,
        handler: |call| Box::pin(known_chunks::known_chunks(call)),
    },
    SessionRoute {
        method: Method::POST,
        path: "dynamic_index",
        params: &[required("archive-name", TEXT)],
        input: Input::Parsed,
        handler: |call| Box::pin(index::create_dynamic(call)),
    },
    SessionRoute {
        method: Method::PUT,
        path: "dynamic_index",
        params: APPEND,
        input: Input::Parsed,
        handler: |call| Box::pin(index::append(call, ArchiveKind::Dynamic)),
    },
    SessionRoute {
        method: Method::POST,
        path: "dynamic_chunk",
        params: CHUNK,
        input: Input::Stream,
        handler: |call| Box::pin(chunk::upload(call, ArchiveKind::Dynamic)),
    },
    SessionRoute {
        method: Method::POST,
        path: "dynamic_close",
        params: &[
            WID,
            required("chunk-count", Kind::Int(1, i64::MAX)),
            required("size", Kind::Int(1, i64::MAX)),
            required("csum", TEXT),
        ],
        input: Input::Parsed,
        handler: |call| Box::pin(index::close(call, ArchiveKind::Dynamic)),
    },
    SessionRoute {
        method: Method::POST,
        path: "fixed_index",
        params: &[
            required("archive-name", TEXT),
            optional("size", Kind::Int(1, i64::MAX)),
            optional("reuse-csum", TEXT),
        ],
        input: Input::Parsed,
        handler: |call| Box::pin(index::create_fixed(call)),
    },
    SessionRoute {
        method: Method::PUT,
        path: "fixed_index",
        params: APPEND,
        input: Input::Parsed,
        handler: |call| Box::pin(index::append(call, ArchiveKind::Fixed)),
    },
    SessionRoute {
        method: Method::POST,
        path: "fixed_chunk",
        params: CHUNK,
        input: Input::Stream,
        handler: |call| Box::pin(chunk::upload(call, ArchiveKind::Fixed)),
    },
    SessionRoute {
        method: Method::POST,
        path: "fixed_close",
        params: &[
            WID,
            required("chunk-count", Kind::Int(0, i64::MAX)),
            required("size", Kind::Int(0, i64::MAX)),
            required("csum", TEXT),
        ],
        input: Input::Parsed,
        handler: |call| Box::pin(index::close(call, ArchiveKind::Fixed)),
    },
    SessionRoute {
        method: Method::POST,
        path: "blob",
        params: &[required("file-name", TEXT), required("encoded-size", Kind::Int(12, (16 << 20) + 44))],
        input: Input::Stream,
        handler: |call| Box::pin(files::blob(call)),
    },
    SessionRoute {
        method: Method::POST,
        path: "finish",
        params: &[],
        input: Input::Parsed,
        handler: |call| Box::pin(finish::finish(call)),
    },
    SessionRoute {
        method: Method::POST,
        path: "speedtest",
        params: &[],
        input: Input::Stream,
        handler: |mut call| {
            Box::pin(async move {
                discard(call.take_body()?).await?;
                Ok(Reply::null())
            })
        },
    },
];
