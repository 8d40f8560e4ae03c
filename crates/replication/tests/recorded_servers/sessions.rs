//! Our sessions, driven through recorded backups and restores call by call.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{IndexKind, ReaderSession, Remote, WriterSession};
use formats::{BackupTime, ChunkDigest, GroupId, MAX_CHUNK_ENCODED, Namespace, SnapshotId, StoreName};
use serde_json::Value;
use traces::{Connection, Exchange, Step, Trace, Twin};

use crate::stage;
use crate::stock::Stock;

/// Longest file of the recordings.
const MAX: u64 = 1 << 20;

/// Plays the steps that `wanted` names, one server for each.
async fn play(trace: Trace, wanted: impl Fn(&Step) -> bool) {
    let (recording, twin) = stage(trace);
    for step in recording.steps.iter().filter(|step| wanted(step)) {
        let stock = Stock::start(&twin, step).await;
        for connection in &step.connections {
            talk(&twin, &stock.remote(), connection).await;
        }
        stock.expect_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sessions_reproduce_recorded_backups() {
    for trace in [Trace::FirstBackup, Trace::IncrementalBackup, Trace::EncryptedBackup] {
        play(trace, |_| true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sessions_reproduce_recorded_backups_with_a_password() {
    // The steps after these log in with a ticket that the stock client kept in a file. Ours keeps none.
    play(Trace::PasswordBackup, |step| step.began < 10_000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sessions_reproduce_what_followed_a_killed_backup() {
    // The first client was killed; the lists and the removal were made by other commands.
    play(Trace::Killed, |step| ["second backup", "retry", "same time"].iter().any(|name| step.name.starts_with(name)))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sessions_reproduce_recorded_restores() {
    play(Trace::Restore, |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sessions_reproduce_the_backups_and_the_restore_of_many_chunks() {
    play(Trace::ManyChunks, |step| step.identity.contains("t1")).await;
}

/// Makes the calls of a connection through our client.
async fn talk(twin: &Arc<Twin>, remote: &Remote, connection: &Connection) {
    let root = Namespace::root();
    for exchange in connection.exchanges.iter().filter(|exchange| exchange.stream.is_none()) {
        let (store, group) = (store_of(exchange), group_of(exchange));
        match exchange.path().rsplit('/').next().unwrap() {
            // Our client logs in by itself.
            "ticket" => {}
            "snapshots" => {
                let listed = remote.snapshots(&store.unwrap(), &root, group.as_ref()).await.unwrap();
                assert_eq!(listed.len(), exchange.data().and_then(Value::as_array).unwrap().len());
            }
            "backup" if exchange.status() == Some(101) => {
                let writer = remote.writer(&store.unwrap(), &root, &snapshot_of(exchange)).await.unwrap();
                back_up(twin, connection, &writer).await;
            }
            "backup" => {
                let refused = remote.writer(&store.unwrap(), &root, &snapshot_of(exchange)).await.unwrap_err();
                assert_eq!(refused.status(), exchange.status());
                let text = exchange.answer.as_ref().unwrap().body.text.as_ref().unwrap();
                assert!(refused.to_string().contains(text.as_str()), "{refused}");
            }
            "reader" => {
                let reader = remote.reader(&store.unwrap(), &root, &snapshot_of(exchange)).await.unwrap();
                restore(twin, connection, &reader).await;
            }
            other => panic!("no step has {other}"),
        }
    }
}

/// The store is in the path, or in the query of an upgrade.
fn store_of(exchange: &Exchange) -> Option<StoreName> {
    let in_path = exchange.path().split("/datastore/").nth(1).and_then(|rest| rest.split('/').next());
    in_path.map(str::to_owned).or_else(|| exchange.param("store")).map(|name| name.parse().unwrap())
}

fn group_of(exchange: &Exchange) -> Option<GroupId> {
    let (kind, id) = (exchange.param("backup-type")?, exchange.param("backup-id")?);
    Some(format!("{kind}/{id}").parse().unwrap())
}

fn snapshot_of(exchange: &Exchange) -> SnapshotId {
    let time = exchange.param("backup-time").unwrap().parse().unwrap();
    SnapshotId::new(group_of(exchange).unwrap(), BackupTime::from_unix(time).unwrap())
}

async fn restore(twin: &Twin, connection: &Connection, reader: &ReaderSession) {
    for exchange in connection.session() {
        match exchange.path() {
            "/download" => {
                let file = reader.download(&exchange.param("file-name").unwrap(), MAX).await.unwrap();
                assert_eq!(file.is_some(), exchange.status() == Some(200));
            }
            "/chunk" => {
                let chunk = twin.chunk(&exchange.param("digest").unwrap());
                let blob = reader.chunk(&chunk.digest, MAX_CHUNK_ENCODED as u64).await.unwrap();
                blob.verify_chunk(&chunk.digest, chunk.plain_len, Some(twin.key())).unwrap();
            }
            other => panic!("{other} in a restore"),
        }
    }
}

async fn back_up(twin: &Arc<Twin>, connection: &Connection, writer: &WriterSession) {
    let mut wids = BTreeMap::new();
    for exchange in connection.session() {
        let number = |name: &str| -> u64 { exchange.param(name).unwrap().parse().unwrap() };
        let kind = if exchange.path().starts_with("/fixed") { IndexKind::Fixed } else { IndexKind::Dynamic };
        match (exchange.method.as_str(), exchange.path()) {
            (_, "/previous_backup_time") => {
                let time = writer.previous_backup_time().await.unwrap();
                assert_eq!(time.map(|time| time.unix()), exchange.data().and_then(Value::as_i64));
            }
            (_, "/previous") => {
                let file = writer.previous(&exchange.param("archive-name").unwrap(), MAX).await.unwrap();
                assert!(file.is_some(), "{}", exchange.target);
            }
            ("POST", "/dynamic_index") => {
                let wid = writer.create_dynamic(&exchange.param("archive-name").unwrap()).await.unwrap();
                wids.insert(exchange.data().and_then(Value::as_u64).unwrap(), wid);
            }
            ("POST", "/fixed_index") => {
                let name = exchange.param("archive-name").unwrap();
                let wid = writer.create_fixed(&name, number("size")).await.unwrap();
                wids.insert(exchange.data().and_then(Value::as_u64).unwrap(), wid);
            }
            (_, "/dynamic_chunk" | "/fixed_chunk") => {
                let chunk = twin.chunk(&exchange.param("digest").unwrap());
                let wid = wids[&number("wid")];
                writer.upload_chunk(kind, wid, &chunk.digest, chunk.plain_len, chunk.blob).await.unwrap();
            }
            ("PUT", _) => {
                let (wid, entries) = appended(twin, exchange);
                writer.append(kind, wids[&wid], &entries).await.unwrap();
            }
            (_, "/dynamic_close" | "/fixed_close") => {
                let csum: ChunkDigest = twin.text(&exchange.param("csum").unwrap()).parse().unwrap();
                let (wid, count, size) = (wids[&number("wid")], number("chunk-count"), number("size"));
                writer.close(kind, wid, count, size, csum.as_bytes()).await.unwrap();
            }
            (_, "/blob") => {
                let body = exchange.body.as_ref().unwrap();
                let blob = match &body.blob {
                    Some(manifest @ Value::Object(_)) => twin.manifest(manifest).to_blob().unwrap().into_bytes(),
                    _ => twin.blob_like(body).unwrap(),
                };
                writer.upload_blob(&exchange.param("file-name").unwrap(), blob).await.unwrap();
            }
            (_, "/finish") => writer.finish().await.unwrap(),
            other => panic!("{other:?} in a backup"),
        }
    }
}

fn appended(twin: &Twin, exchange: &Exchange) -> (u64, Vec<(ChunkDigest, u64)>) {
    let json = twin.value(exchange.body.as_ref().unwrap().json.as_ref().unwrap());
    let (digests, offsets) = (json["digest-list"].as_array().unwrap(), json["offset-list"].as_array().unwrap());
    let pair =
        |(digest, offset): (&Value, &Value)| (digest.as_str().unwrap().parse().unwrap(), offset.as_u64().unwrap());
    (json["wid"].as_u64().unwrap(), digests.iter().zip(offsets).map(pair).collect())
}
