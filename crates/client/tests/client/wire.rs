//! Our requests next to those that stock programs were recorded to send, answered with the recorded answers.

use std::{collections::BTreeMap, sync::Arc};

use client::{IndexKind, Remote, Timeouts};
use formats::{DataBlob, Namespace, SnapshotId, StoreName};
use serde::Deserialize;
use serde_json::Value;

use crate::server::{Reply, Seen, Server, password, token};

#[derive(Deserialize)]
struct Recorded {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    json: Option<Value>,
    answer: Option<Value>,
}

struct Recording(BTreeMap<String, Recorded>);

impl Recording {
    fn load() -> Arc<Self> {
        let text = include_str!("../fixtures/wire.json");
        Arc::new(Self(serde_json::from_str(text).unwrap()))
    }

    /// Answers as the recorded server did.
    fn reply(&self, seen: &Seen) -> Reply {
        let recorded = |entry: &&Recorded| entry.method == seen.method && entry.target == seen.target;
        match seen.path() {
            "//api2/json/reader" => Reply::Upgrade("proxmox-backup-reader-protocol-v1"),
            "//api2/json/backup" => Reply::Upgrade("proxmox-backup-protocol-v1"),
            "/chunk" => Reply::Body(DataBlob::encode(b"x", false, None).unwrap().into_bytes()),
            _ => match self.0.values().find(recorded).map(|entry| &entry.answer) {
                Some(Some(answer)) => Reply::Body(answer.to_string().into()),
                Some(None) => Reply::Body("content".into()),
                None => Reply::Status(404, "not in the recording"),
            },
        }
    }

    /// Compares a request with the recorded one; only user agent, host and secrets may differ.
    fn compare(&self, name: &str, seen: &Seen) {
        let recorded = &self.0[name];
        assert_eq!(seen.line(), format!("{} {}", recorded.method, recorded.target), "{name}");
        let plain = |headers: &[(String, String)]| -> Vec<(String, String)> {
            let differs = ["user-agent", "host", "authorization", "content-length"];
            let value = |key: &str, value: &str| {
                if differs.contains(&key) { "*".into() } else { value.to_owned() }
            };
            headers.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
        };
        assert_eq!(plain(&seen.headers), plain(&recorded.headers), "{name}");
        if let Some(json) = &recorded.json {
            // Text, not value: the order of the keys counts.
            assert_eq!(seen.body, json.to_string(), "{name}");
        }
    }
}

async fn replay() -> (Server, Remote, Arc<Recording>) {
    let recording = Recording::load();
    let answers = Arc::clone(&recording);
    let server = Server::start(move |seen| answers.reply(seen)).await;
    let remote = server.remote_as(token("root@pam!t1", "SECRET"), Timeouts::default());
    (server, remote, recording)
}

fn compare_all(server: &Server, recording: &Recording, names: &[&str]) {
    let seen = server.seen();
    assert_eq!(seen.len(), names.len(), "{:#?}", server.lines());
    for (name, seen) in names.iter().zip(&seen) {
        recording.compare(name, seen);
    }
}

fn store(name: &str) -> StoreName {
    name.parse().unwrap()
}

fn snapshot(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_pull_asks_as_a_stock_pull_does() {
    let (server, remote, recording) = replay().await;
    let (source, root, prod) = (store("trA"), Namespace::root(), "prod".parse().unwrap());
    let one = "host/one".parse().unwrap();
    let web1 = "host/web1".parse().unwrap();

    let groups = remote.groups(&source, &root).await.unwrap();
    remote.groups(&source, &prod).await.unwrap();
    let snapshots = remote.snapshots(&source, &root, Some(&one)).await.unwrap();
    remote.snapshots(&source, &prod, Some(&web1)).await.unwrap();
    let reader = remote.reader(&source, &prod, &snapshot("host/web1/2025-11-20T00:53:20Z")).await.unwrap();
    reader.download("index.json.blob", 1000).await.unwrap().unwrap();
    let digest = "9666aa52e90fb3924ffa4a30e16f239ab331987ce200bcd85640e6fed40721b2".parse().unwrap();
    reader.chunk(&digest, 1000).await.unwrap();

    assert!(groups.iter().any(|group| group.backup_id.as_str() == "meta" && group.backup_count == 4));
    assert!(snapshots.iter().all(|snapshot| snapshot.backup_id.as_str() == "one" && snapshot.size.is_some()));
    let names = ["groups", "groups-ns", "snapshots", "snapshots-ns", "reader", "download", "chunk"];
    compare_all(&server, &recording, &names);
}

#[tokio::test]
async fn a_push_asks_as_a_stock_push_does() {
    let (server, remote, recording) = replay().await;
    let (target, root) = (store("trP"), Namespace::root());
    let blob = |encoded: usize| DataBlob::encode(&vec![1; encoded - 12], false, None).unwrap();
    let digest = |text: &str| text.parse::<formats::ChunkDigest>().unwrap();
    let csum = |text: &str| *digest(text).as_bytes();
    let (d1, d2) = (
        digest("9666aa52e90fb3924ffa4a30e16f239ab331987ce200bcd85640e6fed40721b2"),
        digest("160a4d16d3876e87684c356777bbf1cf07f4433a9f57588696f3431c7970e361"),
    );

    remote.version().await.unwrap();
    remote.namespaces(&target, &root, None).await.unwrap();
    remote.create_namespace(&target, &"prod".parse().unwrap()).await.unwrap();
    let writer = remote.writer(&target, &root, &snapshot("host/enc/2025-11-20T00:53:20Z")).await.unwrap();
    assert_eq!(writer.previous_backup_time().await.unwrap(), None);
    writer.previous("index.json.blob", 1000).await.unwrap();
    let dynamic = writer.create_dynamic("root.pxar.didx").await.unwrap();
    writer.upload_chunk(IndexKind::Dynamic, dynamic, &d1, 3_357_484, blob(1_183_592)).await.unwrap();
    writer.append(IndexKind::Dynamic, dynamic, &[(d1, 0)]).await.unwrap();
    let sum = csum("a13c80d8014008836fa11db7628a32ec82fcb13930549cfdb57c8930c4b70697");
    writer.close(IndexKind::Dynamic, dynamic, 1, 3_357_484, &sum).await.unwrap();
    let fixed = writer.create_fixed("drive-scsi1.img.fidx", 4_195_081).await.unwrap();
    writer.upload_chunk(IndexKind::Fixed, fixed, &d2, 777, blob(821)).await.unwrap();
    let appended: Vec<_> = [
        "d83df291828a98ec5e941344501ecd78f8a327f18f2b2c08ac80a23672d94ae2",
        "47e1bc33b440c545263354bd17c6dc2f8ba50406ea7ce9ac40b6f75cd65ff896",
        "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8",
        "fe8f86e16eadf2669a8976821eda396f65ed7bab97f59de699cc48069bf8b54f",
        "5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee",
    ]
    .iter()
    .zip(0u64..)
    .map(|(text, slot)| (digest(text), slot * 4_194_304))
    .collect();
    writer.append(IndexKind::Fixed, fixed, &appended).await.unwrap();
    let sum = csum("ee72712b8a5c5e217f573595b6e5a3ce6d1f0c999f4839a28b06c0bfecf417d0");
    writer.close(IndexKind::Fixed, fixed, 2, 4_195_081, &sum).await.unwrap();
    writer.upload_blob("qemu.conf.blob", blob(69).into_bytes()).await.unwrap();
    writer.finish().await.unwrap();

    assert_eq!((dynamic, fixed), (1, 2));
    let names = [
        "version",
        "namespaces",
        "create-namespace",
        "writer",
        "previous-time",
        "previous",
        "create-dynamic",
        "upload-dynamic",
        "append-dynamic",
        "close-dynamic",
        "create-fixed",
        "upload-fixed",
        "append-fixed",
        "close-fixed",
        "blob",
        "finish",
    ];
    compare_all(&server, &recording, &names);
}

#[tokio::test]
async fn removals_ask_as_a_stock_push_does() {
    let (server, remote, recording) = replay().await;
    let target = store("trP");
    let gone = snapshot("host/one/2025-11-20T00:56:40Z");

    remote.delete_snapshot(&target, &Namespace::root(), &gone).await.unwrap();
    let stats = remote.delete_namespace(&target, &"prod/web".parse().unwrap(), true).await.unwrap().unwrap();

    assert_eq!((stats.removed_groups, stats.removed_snapshots), (1, 1));
    compare_all(&server, &recording, &["delete-snapshot", "version", "delete-namespace"]);
}

#[tokio::test]
async fn a_login_looks_like_a_stock_login() {
    let recording = Recording::load();
    let answers = Arc::clone(&recording);
    let server = Server::start(move |seen| answers.reply(seen)).await;
    let remote = server.remote_as(password("sync@pbs", "SECRET"), Timeouts::default());

    remote.version().await.unwrap();

    recording.compare("login", &server.seen()[0]);
    let names: Vec<String> = server.seen()[1].headers.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["user-agent", "content-type", "cookie", "csrfpreventiontoken", "host"]);
}
