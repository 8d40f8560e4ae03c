//! What recordings tell about the contents they moved: chunks, indexes, blobs, manifests.

use std::collections::{BTreeMap, HashMap};

use formats::{BlobKind, ChunkDigest, DataBlob, DynamicIndexWriter, FIXED_CHUNK_SIZE, FixedIndexWriter, sha256};
use serde_json::Value;

use crate::recording::{Body, Connection, Exchange, Recording};

/// Everything the given recordings tell, by recorded digests and checksums (hex).
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Chunks by digest.
    pub chunks: BTreeMap<String, ChunkShape>,
    /// Indexes by checksum.
    pub indexes: BTreeMap<String, IndexShape>,
    /// Blobs other than manifests, by the SHA-256 of their encoded bytes.
    pub blobs: BTreeMap<String, BlobShape>,
    /// Manifests in the order in which they went over the wire.
    pub manifests: Vec<ManifestSighting>,
}

/// What is known of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkShape {
    /// Length of its plain bytes.
    pub plain_len: u64,
    /// Length of the blob.
    pub encoded_len: u64,
    /// Its kind.
    pub kind: BlobKind,
}

/// What is known of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexShape {
    /// Fixed or dynamic.
    pub fixed: bool,
    /// Length of the stream.
    pub size: u64,
    /// Digests, and where each chunk ends in the stream.
    pub entries: Vec<(String, u64)>,
    /// Whether the recorded checksum is that of the entries. Else some of them were left out of the recording.
    pub proven: bool,
    /// UUID and time, where a file's header was recorded.
    pub header: Option<([u8; 16], i64)>,
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobShape {
    /// Its kind.
    pub kind: BlobKind,
    /// Its length.
    pub encoded_len: u64,
    /// All its bytes, where the recording has them.
    pub bytes: Option<Vec<u8>>,
    /// Its first bytes.
    pub start: Vec<u8>,
}

/// A manifest on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestSighting {
    /// Name of the recording.
    pub recording: &'static str,
    /// Number of the connection.
    pub connection: u64,
    /// Namespace of the snapshot, empty for the root.
    pub ns: String,
    /// `type/id/unix time`.
    pub snapshot: (String, String, i64),
    /// Its JSON.
    pub json: Value,
    /// Whether a server sent it, or a client.
    pub served: bool,
}

impl Contents {
    /// Collects what the recordings tell.
    pub fn of(recordings: &[&Recording]) -> Contents {
        let mut contents = Contents::default();
        for recording in recordings {
            for connection in recording.connections() {
                contents.take_bodies(recording.name, connection);
            }
        }
        for recording in recordings {
            for connection in recording.connections() {
                contents.take_written_indexes(connection);
            }
        }
        // Sizes of chunks that were only ever downloaded follow from the indexes that were written, so those come first.
        let mut sizes = HashMap::new();
        for shape in contents.indexes.values() {
            let mut start = 0;
            for (digest, end) in &shape.entries {
                sizes.insert(digest.clone(), end - start);
                start = *end;
            }
        }
        for recording in recordings {
            for connection in recording.connections() {
                contents.take_read_indexes(recording.name, connection, &mut sizes);
            }
        }
        for (digest, chunk) in &mut contents.chunks {
            if chunk.plain_len == 0 {
                chunk.plain_len = sizes.get(digest).copied().unwrap_or_else(|| panic!("no size of chunk {digest}"));
            }
        }
        contents
    }

    fn take_bodies(&mut self, recording: &'static str, connection: &Connection) {
        for exchange in connection.session().filter(|exchange| exchange.status() == Some(200)) {
            let answer = exchange.answer.as_ref().map(|answer| &answer.body);
            match exchange.path() {
                "/dynamic_chunk" | "/fixed_chunk" => self.take_chunk(exchange, exchange.body.as_ref()),
                "/chunk" => self.take_chunk(exchange, answer),
                "/blob" | "/download" | "/previous" => {
                    let served = exchange.path() != "/blob";
                    let body = if served { answer } else { exchange.body.as_ref() };
                    let name = exchange.param("file-name").or_else(|| exchange.param("archive-name"));
                    let (Some(body), Some(name)) = (body, name) else { continue };
                    if name == formats::MANIFEST_NAME {
                        if let Some(json) = &body.blob {
                            self.manifests.push(sighting(recording, connection, json, served));
                        }
                    } else if name.ends_with(".blob") {
                        self.take_blob(body);
                    }
                }
                _ => {}
            }
        }
    }

    fn take_chunk(&mut self, exchange: &Exchange, body: Option<&Body>) {
        let (Some(digest), Some(body)) = (exchange.param("digest"), body) else { return };
        let plain_len = exchange.param("size").map_or(0, |size| size.parse().expect("a size"));
        let shape = ChunkShape { plain_len, encoded_len: body.length, kind: kind(body) };
        let known = self.chunks.entry(digest).or_insert(shape);
        known.plain_len = known.plain_len.max(plain_len);
    }

    fn take_blob(&mut self, body: &Body) {
        let decoded = match &body.blob {
            Some(Value::String(text)) => DataBlob::encode(text.as_bytes(), false, None).ok(),
            _ => None,
        };
        let bytes = body.bytes().map(<[u8]>::to_vec).or_else(|| decoded.map(|blob| blob.as_bytes().to_vec()));
        let digest = body.sha256.clone().or_else(|| bytes.as_ref().map(|bytes| hex::encode(sha256(bytes))));
        // The same blob was recorded with its checksum elsewhere, when it is missing here.
        let Some(digest) = digest else { return };
        let shape = BlobShape { kind: kind(body), encoded_len: body.length, bytes, start: body.start.clone() };
        self.blobs.entry(digest).or_insert(shape);
    }

    /// Indexes that were written in a session: what was appended until the close.
    fn take_written_indexes(&mut self, connection: &Connection) {
        let mut open: HashMap<String, Vec<(u64, String)>> = HashMap::new();
        for exchange in connection.session() {
            if let Some(json) = exchange.body.as_ref().and_then(|body| body.json.as_ref()) {
                let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
                let appended = open.entry(json["wid"].to_string()).or_default();
                for (digest, offset) in list("digest-list").iter().zip(list("offset-list")) {
                    let digest = digest.as_str().expect("a digest").to_owned();
                    appended.push((offset.as_u64().expect("an offset"), digest));
                }
            }
            if let "/dynamic_close" | "/fixed_close" = exchange.path() {
                let number = |name: &str| exchange.param(name).expect("a parameter");
                let mut appended = open.remove(&number("wid")).unwrap_or_default();
                appended.sort();
                let size: u64 = number("size").parse().expect("a size");
                let ends: Vec<u64> = appended.iter().skip(1).map(|(start, _)| *start).chain([size]).collect();
                let entries = appended.into_iter().zip(ends).map(|((_, digest), end)| (digest, end)).collect();
                self.add_index(exchange.path() == "/fixed_close", size, entries, &number("csum"), None);
            }
        }
    }

    /// Indexes that were read and not written in any recording: the chunks asked for behind them, when nothing was there yet.
    fn take_read_indexes(&mut self, recording: &str, connection: &Connection, sizes: &mut HashMap<String, u64>) {
        let session: Vec<&Exchange> = connection.session().collect();
        let here =
            |sighting: &&ManifestSighting| (sighting.recording, sighting.connection) == (recording, connection.number);
        let manifest = self.manifests.iter().find(here);
        let manifest = manifest.map(|sighting| sighting.json.clone()).unwrap_or_default();
        for (at, exchange) in session.iter().enumerate() {
            let name = exchange.param("file-name").unwrap_or_default();
            if exchange.path() != "/download" || !name.ends_with("idx") {
                continue;
            }
            let start = exchange.answer.as_ref().map(|answer| answer.body.start.clone()).unwrap_or_default();
            let Some((uuid, ctime, csum)) = header(&start) else { continue };
            if let Some(known) = self.indexes.get_mut(&csum) {
                known.header.get_or_insert((uuid, ctime));
                continue;
            }
            let Some(file) =
                manifest["files"].as_array().into_iter().flatten().find(|file| file["csum"] == csum.as_str())
            else {
                continue;
            };
            let size = file["size"].as_u64().expect("a size");
            let chunks = session[at + 1..].iter().take_while(|next| next.path() == "/chunk");
            let digests: Vec<String> = chunks.filter_map(|chunk| chunk.param("digest")).collect();
            let known: u64 = digests.iter().filter_map(|digest| sizes.get(digest)).sum();
            let (mut entries, mut end) = (Vec::new(), 0);
            for digest in digests {
                end += *sizes.entry(digest.clone()).or_insert(size.saturating_sub(known));
                entries.push((digest, end));
            }
            self.add_index(name.ends_with(".fidx"), size, entries, &csum, Some((uuid, ctime)));
        }
    }

    fn add_index(
        &mut self,
        fixed: bool,
        size: u64,
        entries: Vec<(String, u64)>,
        csum: &str,
        header: Option<([u8; 16], i64)>,
    ) {
        let mut shape = IndexShape { fixed, size, entries, proven: false, header };
        let (_, computed) = shape.encode(|digest| digest.parse().expect("a digest"));
        shape.proven = hex::encode(computed) == csum;
        let known = self.indexes.entry(csum.to_owned()).or_insert(shape);
        known.header = known.header.or(header);
    }
}

impl IndexShape {
    /// Returns the index file and its checksum, with other digests.
    pub(crate) fn encode(&self, digest: impl Fn(&str) -> ChunkDigest) -> (Vec<u8>, [u8; 32]) {
        let (uuid, ctime) = self.header.unwrap_or(([0; 16], 1_763_600_000));
        let index = if self.fixed {
            let mut writer =
                FixedIndexWriter::new(uuid, ctime, Some(self.size), FIXED_CHUNK_SIZE).expect("a fixed index");
            let mut start = 0;
            for (recorded, end) in &self.entries {
                writer.set(start / FIXED_CHUNK_SIZE, digest(recorded), end - start).expect("a chunk of a fixed index");
                start = *end;
            }
            writer.finish().expect("a complete index")
        } else {
            let mut writer = DynamicIndexWriter::new(uuid, ctime);
            for (recorded, end) in &self.entries {
                writer.push(digest(recorded), *end).expect("a chunk of a dynamic index");
            }
            writer.finish().expect("a complete index")
        };
        (index.bytes, index.csum)
    }
}

fn kind(body: &Body) -> BlobKind {
    const KINDS: [BlobKind; 4] =
        [BlobKind::Plain, BlobKind::Compressed, BlobKind::Encrypted, BlobKind::EncryptedCompressed];
    KINDS.into_iter().find(|kind| body.start.starts_with(&kind.magic())).expect("a blob begins with its magic")
}

/// Reads UUID, time and checksum from the first 64 bytes of an index file.
fn header(start: &[u8]) -> Option<([u8; 16], i64, String)> {
    let uuid = start.get(8..24)?.try_into().ok()?;
    let ctime = i64::from_le_bytes(start.get(24..32)?.try_into().ok()?);
    Some((uuid, ctime, hex::encode(start.get(32..64)?)))
}

fn sighting(recording: &'static str, connection: &Connection, json: &Value, served: bool) -> ManifestSighting {
    let ns = connection.upgrade().and_then(|upgrade| upgrade.param("ns")).unwrap_or_default();
    let text = |name: &str| json[name].as_str().expect("a text").to_owned();
    let time = json["backup-time"].as_i64().expect("a time");
    let snapshot = (text("backup-type"), text("backup-id"), time);
    ManifestSighting { recording, connection: connection.number, ns, snapshot, json: json.clone(), served }
}
