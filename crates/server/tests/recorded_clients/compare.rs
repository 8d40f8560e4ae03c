//! Answers of the server under test against recorded ones.
//!
//! Equal are: status line, status, content type, inside a session whether there is a content length, and JSON after
//! translation into the twin's digests. Exempt is what a server decides for itself: the texts of errors (but not whether
//! there is one), tickets, the build in `version`, the order of lists and of file names that come from a directory, the
//! length of the compressed manifest and of compressed chunks, the UUID and the time in an index, and whether HTTP/1.1
//! frames a body by its length or in chunks.

use std::collections::HashMap;

use bytes::Bytes;
use formats::{ArchiveName, DataBlob, Index, Manifest, SnapshotId, UploadStats};
use serde_json::{Map, Value};
use traces::{Answer, Exchange, Twin};

use crate::wire::RawAnswer;

/// Lengths of the manifests that clients uploaded: recorded, and ours. The statistics of an upload contain them.
pub(crate) type Manifests = HashMap<SnapshotId, (u64, u64)>;

/// Returns what differs.
pub(crate) fn differences(twin: &Twin, manifests: &Manifests, exchange: &Exchange, answer: &RawAnswer) -> Vec<String> {
    let recorded = exchange.answer.as_ref().expect("it was answered");
    let mut found = Vec::new();
    let mut same = |what: &str, recorded: Option<&str>, actual: Option<&str>| {
        if recorded != actual {
            found.push(format!("{what}: recorded {recorded:?}, now {actual:?} {:.200}", answer.text()));
        }
    };
    same("status", Some(&recorded.status.to_string()), Some(&answer.status.to_string()));
    same("status line", recorded.line.as_deref(), answer.line.as_deref());
    for name in ["content-type", "connection", "upgrade"] {
        same(name, recorded.header(name), answer.header(name));
    }
    if recorded.line.is_none() {
        let length = |header: Option<&str>| header.map(|_| "some");
        same("content-length", length(recorded.header("content-length")), length(answer.header("content-length")));
    }
    if answer.status == recorded.status
        && let Err(difference) = body(twin, manifests, exchange, recorded, &answer.body)
    {
        found.push(difference);
    }
    found.into_iter().map(|difference| format!("{} {}: {difference}", exchange.method, exchange.target)).collect()
}

fn body(
    twin: &Twin,
    manifests: &Manifests,
    exchange: &Exchange,
    recorded: &Answer,
    actual: &Bytes,
) -> Result<(), String> {
    if recorded.status == 101 {
        return Ok(());
    }
    if recorded.status >= 400 {
        return if actual.is_empty() { Err("an error without a text".to_owned()) } else { Ok(()) };
    }
    if let Some(json) = &recorded.body.json {
        let actual: Value = serde_json::from_slice(actual).map_err(|error| format!("not JSON: {error}"))?;
        return json_body(exchange, &twin.value(json), &actual);
    }
    binary(twin, manifests, exchange, recorded, actual)
}

fn binary(
    twin: &Twin,
    manifests: &Manifests,
    exchange: &Exchange,
    recorded: &Answer,
    actual: &Bytes,
) -> Result<(), String> {
    if let Some(digest) = exchange.param("digest") {
        let chunk = twin.chunk(&digest);
        return expect(actual == &chunk.blob.to_bytes(), || "not the chunk that was uploaded".to_owned());
    }
    let name = exchange.param("file-name").or_else(|| exchange.param("archive-name")).expect("a file");
    let name: ArchiveName = name.parse().expect("a file name");
    if name.as_str() == formats::MANIFEST_NAME {
        let blob = DataBlob::parse(actual.clone()).map_err(|error| error.to_string())?;
        let mut actual = Manifest::parse_blob(&blob).map_err(|error| error.to_string())?;
        let expected = twin.manifest(recorded.body.blob.as_ref().expect("recorded manifests are decoded"));
        // The encoded lengths of the chunks and of the manifest are the twin's own.
        if let (Some(stats), Some(known)) = (actual.upload_stats(), expected.upload_stats()) {
            let lossless = stats.compressed_size > 0 || known.compressed_size == 0;
            expect(lossless, || "no chunk bytes in the upload statistics".to_owned())?;
            let (was, is) = manifests.get(&actual.snapshot()).copied().unwrap_or_default();
            let size = (stats.size + was).saturating_sub(is);
            actual.set_upload_stats(&UploadStats { compressed_size: known.compressed_size, size, ..stats });
        }
        return expect(actual == expected, || {
            format!("manifest:\n{}\nexpected\n{}", actual.to_json(), expected.to_json())
        });
    }
    if name.as_str().ends_with(".blob") {
        let expected = twin.blob_like(&recorded.body).expect("the blob is known");
        return expect(actual == &expected, || "not the blob that was uploaded".to_owned());
    }
    let index = Index::parse(name.kind(), actual.clone()).map_err(|error| error.to_string())?;
    let csum = twin.text(&hex::encode(&recorded.body.start[32..64]));
    expect(actual.len() as u64 == recorded.body.length, || format!("an index of {} bytes", actual.len()))?;
    expect(hex::encode(index.csum()) == csum, || "an index with other entries".to_owned())?;
    expect(index.header_csum() == index.csum(), || "an index with a wrong checksum".to_owned())
}

fn json_body(exchange: &Exchange, recorded: &Value, actual: &Value) -> Result<(), String> {
    let call = exchange.path().rsplit('/').next().unwrap_or_default();
    match (exchange.method.as_str(), call) {
        ("POST", "ticket") => ticket(recorded, actual),
        ("GET", "version") => version(recorded, actual),
        ("GET", "snapshots") => lists(recorded, actual, snapshot),
        ("GET", "groups") => lists(recorded, actual, group),
        ("GET", "namespace") => lists(recorded, actual, equal),
        _ => equal(recorded, actual),
    }
}

fn expect(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

fn equal(recorded: &Value, actual: &Value) -> Result<(), String> {
    expect(recorded == actual, || format!("recorded {recorded}, now {actual}"))
}

fn keys(value: &Value) -> Vec<&String> {
    let mut keys: Vec<&String> = value.as_object().map(Map::keys).into_iter().flatten().collect();
    keys.sort();
    keys
}

fn ticket(recorded: &Value, actual: &Value) -> Result<(), String> {
    let shape = |value: &Value| {
        let data = &value["data"];
        let texts =
            ["ticket", "CSRFPreventionToken"].map(|name| data[name].as_str().is_some_and(|text| !text.is_empty()));
        let keys = |value| keys(value).into_iter().cloned().collect::<Vec<_>>();
        (keys(value), keys(data), texts, data["username"].clone(), value["status"].clone(), value["success"].clone())
    };
    expect(shape(recorded) == shape(actual), || format!("recorded {recorded}, now {actual}"))
}

fn version(recorded: &Value, actual: &Value) -> Result<(), String> {
    // The one key we add, which stock peers do not look at: the names of our own extensions.
    let mut actual = actual["data"].clone();
    let ours = actual.as_object_mut().and_then(|map| map.remove("backup-replicator"));
    let named = ours.is_none_or(|names| names.as_array().is_some_and(|names| names.iter().all(Value::is_string)));
    let (recorded, actual) = (&recorded["data"], &actual);
    let texts = named && actual.as_object().is_some_and(|map| map.values().all(Value::is_string));
    let release = |value: &Value| value["version"].clone();
    expect(keys(recorded) == keys(actual) && texts && release(recorded) == release(actual), || {
        format!("recorded {recorded}, now {actual}")
    })
}

/// Compares the elements of two lists whose order is that of a directory.
fn lists(recorded: &Value, actual: &Value, same: impl Fn(&Value, &Value) -> Result<(), String>) -> Result<(), String> {
    let sorted = |value: &Value| {
        let mut items = value["data"].as_array().cloned().unwrap_or_default();
        items.sort_by_key(|item| ["ns", "backup-type", "backup-id", "backup-time"].map(|name| item[name].to_string()));
        items
    };
    let (known, items) = (sorted(recorded), sorted(actual));
    expect(keys(recorded) == keys(actual) && known.len() == items.len(), || {
        format!("recorded {recorded}, now {actual}")
    })?;
    known.iter().zip(&items).try_for_each(|(known, item)| same(known, item))
}

fn group(recorded: &Value, actual: &Value) -> Result<(), String> {
    let plain = |value: &Value| {
        let mut value = value.clone();
        if let Some(files) = value["files"].as_array_mut() {
            files.sort_by_key(Value::to_string);
        }
        value
    };
    equal(&plain(recorded), &plain(actual))
}

/// The manifest's own size is that of its compressed form; the sum must fit it.
fn snapshot(recorded: &Value, actual: &Value) -> Result<(), String> {
    let plain = |value: &Value| -> Result<Value, String> {
        let mut value = value.clone();
        let files = value["files"].as_array_mut().ok_or("no list of files")?;
        let sum: u64 = files.iter().filter_map(|file| file["size"].as_u64()).sum();
        for file in files.iter_mut().filter(|file| file["filename"] == formats::MANIFEST_NAME) {
            expect(file["size"].as_u64().is_some_and(|size| size > 12), || format!("no size in {file}"))?;
            file["size"] = 0.into();
        }
        if let Some(size) = value.get_mut("size") {
            expect(*size == sum, || format!("{size} is not the sum {sum} of the files"))?;
            *size = 0.into();
        }
        Ok(value)
    };
    equal(&plain(recorded)?, &plain(actual)?)
}
