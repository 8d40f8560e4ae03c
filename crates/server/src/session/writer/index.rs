//! Index writers of a session: creating, appending, closing.

use std::collections::HashMap;
use std::sync::Arc;

use api_types::protocol::MAX_WRITER_ID;
use formats::{
    ArchiveKind, ArchiveName, ChunkDigest, DynamicIndexWriter, FIXED_CHUNK_SIZE, FixedIndex, FixedIndexWriter, Index,
    IndexBytes,
};

use super::Writer;
use super::known::KnownChunks;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::h2::SessionCall;

/// The index writers of a session. Numbers begin at 1 and are never used again.
#[derive(Default)]
pub(crate) struct Indexes {
    created: u64,
    open: HashMap<u64, OpenIndex>,
}

/// An index being written.
struct OpenIndex {
    name: ArchiveName,
    draft: Option<Draft>,
    appended: u64,
    /// Chunks below the usual size that were uploaded for a fixed index.
    short_uploads: u64,
}

enum Draft {
    Dynamic(DynamicIndexWriter),
    Fixed { writer: FixedIndexWriter, incremental: bool },
}

impl Indexes {
    /// Whether an index is still open.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn create(&mut self, name: ArchiveName, draft: Draft) -> Result<u64, ApiError> {
        if self.created >= MAX_WRITER_ID {
            return Err(ApiError::bad_request(format!("a session may write {MAX_WRITER_ID} indexes, not more")));
        }
        self.created += 1;
        self.open.insert(self.created, OpenIndex { name, draft: Some(draft), appended: 0, short_uploads: 0 });
        Ok(self.created)
    }

    fn get(&mut self, wid: u64, kind: ArchiveKind) -> Result<&mut OpenIndex, ApiError> {
        let found = self.open.get_mut(&wid).filter(|index| index.name.kind() == kind);
        found.ok_or_else(|| ApiError::bad_request(format!("{} writer '{wid}' not registered", word(kind))))
    }

    /// Checks that a chunk of this size may be uploaded for an index.
    ///
    /// # Errors
    /// 400 when the index is not open, or it is a fixed one and the size does not fit it.
    pub(crate) fn check_upload(&mut self, wid: u64, kind: ArchiveKind, size: u64) -> Result<(), ApiError> {
        let index = self.get(wid, kind)?;
        if kind == ArchiveKind::Fixed {
            if size > FIXED_CHUNK_SIZE {
                return Err(ApiError::bad_request(format!("fixed writer '{wid}' takes no chunk of {size} bytes")));
            }
            if size < FIXED_CHUNK_SIZE && index.short_uploads > 0 {
                return Err(ApiError::bad_request(format!(
                    "fixed writer '{wid}' - a second chunk is short, only the last may be"
                )));
            }
        }
        Ok(())
    }

    /// Counts an uploaded chunk; two short ones in flight at once are told apart only here.
    ///
    /// # Errors
    /// As [`Indexes::check_upload`].
    pub(crate) fn count_upload(&mut self, wid: u64, kind: ArchiveKind, size: u64) -> Result<(), ApiError> {
        self.check_upload(wid, kind, size)?;
        if kind == ArchiveKind::Fixed && size < FIXED_CHUNK_SIZE {
            self.get(wid, kind)?.short_uploads += 1;
        }
        Ok(())
    }

    fn append(
        &mut self,
        wid: u64,
        kind: ArchiveKind,
        digest: ChunkDigest,
        offset: u64,
        length: u64,
    ) -> Result<(), ApiError> {
        let index = self.get(wid, kind)?;
        let refuse = |name: &ArchiveName, reason: String| {
            ApiError::bad_request(format!("{} writer '{name}' append failed - {reason}", word(kind)))
        };
        match &mut index.draft {
            None => return Err(refuse(&index.name, "already closed".into())),
            Some(Draft::Dynamic(writer)) => {
                if offset != writer.end() {
                    return Err(refuse(
                        &index.name,
                        format!("chunk at offset {offset}, but the archive ends at {}", writer.end()),
                    ));
                }
                let end = offset.saturating_add(length);
                writer.push(digest, end).map_err(|error| refuse(&index.name, error.to_string()))?;
            }
            Some(Draft::Fixed { writer, .. }) => {
                if !offset.is_multiple_of(FIXED_CHUNK_SIZE) {
                    return Err(refuse(&index.name, format!("offset {offset} is not on a chunk boundary")));
                }
                writer
                    .set(offset / FIXED_CHUNK_SIZE, digest, length)
                    .map_err(|error| refuse(&index.name, error.to_string()))?;
            }
        }
        index.appended += 1;
        Ok(())
    }

    /// Checks the numbers of a close. A wrong checksum closes the index for good, other errors leave it open.
    fn close(
        &mut self,
        wid: u64,
        kind: ArchiveKind,
        count: u64,
        size: u64,
        csum: &[u8; 32],
    ) -> Result<Closed, ApiError> {
        let index = self.get(wid, kind)?;
        let name = index.name.clone();
        let refuse =
            |reason: String| ApiError::bad_request(format!("{} writer '{name}' close failed - {reason}", word(kind)));
        let Some(draft) = &index.draft else { return Err(refuse("already closed".into())) };
        let (chunks, wanted_size, found) = match draft {
            Draft::Dynamic(writer) => (index.appended, Some(writer.end()), writer.csum()),
            Draft::Fixed { writer, incremental: true } => (index.appended, None, writer.csum()),
            Draft::Fixed { writer, incremental: false } => {
                let slots = writer.size().div_ceil(FIXED_CHUNK_SIZE);
                if index.appended != slots {
                    return Err(refuse(format!("{} chunks appended, {slots} needed", index.appended)));
                }
                (slots, Some(writer.size()), writer.csum())
            }
        };
        if count != chunks {
            return Err(refuse(format!("unexpected chunk count ({chunks} != {count})")));
        }
        if let Some(wanted) = wanted_size
            && wanted != size
        {
            return Err(refuse(format!("unexpected size ({wanted} != {size})")));
        }
        if count == 0 && draft_is_empty(draft) {
            return Err(refuse("archive is empty".into()));
        }
        let draft = index.draft.take();
        if found != *csum {
            return Err(refuse("got unexpected checksum".into()));
        }
        Ok(Closed { wid, name, draft })
    }

    fn remove(&mut self, wid: u64) {
        self.open.remove(&wid);
    }
}

fn draft_is_empty(draft: &Draft) -> bool {
    match draft {
        Draft::Dynamic(writer) => writer.is_empty(),
        Draft::Fixed { writer, .. } => writer.is_empty(),
    }
}

/// An index whose numbers are right; its file is not written yet.
struct Closed {
    wid: u64,
    name: ArchiveName,
    draft: Option<Draft>,
}

impl Closed {
    fn into_file(self) -> Result<(ArchiveName, IndexBytes), ApiError> {
        let result = match self.draft {
            Some(Draft::Dynamic(writer)) => writer.finish(),
            Some(Draft::Fixed { writer, .. }) => writer.finish(),
            None => return Err(ApiError::bad_request(format!("index '{}' already closed", self.name))),
        };
        let name = self.name;
        result
            .map(|file| (name.clone(), file))
            .map_err(|error| ApiError::bad_request(format!("index '{name}': {error}")))
    }
}

fn word(kind: ArchiveKind) -> &'static str {
    match kind {
        ArchiveKind::Fixed => "fixed",
        _ => "dynamic",
    }
}

fn archive_name(text: &str, kind: ArchiveKind) -> Result<ArchiveName, ApiError> {
    let name: ArchiveName = text.parse().map_err(|error| ApiError::parameter("archive-name", error))?;
    if name.kind() == kind {
        return Ok(name);
    }
    Err(ApiError::bad_request(format!("wrong archive extension for a {} index: '{name}'", word(kind))))
}

fn new_uuid() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// `POST dynamic_index`.
pub(crate) async fn create_dynamic(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = &call.session;
    session.phase.require_open()?;
    let name = archive_name(call.params.text("archive-name")?, ArchiveKind::Dynamic)?;
    let draft = Draft::Dynamic(DynamicIndexWriter::new(new_uuid(), tasks::now()));
    let wid = session.indexes().create(name, draft)?;
    Reply::json(&wid)
}

/// `POST fixed_index`.
pub(crate) async fn create_fixed(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.require_open()?;
    let name = archive_name(call.params.text("archive-name")?, ArchiveKind::Fixed)?;
    let size = call.params.opt_uint("size");
    let draft = match call.params.opt_text("reuse-csum") {
        None => {
            let writer = FixedIndexWriter::new(new_uuid(), tasks::now(), size, FIXED_CHUNK_SIZE)
                .map_err(|error| ApiError::parameter("size", error))?;
            Draft::Fixed { writer, incremental: false }
        }
        Some(csum) => {
            let csum = checksum(csum, "reuse-csum")?;
            let (session, name) = (Arc::clone(&session), name.clone());
            let writer = call.state.blocking(move || session.reuse(&name, size, &csum)).await??;
            Draft::Fixed { writer, incremental: true }
        }
    };
    let wid = session.indexes().create(name, draft)?;
    Reply::json(&wid)
}

impl Writer {
    /// Begins a fixed index as a copy of the previous one.
    fn reuse(&self, name: &ArchiveName, size: Option<u64>, csum: &[u8; 32]) -> Result<FixedIndexWriter, ApiError> {
        let refuse = |reason: &str| ApiError::bad_request(format!("cannot reuse index '{name}' - {reason}"));
        let size = size.ok_or_else(|| refuse("its size must be given"))?;
        let (previous, _) = self.previous.as_ref().ok_or_else(|| refuse("no valid previous backup exists"))?;
        let Index::Fixed(index) = self.store.index(&self.ns, previous, name)? else {
            return Err(refuse("the previous one is not a fixed index"));
        };
        let index: FixedIndex = index;
        if index.csum() != *csum {
            return Err(refuse("its checksum differs from the previous one"));
        }
        if index.chunk_size() != FIXED_CHUNK_SIZE {
            return Err(refuse("the previous one has another chunk size"));
        }
        FixedIndexWriter::from_previous(new_uuid(), tasks::now(), size, &index)
            .map_err(|error| refuse(&error.to_string()))
    }
}

/// `PUT dynamic_index`, `PUT fixed_index`: adds chunks the session knows. On an error the earlier ones stay added.
pub(crate) async fn append(call: SessionCall<Writer>, kind: ArchiveKind) -> Result<Reply, ApiError> {
    let session = &call.session;
    session.phase.require_open()?;
    let wid = call.params.uint("wid")?;
    let (digests, offsets) = (call.params.texts("digest-list"), call.params.ints("offset-list"));
    if digests.len() != offsets.len() {
        let text = format!("offset list has wrong length ({} != {})", offsets.len(), digests.len());
        return Err(ApiError::bad_request(text));
    }
    let digests: Vec<ChunkDigest> = digests
        .iter()
        .map(|text| text.parse().map_err(|error| ApiError::parameter("digest-list", error)))
        .collect::<Result<_, _>>()?;
    append_all(&mut session.indexes(), &session.known, wid, kind, &digests, offsets)?;
    Ok(Reply::null())
}

fn append_all(
    indexes: &mut Indexes,
    known: &KnownChunks,
    wid: u64,
    kind: ArchiveKind,
    digests: &[ChunkDigest],
    offsets: &[u64],
) -> Result<(), ApiError> {
    indexes.get(wid, kind)?;
    for (digest, offset) in digests.iter().zip(offsets) {
        indexes.append(wid, kind, *digest, *offset, known.length(digest)?)?;
    }
    Ok(())
}

/// `POST dynamic_close`, `POST fixed_close`: checks the numbers and writes the file.
pub(crate) async fn close(call: SessionCall<Writer>, kind: ArchiveKind) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.require_open()?;
    let (wid, count, size) = (call.params.uint("wid")?, call.params.uint("chunk-count")?, call.params.uint("size")?);
    let csum = checksum(call.params.text("csum")?, "csum")?;
    let closed = session.indexes().close(wid, kind, count, size, &csum)?;
    let wid = closed.wid;
    let writing = Arc::clone(&session);
    call.state
        .blocking(move || {
            let (name, file) = closed.into_file()?;
            writing.with_staged(|staged| {
                if staged.snapshot.has_file(&name)? {
                    return Err(ApiError::bad_request(format!("index '{name}' exists already")));
                }
                Ok(staged.snapshot.write_file(&name, &file.bytes)?)
            })
        })
        .await??;
    session.indexes().remove(wid);
    session.statistics().files += 1;
    Ok(Reply::null())
}

fn checksum(text: &str, parameter: &str) -> Result<[u8; 32], ApiError> {
    let digest: ChunkDigest = text.parse().map_err(|error| ApiError::parameter(parameter, error))?;
    Ok(*digest.as_bytes())
}
