//! The two kinds of sessions, played from a recorded one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use formats::{DataBlob, MANIFEST_NAME, Manifest};
use serde_json::Value;
use traces::{Connection, Exchange, Twin};

use crate::differences;
use crate::stock::{Asked, Told, json};

/// A session under way.
pub(crate) trait Script: Send + Sync {
    /// The upgrade that opened it, without what does not matter.
    fn key(&self) -> &str;

    /// Answers a request as recorded, or says what is wrong with it.
    fn answer(&self, asked: &Asked) -> Result<Told, String>;

    /// Returns what was asked when it was recorded and is not yet asked now.
    fn left_undone(&self) -> Vec<String>;
}

/// A session that reads.
pub(crate) struct ReaderScript {
    twin: Arc<Twin>,
    key: String,
    session: Vec<Exchange>,
    /// Recorded targets of what was asked.
    done: Mutex<BTreeSet<String>>,
}

impl ReaderScript {
    pub(crate) fn new(twin: Arc<Twin>, connection: &Connection, key: String) -> Self {
        Self { twin, key, session: connection.session().cloned().collect(), done: Mutex::default() }
    }
}

impl Script for ReaderScript {
    fn key(&self) -> &str {
        &self.key
    }

    fn answer(&self, asked: &Asked) -> Result<Told, String> {
        let same = |exchange: &&Exchange| exchange.method == asked.method && exchange.path() == asked.path;
        let mut candidates = self.session.iter().filter(same);
        let found = match asked.path.as_str() {
            "/download" => candidates.find(|one| one.param("file-name").as_deref() == Some(asked.param("file-name"))),
            "/chunk" => candidates.find(|one| self.twin.text(&one.param("digest").unwrap()) == asked.param("digest")),
            _ => None,
        };
        let exchange = found.ok_or("not asked when it was recorded")?;
        let again = !self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(exchange.target.clone());
        if again {
            return Err("asked twice".to_owned());
        }
        Ok(file(&self.twin, exchange))
    }

    fn left_undone(&self) -> Vec<String> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = self.session.iter().filter(|exchange| !differences::may_be_left_out(exchange));
        let left = needed.filter(|exchange| !done.contains(&exchange.target));
        left.map(|exchange| format!("{}: {} was not asked", self.key, exchange.target)).collect()
    }
}

/// Answers a download with the twin's bytes.
fn file(twin: &Twin, exchange: &Exchange) -> Told {
    let answer = exchange.answer.as_ref().expect("it was answered");
    if answer.status != 200 {
        return Told::recorded(twin, answer);
    }
    if let Some(digest) = exchange.param("digest") {
        return Told::like(answer, twin.chunk(&digest).blob.into_bytes());
    }
    let name = exchange.param("file-name").or_else(|| exchange.param("archive-name")).expect("a name");
    let body = &answer.body;
    let bytes = if name == MANIFEST_NAME {
        let manifest = twin.manifest(body.blob.as_ref().expect("recorded manifests are decoded"));
        manifest.to_blob().unwrap().into_bytes()
    } else if name.ends_with(".blob") {
        twin.blob_like(body).expect("a known blob")
    } else {
        twin.index(&hex::encode(&body.start[32..64])).expect("a known index").0
    };
    Told::like(answer, bytes)
}

/// A session that writes.
pub(crate) struct WriterScript {
    twin: Arc<Twin>,
    key: String,
    session: Vec<Exchange>,
    written: Mutex<Written>,
}

/// What a client has sent, with the recorded numbers of writers.
#[derive(Default)]
struct Written {
    chunks: BTreeSet<String>,
    /// Writer, offset, digest.
    entries: BTreeSet<(u64, u64, String)>,
    /// Everything else by its target.
    others: Vec<String>,
}

impl WriterScript {
    pub(crate) fn new(twin: Arc<Twin>, connection: &Connection, key: String) -> Self {
        Self { twin, key, session: connection.session().cloned().collect(), written: Mutex::default() }
    }

    /// The recorded target in the twin's terms, without the length of the encoded body, in canonical order.
    fn translated(&self, exchange: &Exchange) -> String {
        let query: BTreeMap<String, String> =
            exchange.query().into_iter().map(|(name, value)| (name, self.twin.text(&value))).collect();
        canonical(exchange.path(), &query)
    }

    /// The entries that an append names.
    fn entries(&self, json: &Value) -> Result<BTreeSet<(u64, u64, String)>, String> {
        let list = |name: &str| json[name].as_array().ok_or_else(|| format!("no {name}"));
        let (digests, offsets) = (list("digest-list")?, list("offset-list")?);
        let wid = json["wid"].as_u64().ok_or("no wid")?;
        if digests.len() != offsets.len() || digests.is_empty() {
            return Err(format!("{} digests and {} offsets", digests.len(), offsets.len()));
        }
        let pairs = digests.iter().zip(offsets);
        pairs
            .map(|(digest, offset)| Some((wid, offset.as_u64()?, digest.as_str()?.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| "not digests and offsets".to_owned())
    }

    fn recorded_entries(&self) -> BTreeSet<(u64, u64, String)> {
        let bodies = self.session.iter().filter_map(|exchange| exchange.body.as_ref()?.json.as_ref());
        bodies.flat_map(|body| self.entries(&self.twin.value(body)).expect("a recorded append")).collect()
    }

    fn take(&self, asked: &Asked, exchange: &Exchange) -> Result<Told, String> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = exchange.answer.as_ref().ok_or("the recorded client died here")?;
        if written.others.last().is_some_and(|last| last == "/finish") {
            return Err("behind the end".to_owned());
        }
        let length: Option<usize> = asked.query.get("encoded-size").and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length != asked.body.len()) {
            return Err(format!("a body of {} bytes", asked.body.len()));
        }
        match asked.path.as_str() {
            "/dynamic_chunk" | "/fixed_chunk" => {
                let chunk = self.twin.chunk(&exchange.param("digest").unwrap());
                let blob = DataBlob::parse(asked.body.clone()).map_err(|error| error.to_string())?;
                blob.verify_chunk(&chunk.digest, chunk.plain_len, Some(self.twin.key()))
                    .map_err(|error| error.to_string())?;
                if !written.chunks.insert(chunk.digest.to_string()) {
                    return Err("uploaded twice".to_owned());
                }
                return Ok(Told::recorded(&self.twin, answer));
            }
            "/blob" => self.check_blob(asked, exchange)?,
            _ => {}
        }
        written.others.push(canonical(&asked.path, &asked.query));
        if asked.path == "/previous" { Ok(file(&self.twin, exchange)) } else { Ok(Told::recorded(&self.twin, answer)) }
    }

    fn check_blob(&self, asked: &Asked, exchange: &Exchange) -> Result<(), String> {
        let recorded = exchange.body.as_ref().expect("a blob has a body");
        if asked.param("file-name") != MANIFEST_NAME {
            let blob = DataBlob::parse(asked.body.clone()).map_err(|error| error.to_string())?;
            blob.verify_crc().map_err(|error| error.to_string())?;
            // Stock push wraps the log, a blob already, into another one; ours sends it as it is.
            let expected = self.twin.blob_like(recorded).expect("a known blob");
            let wrapped =
                DataBlob::parse(expected.clone()).and_then(|blob| blob.decode(None, 1 << 20)).unwrap_or_default();
            return if asked.body == expected || asked.body == wrapped {
                Ok(())
            } else {
                Err("another blob".to_owned())
            };
        }
        let blob = DataBlob::parse(asked.body.clone()).map_err(|error| error.to_string())?;
        let manifest = Manifest::parse_blob(&blob).map_err(|error| error.to_string())?;
        let expected = self.twin.manifest(recorded.blob.as_ref().expect("recorded manifests are decoded"));
        if manifest != expected {
            return Err(format!("manifest {}\ninstead of {}", manifest.to_json(), expected.to_json()));
        }
        Ok(())
    }

    /// Answers with an index of the previous snapshot that the recorded client had no use for.
    fn other_previous(&self, name: &str) -> Result<Told, String> {
        let mut previous = self.session.iter().filter(|exchange| exchange.path() == "/previous");
        let manifest = previous.find_map(|exchange| exchange.answer.as_ref()?.body.blob.as_ref());
        let files =
            manifest.and_then(|manifest| manifest["files"].as_array()).ok_or("there is no previous snapshot")?;
        let file =
            files.iter().find(|file| file["filename"] == name).ok_or("the previous snapshot has no such file")?;
        let index = file["csum"].as_str().and_then(|csum| self.twin.index(csum)).ok_or("nothing is known of it")?;
        let like = self.session.iter().find(|exchange| exchange.path() == "/previous");
        Ok(Told::like(like.and_then(|exchange| exchange.answer.as_ref()).expect("it was answered"), index.0))
    }

    fn append(&self, asked: &Asked) -> Result<Told, String> {
        let entries = self.entries(&json(asked)?)?;
        let recorded = self.recorded_entries();
        if let Some((wid, offset, digest)) = entries.iter().find(|entry| !recorded.contains(entry)) {
            return Err(format!("writer {wid} gets {digest} at {offset}"));
        }
        self.written.lock().unwrap_or_else(PoisonError::into_inner).entries.extend(entries);
        let append = self.session.iter().find(|exchange| exchange.method == "PUT").ok_or("nothing was appended")?;
        Ok(Told::recorded(&self.twin, append.answer.as_ref().expect("it was answered")))
    }
}

/// Path and query in order, without the length of the encoded body.
fn canonical(path: &str, query: &BTreeMap<String, String>) -> String {
    let kept = query.iter().filter(|(name, _)| *name != "encoded-size");
    let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

impl Script for WriterScript {
    fn key(&self) -> &str {
        &self.key
    }

    fn answer(&self, asked: &Asked) -> Result<Told, String> {
        if asked.method == "PUT" {
            return self.append(asked);
        }
        let target = canonical(&asked.path, &asked.query);
        let same = |exchange: &&Exchange| exchange.method == asked.method && self.translated(exchange) == target;
        match self.session.iter().find(same) {
            Some(exchange) => self.take(asked, exchange),
            None if asked.path == "/previous" => self.other_previous(asked.param("archive-name")),
            None => Err("not asked when it was recorded".to_owned()),
        }
    }

    fn left_undone(&self) -> Vec<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = Vec::new();
        for exchange in self.session.iter().filter(|exchange| exchange.method != "PUT") {
            let done = match exchange.path() {
                "/dynamic_chunk" | "/fixed_chunk" => {
                    written.chunks.contains(&self.twin.text(&exchange.param("digest").unwrap()))
                }
                _ => written.others.contains(&self.translated(exchange)),
            };
            if !done {
                left.push(format!("{}: {} {} was not asked", self.key, exchange.method, exchange.target));
            }
        }
        if written.entries != self.recorded_entries() {
            left.push(format!("{}: not all entries were appended", self.key));
        }
        let behind: Vec<&String> = written.others.iter().rev().take(2).collect();
        let manifest = format!("/blob?file-name={MANIFEST_NAME}");
        if behind != ["/finish", manifest.as_str()] {
            left.push(format!("{}: the session ends with {behind:?}", self.key));
        }
        left
    }
}
