//! Writing and reading snapshots.

use std::time::{Duration, Instant};

use bytes::Bytes;
use formats::{ArchiveName, ChunkDigest, CryptMode, DataBlob, FileInfo, Manifest, SnapshotId};
use http::Method;
use serde_json::json;

use super::support::{Caller, STORE, Session, TestServer, until};

const SNAPSHOT: &str = "backup-type=host&backup-id=a&backup-time=1700000000";
const LATER: &str = "backup-type=host&backup-id=a&backup-time=1700000100";

pub(crate) fn blob(plain: &[u8]) -> Bytes {
    DataBlob::encode(plain, true, None).unwrap().into_bytes()
}

fn manifest(files: Vec<FileInfo>) -> Bytes {
    let snapshot: SnapshotId = "host/a/2023-11-14T22:13:20Z".parse().unwrap();
    let mut manifest = Manifest::new(snapshot);
    for file in files {
        manifest.add(file).unwrap();
    }
    manifest.to_blob().unwrap().into_bytes()
}

pub(crate) async fn upload_blob(session: &Session, name: &str, encoded: Bytes) {
    let answer = session.upload(&format!("blob?encoded-size={}&file-name={name}", encoded.len()), encoded).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Uploads a chunk, with the sizes it really has.
pub(crate) async fn chunk(session: &Session, kind: &str, wid: u64, plain: &[u8]) -> ChunkDigest {
    let (digest, encoded) = (ChunkDigest::of(plain), blob(plain));
    let path = format!("{kind}_chunk?digest={digest}&encoded-size={}&size={}&wid={wid}", encoded.len(), plain.len());
    let answer = session.upload(&path, encoded).await;
    assert_eq!(answer.data(), digest.to_string());
    digest
}

/// Writes a dynamic archive of these chunks and returns its entry of the manifest.
pub(crate) async fn dynamic(session: &Session, name: &str, chunks: &[&[u8]], known: bool) -> FileInfo {
    let wid = session.post(&format!("dynamic_index?archive-name={name}")).await.data().as_u64().unwrap();
    let mut writer = formats::DynamicIndexWriter::new([0; 16], 0);
    let (mut digests, mut offsets) = (Vec::new(), Vec::new());
    for plain in chunks {
        let digest = if known { ChunkDigest::of(plain) } else { chunk(session, "dynamic", wid, plain).await };
        offsets.push(writer.end());
        digests.push(digest.to_string());
        writer.push(digest, writer.end() + plain.len() as u64).unwrap();
    }
    let append = json!({ "wid": wid, "digest-list": digests, "offset-list": offsets });
    assert_eq!(session.put_json("dynamic_index", &append).await.status, 200);
    let (size, csum) = (writer.end(), writer.csum());
    let close = format!("dynamic_close?wid={wid}&chunk-count={}&size={size}&csum={}", chunks.len(), hex::encode(csum));
    assert_eq!(session.post(&close).await.status, 200);
    FileInfo { filename: name.parse().unwrap(), crypt_mode: CryptMode::None, size, csum }
}

pub(crate) async fn finish(session: &Session, files: Vec<FileInfo>) {
    upload_blob(session, "index.json.blob", manifest(files)).await;
    let answer = session.post("finish").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.data(), serde_json::Value::Null);
}

/// A finished snapshot with one blob.
pub(crate) async fn small_backup(server: &TestServer, caller: &Caller, snapshot: &str) {
    let session = server.writer_as(caller, snapshot).await.unwrap_or_else(|refused| panic!("{}", refused.text()));
    upload_blob(&session, "x.conf.blob", blob(b"content")).await;
    upload_blob(&session, "index.json.blob", Manifest::new(named(snapshot)).to_blob().unwrap().into_bytes()).await;
    let answer = session.post("finish").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The snapshot that such a query names.
fn named(query: &str) -> SnapshotId {
    let field = |name: &str| {
        let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).unwrap();
        value.into_owned()
    };
    let group = format!("{}/{}", field("backup-type"), field("backup-id")).parse().unwrap();
    let time = formats::BackupTime::from_unix(field("backup-time").parse().unwrap()).unwrap();
    SnapshotId { group, time }
}

async fn listed(server: &TestServer) -> serde_json::Value {
    server.call(Method::GET, &format!("/admin/datastore/{STORE}/snapshots")).await.data()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_reads_back() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert_eq!(session.get("previous_backup_time").await.data(), serde_json::Value::Null);
    let file = dynamic(&session, "root.pxar.didx", &[b"first chunk", b"second"], false).await;
    assert!(listed(&server).await[0].get("size").is_none(), "a running backup has no size");
    let uploaded = manifest(vec![file.clone()]).len() as u64;
    finish(&session, vec![file]).await;

    let reader = server.reader(SNAPSHOT).await.unwrap();
    let index = reader.get("download?file-name=root.pxar.didx").await;
    assert!(index.headers.get("content-length").is_none());
    let index = formats::Index::parse_any(index.body).unwrap();
    let mut plain = Vec::new();
    for entry in index.entries() {
        let answer = reader.get(&format!("chunk?digest={}", entry.digest)).await;
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        plain.extend(DataBlob::parse(answer.body).unwrap().decode(None, 1 << 24).unwrap());
    }
    assert_eq!(plain, b"first chunksecond");
    let manifest = reader.get("download?file-name=index.json.blob").await.body;
    let manifest = Manifest::parse_blob(&DataBlob::parse(manifest).unwrap()).unwrap();
    let stats = manifest.upload_stats().unwrap();
    // 17 bytes of chunks; blobs count with their encoded length.
    assert_eq!((stats.count, stats.size, stats.duplicates), (2, 17 + uploaded, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_lets_go_of_all_locks_before_it_is_answered() {
    let server = TestServer::start().await;
    let first = server.writer(SNAPSHOT).await.unwrap();
    let file = dynamic(&first, "a.didx", &[b"shared"], false).await;
    finish(&first, vec![file]).await;
    // The first connection is still open.
    let second = server.writer(LATER).await.unwrap_or_else(|refused| panic!("{}", refused.text()));
    assert_eq!(second.get("previous_backup_time").await.data(), 1_700_000_000);
    assert_eq!(first.post("finish").await.status, 400);
    assert_eq!(first.upload("blob?encoded-size=20&file-name=y.blob", vec![0; 20]).await.status, 400);
    // Chunks of the previous index are known once it was asked for, and not before.
    let unknown = json!({ "wid": 1, "digest-list": [ChunkDigest::of(b"shared").to_string()], "offset-list": [0] });
    assert_eq!(second.post("dynamic_index?archive-name=early.didx").await.data(), 1);
    assert_eq!(second.put_json("dynamic_index", &unknown).await.status, 400);
    assert_eq!(second.get("previous?archive-name=a.didx").await.status, 200);
    assert_eq!(second.put_json("dynamic_index", &unknown).await.status, 200);
    assert_eq!(second.get("previous?archive-name=no.blob").await.status, 404);
    assert_eq!(second.get("previous?archive-name=no.didx").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_off_leaves_nothing_and_its_time_is_free() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    dynamic(&session, "a.didx", &[b"lost"], false).await;
    upload_blob(&session, "index.json.blob", manifest(Vec::new())).await;
    let busy = server.writer(LATER).await.err().unwrap();
    assert_eq!(busy.status, 400, "a busy group is refused at once");
    drop(session);
    let groups = format!("/admin/datastore/{STORE}/groups");
    until("the group of a broken session vanishes", async || {
        server.call(Method::GET, &groups).await.data() == json!([])
    })
    .await;
    small_backup(&server, &server.admin, SNAPSHOT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_lie_are_refused_and_the_session_goes_on() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert_eq!(session.post("dynamic_index?archive-name=a.didx").await.data(), 1);
    let (digest, encoded) = (ChunkDigest::of(b"data"), blob(b"data"));
    let zero = "0".repeat(64);
    let length = encoded.len();
    for (what, query, body) in [
        ("digest", format!("digest={zero}&encoded-size={length}&size=4"), encoded.clone()),
        ("size", format!("digest={digest}&encoded-size={length}&size=5"), encoded.clone()),
        ("too short", format!("digest={digest}&encoded-size={}&size=4", length + 1), encoded.clone()),
        ("too long", format!("digest={digest}&encoded-size={}&size=4", length - 1), encoded.clone()),
        ("magic", format!("digest={digest}&encoded-size={length}&size=4"), vec![b'x'; length].into()),
        ("upper case", format!("digest={}&encoded-size={length}&size=4", "A".repeat(64)), encoded.clone()),
    ] {
        let answer = session.upload(&format!("dynamic_chunk?{query}&wid=1"), body).await;
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.body.len() >= 8, "{what}");
    }
    for name in ["../a.blob", ".a.blob", "a.txt", "a%2Fb.blob"] {
        let answer = session.upload(&format!("blob?encoded-size={length}&file-name={name}"), encoded.clone()).await;
        assert_eq!(answer.status, 400, "{name}");
    }
    let mut zero_crc = encoded.to_vec();
    zero_crc[8..12].fill(0);
    let good = format!("dynamic_chunk?digest={digest}&encoded-size={length}&size=4&wid=1");
    assert_eq!(session.upload(&good, zero_crc.clone()).await.data(), digest.to_string());
    let as_blob = format!("blob?encoded-size={length}&file-name=x.blob");
    assert_eq!(session.upload(&as_blob, zero_crc).await.status, 400, "blobs need their checksum");
    let stored = server.store(STORE).chunks().read(&digest).await.unwrap();
    stored.verify_crc().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_without_a_good_manifest_is_final() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert!(session.post("finish").await.text().contains("file count"));
    upload_blob(&session, "x.blob", blob(b"x")).await;
    assert_eq!(session.post("finish").await.status, 400);
    assert!(session.post("finish").await.text().contains("process of finishing"));
    drop(session);
    until("nothing stays", async || listed(&server).await == json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_chunks_of_downloaded_indexes_are_given_and_a_refusal_delays_nobody_else() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    let file = dynamic(&session, "a.didx", &[b"secret"], false).await;
    upload_blob(&session, "x.conf.blob", blob(b"conf")).await;
    finish(&session, vec![file]).await;
    let reader = server.reader(SNAPSHOT).await.unwrap();
    let path = format!("chunk?digest={}", ChunkDigest::of(b"secret"));
    let started = Instant::now();
    let (refused, quick) = tokio::join!(reader.get(&path), async {
        let answer = reader.get("download?file-name=x.conf.blob").await;
        (answer.status, started.elapsed())
    });
    assert_eq!(refused.status, 401);
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!(quick.0, 200);
    assert!(quick.1 < Duration::from_secs(3));
    assert_eq!(reader.get("download?file-name=a.didx").await.status, 200);
    assert_eq!(reader.get(&path).await.status, 200);
    for (file, status) in [("no.blob", 404), ("no.didx", 400), ("x.txt", 400), (".protected", 400)] {
        assert_eq!(reader.get(&format!("download?file-name={file}")).await.status.as_u16(), status, "{file}");
    }
    let path = format!("/admin/datastore/{STORE}/snapshots?{SNAPSHOT}");
    assert_eq!(server.call(Method::DELETE, &path).await.status, 400, "a snapshot that is read stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_at_once_fit_through_a_small_budget() {
    let settings = server::Settings { upload_budget: 8 << 20, ..server::Settings::default() };
    let server = TestServer::start_with(settings).await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert_eq!(session.post("dynamic_index?archive-name=a.didx").await.data(), 1);
    let uploads = (0..40_u8).map(|number| {
        let session = &session;
        async move {
            // Not compressible, so that the bytes really go over the wire.
            let mut plain = vec![number; 3 << 20];
            getrandom::fill(&mut plain[1..]).unwrap();
            chunk(session, "dynamic", 1, &plain).await
        }
    });
    let digests = futures_util::future::join_all(uploads).await;
    assert_eq!(digests.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_unknown_size_grows_until_a_short_chunk() {
    let server = TestServer::start().await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert_eq!(session.post("fixed_index?archive-name=disk.img.fidx").await.data(), 1);
    let (full, tail) = (vec![7_u8; 4 << 20], b"tail".to_vec());
    let mut writer = formats::FixedIndexWriter::new([0; 16], 0, None, 4 << 20).unwrap();
    for (position, plain) in [&full, &tail].into_iter().enumerate() {
        let digest = chunk(&session, "fixed", 1, plain).await;
        let append =
            json!({ "wid": 1, "digest-list": [digest.to_string()], "offset-list": [position as u64 * (4 << 20)] });
        assert_eq!(session.put_json("fixed_index", &append).await.status, 200);
        writer.set(position as u64, digest, plain.len() as u64).unwrap();
    }
    let csum = hex::encode(writer.csum());
    let size = (4 << 20) + 4;
    let wrong = session.post(&format!("fixed_close?wid=1&chunk-count=3&size={size}&csum={csum}")).await;
    assert_eq!(wrong.status, 400);
    let right = session.post(&format!("fixed_close?wid=1&chunk-count=2&size={size}&csum={csum}")).await;
    assert_eq!(right.status, 200, "{}", right.text());
    let again = session.post(&format!("fixed_close?wid=1&chunk-count=2&size={size}&csum={csum}")).await;
    assert!(again.text().contains("not registered"));
    let filename: ArchiveName = "disk.img.fidx".parse().unwrap();
    finish(&session, vec![FileInfo { filename, crypt_mode: CryptMode::None, size, csum: writer.csum() }]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_wants_it_verifies_new_snapshots() {
    let server = TestServer::start().await;
    config::datastores::update(&server.paths, &STORE.parse().unwrap(), None, |store| {
        store.verify_new = Some(true);
        Ok(())
    })
    .unwrap();
    let session = server.writer(SNAPSHOT).await.unwrap();
    let file = dynamic(&session, "a.didx", &[b"to be verified"], false).await;
    finish(&session, vec![file]).await;
    drop(session);
    until("the snapshot is verified", async || listed(&server).await[0]["verification"]["state"] == "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_gives_its_memory_back() {
    let settings = server::Settings { upload_stall: Duration::from_millis(300), ..server::Settings::default() };
    let server = TestServer::start_with(settings).await;
    let session = server.writer(SNAPSHOT).await.unwrap();
    assert_eq!(session.post("dynamic_index?archive-name=a.didx").await.data(), 1);
    let digest = ChunkDigest::of(b"never sent");
    let answer = session.stall(&format!("dynamic_chunk?digest={digest}&encoded-size=1000&size=1000&wid=1")).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (400, "upload stalled"));
    chunk(&session, "dynamic", 1, b"the session goes on").await;
}
