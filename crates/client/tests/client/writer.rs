use client::{ClientError, IndexKind, ProtocolError, Timeouts, WriterSession};
use formats::{ChunkDigest, DataBlob, Namespace};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::server::{Reply, Seen, Server, data, impatient, token};

async fn writing(
    timeouts: Timeouts,
    script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Server, WriterSession) {
    let server = Server::start(move |seen| match seen.session {
        true => script(seen),
        false => Reply::Upgrade("proxmox-backup-protocol-v1"),
    })
    .await;
    let remote = server.remote_as(token("sync@pbs!t1", "SECRET"), timeouts);
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();
    let writer = remote.writer(&"tank".parse().unwrap(), &Namespace::root(), &snapshot).await.unwrap();
    (server, writer)
}

/// Confirms a chunk upload.
fn confirm(seen: &Seen) -> Reply {
    let digest = seen.target.split("digest=").nth(1).unwrap().split('&').next().unwrap();
    data(digest)
}

fn digest(number: u64) -> ChunkDigest {
    ChunkDigest::of(&number.to_le_bytes())
}

#[tokio::test]
async fn many_uploads_travel_at_once_and_arrive_whole() {
    let (server, writer) = writing(Timeouts::default(), confirm).await;
    let chunks: Vec<_> = (0..64u8)
        .map(|n| {
            let plain = vec![n; 100_000 + usize::from(n)];
            (ChunkDigest::of(&plain), plain.len() as u64, DataBlob::encode(&plain, false, None).unwrap())
        })
        .collect();

    let uploads = chunks.iter().map(|(digest, size, blob)| {
        let (writer, blob) = (writer.clone(), blob.clone());
        async move { writer.upload_chunk(IndexKind::Dynamic, 1, digest, *size, blob).await }
    });
    for result in join_all(uploads).await {
        result.unwrap();
    }

    let seen = server.seen();
    for (digest, size, blob) in &chunks {
        let target = format!("/dynamic_chunk?digest={digest}&encoded-size={}&size={size}&wid=1", blob.encoded_len());
        let request = seen.iter().find(|seen| seen.target == target).expect("uploaded");
        assert_eq!(request.body, blob.as_bytes());
    }
}

#[tokio::test]
async fn an_upload_confirmed_under_another_digest_is_a_protocol_error() {
    let (_server, writer) = writing(Timeouts::default(), |_| data("00".repeat(32))).await;
    let blob = DataBlob::encode(b"hello", false, None).unwrap();

    let error = writer.upload_chunk(IndexKind::Fixed, 1, &digest(1), 5, blob).await.unwrap_err();

    let ClientError::Protocol { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, ProtocolError::OtherDigest { .. }), "{source:?}");
}

#[tokio::test]
async fn appends_carry_at_most_512_digests_in_order() {
    let (server, writer) = writing(Timeouts::default(), |_| data(Value::Null)).await;
    let chunks: Vec<_> = (0..1100).map(|n| (digest(n), n * 4096)).collect();

    writer.append(IndexKind::Dynamic, 7, &chunks).await.unwrap();

    let bodies: Vec<Value> = server.seen()[1..].iter().map(Seen::json).collect();
    let lengths: Vec<usize> = bodies.iter().map(|body| body["digest-list"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [512, 512, 76]);
    let offsets: Vec<u64> = bodies
        .iter()
        .flat_map(|body| body["offset-list"].as_array().unwrap())
        .map(|offset| offset.as_u64().unwrap())
        .collect();
    assert_eq!(offsets, chunks.iter().map(|(_, offset)| *offset).collect::<Vec<_>>());
    assert!(server.seen()[1..].iter().all(|seen| seen.line() == "PUT /dynamic_index" && seen.body.len() < 64 * 1024));
}

#[tokio::test]
async fn known_chunks_are_asked_for_in_batches_and_answered_in_order() {
    let (server, writer) = writing(Timeouts::default(), |seen| {
        let lengths = |at: usize| if at.is_multiple_of(2) { json!(1 << 24) } else { Value::Null };
        Reply::Data((0..seen.json()["digest-list"].as_array().unwrap().len()).map(lengths).collect())
    })
    .await;
    let digests: Vec<ChunkDigest> = (0..5001).map(digest).collect();

    let known = writer.known_chunks(&digests).await.unwrap();

    assert_eq!((known.len(), known[0], known[1]), (5001, Some(1 << 24), None));
    let asked: Vec<Value> = server.seen()[1..].iter().map(Seen::json).collect();
    let lengths: Vec<usize> = asked.iter().map(|body| body["digest-list"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [4096, 905]);
    assert_eq!(asked[1]["digest-list"][904], digests[5000].to_string());
    let fits = |seen: &Seen| seen.line() == "POST /known_chunks" && seen.body.len() < 512 * 1024;
    assert!(server.seen()[1..].iter().all(fits));
    assert!(writer.known_chunks(&[]).await.unwrap().is_empty());
    assert_eq!(server.seen().len(), 3, "nothing is asked for nothing");
}

#[tokio::test]
async fn fewer_answers_than_questions_are_a_protocol_error() {
    let (_server, writer) = writing(Timeouts::default(), |_| data(json!([1]))).await;

    let error = writer.known_chunks(&[digest(1), digest(2)]).await.unwrap_err();

    let ClientError::Protocol { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, ProtocolError::OtherCount { asked: 2, answered: 1 }), "{source:?}");
}

#[tokio::test]
async fn no_append_is_sent_for_nothing() {
    let (server, writer) = writing(Timeouts::default(), |_| data(Value::Null)).await;

    writer.append(IndexKind::Fixed, 1, &[]).await.unwrap();

    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_previous_snapshot_may_be_missing() {
    let (_server, writer) = writing(Timeouts::default(), |seen| match seen.path() {
        "/previous_backup_time" => data(Value::Null),
        _ => Reply::Status(400, "no valid previous backup"),
    })
    .await;

    assert_eq!(writer.previous_backup_time().await.unwrap(), None);
    assert_eq!(writer.previous("index.json.blob", 1000).await.unwrap(), None);
}

#[tokio::test]
async fn a_previous_snapshot_has_a_time_and_files() {
    let (_server, writer) = writing(Timeouts::default(), |seen| match seen.path() {
        "/previous_backup_time" => data(1763600000),
        _ => Reply::Body("index".into()),
    })
    .await;

    assert_eq!(writer.previous_backup_time().await.unwrap().unwrap().to_string(), "2025-11-20T00:53:20Z");
    assert_eq!(writer.previous("root.pxar.didx", 1000).await.unwrap().as_deref(), Some(&b"index"[..]));
}

#[tokio::test]
async fn a_refused_call_says_why_and_the_session_goes_on() {
    let (_server, writer) = writing(Timeouts::default(), |seen| match seen.path() {
        "/dynamic_close" => {
            Reply::Status(400, "dynamic writer 'a.didx' close failed - unexpected chunk count (1 != 2)")
        }
        _ => data(json!(1)),
    })
    .await;

    let error = writer.close(IndexKind::Dynamic, 1, 2, 10, &[0; 32]).await.unwrap_err();

    assert!(error.to_string().contains("unexpected chunk count (1 != 2)"), "{error}");
    assert_eq!(writer.create_dynamic("b.didx").await.unwrap(), 1);
}

#[tokio::test]
async fn dropping_the_session_without_finish_closes_it_even_with_calls_under_way() {
    let (server, writer) = writing(Timeouts::default(), |_| Reply::Never).await;
    let upload = tokio::spawn({
        let writer = writer.clone();
        async move { writer.upload_blob("a.blob", vec![1; 100_000].into()).await }
    });
    server.open_at_once(1).await;

    drop(writer);
    upload.abort();

    server.sessions_ended(1).await;
}

#[tokio::test]
async fn a_finish_that_is_never_answered_times_out() {
    let (_server, writer) = writing(impatient(), |_| Reply::Never).await;

    let error = writer.finish().await.unwrap_err();

    assert!(matches!(&error, ClientError::Timeout { waiting_for, .. } if waiting_for == "POST /finish"), "{error:?}");
}

#[tokio::test]
async fn a_busy_group_is_an_error_with_a_hint() {
    let server = Server::start(|_| Reply::Status(400, "unable to acquire group lock")).await;
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();

    let error = server.remote().writer(&"tank".parse().unwrap(), &Namespace::root(), &snapshot).await.unwrap_err();

    assert!(error.to_string().contains("unable to acquire group lock"));
    assert!(error.hint().unwrap().contains("another backup"));
}
