use bytes::Bytes;
use client::{ClientError, ErrorClass, ProtocolError, ReaderSession, Timeouts};
use formats::{ChunkDigest, DataBlob, Namespace};
use futures_util::future::join_all;

use crate::server::{Reply, Seen, Server, impatient, token};

const MAX: u64 = 16 << 20;

/// A server whose session answers by `script`, and a reader on it.
async fn reading(
    timeouts: Timeouts,
    script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Server, ReaderSession) {
    let server = Server::start(move |seen| match seen.session {
        true => script(seen),
        false => Reply::Upgrade("proxmox-backup-reader-protocol-v1"),
    })
    .await;
    let remote = server.remote_as(token("sync@pbs!t1", "SECRET"), timeouts);
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();
    let reader = remote.reader(&"tank".parse().unwrap(), &Namespace::root(), &snapshot).await.unwrap();
    (server, reader)
}

/// A chunk that can be made from its number alone.
fn chunk(number: u8) -> (ChunkDigest, DataBlob) {
    let plain = vec![number; 1000];
    (ChunkDigest::of(&plain), DataBlob::encode(&plain, false, None).unwrap())
}

fn any_digest() -> ChunkDigest {
    ChunkDigest::from_bytes([7; 32])
}

fn protocol_error(error: ClientError) -> ProtocolError {
    let ClientError::Protocol { source, .. } = error else { panic!("{error:?}") };
    *source
}

#[tokio::test]
async fn fifty_chunks_travel_at_once_and_each_answer_finds_its_request() {
    let chunks: Vec<_> = (0..50).map(chunk).collect();
    let stored = chunks.clone();
    let (server, reader) = reading(Timeouts::default(), move |seen| {
        let digest = seen.target.strip_prefix("/chunk?digest=").unwrap().parse().unwrap();
        let (_, blob) = stored.iter().find(|(known, _)| *known == digest).unwrap();
        Reply::Body(blob.to_bytes())
    })
    .await;

    let answers = join_all(chunks.iter().map(|(digest, _)| reader.chunk(digest, MAX))).await;

    for ((_, sent), received) in chunks.iter().zip(answers) {
        assert_eq!(received.unwrap().as_bytes(), sent.as_bytes());
    }
    assert!(server.seen()[1..].iter().all(|seen| seen.authority.as_deref() == Some("localhost:8007")));
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    let (server, reader) = reading(Timeouts::default(), |seen| match seen.path() {
        "/chunk" => Reply::Never,
        _ => Reply::Body("quick".into()),
    })
    .await;
    let slow = tokio::spawn({
        let reader = reader.clone();
        let digest = any_digest();
        async move { join_all((0..20).map(|_| reader.chunk(&digest, MAX))).await }
    });
    server.open_at_once(20).await;

    let quick = reader.download("a.blob", MAX).await.unwrap();

    assert_eq!(quick.as_deref(), Some(&b"quick"[..]));
    slow.abort();
}

#[tokio::test]
async fn a_body_in_many_frames_is_put_together() {
    let parts: Vec<Bytes> = (0..100u8).map(|n| Bytes::from(vec![n; 10_000])).collect();
    let sent = parts.clone();
    let (_server, reader) = reading(Timeouts::default(), move |_| Reply::Frames(sent.clone())).await;

    let file = reader.download("a.didx", MAX).await.unwrap().unwrap();

    assert_eq!(file, parts.concat());
}

#[tokio::test]
async fn an_incompressible_4_mib_chunk_passes() {
    let plain: Vec<u8> = (0..4u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let blob = DataBlob::encode(&plain, false, None).unwrap();
    let sent = blob.to_bytes();
    let (_server, reader) = reading(Timeouts::default(), move |_| Reply::Body(sent.clone())).await;

    let received = reader.chunk(&any_digest(), MAX).await.unwrap();

    assert_eq!(received.as_bytes(), blob.as_bytes());
}

#[tokio::test]
async fn a_missing_file_is_none() {
    let (_server, reader) = reading(Timeouts::default(), |_| Reply::Status(404, "not found")).await;

    assert_eq!(reader.download("client.log.blob", MAX).await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_chunk_does_not_end_the_session() {
    let (_server, reader) = reading(Timeouts::default(), |seen| match seen.path() {
        "/chunk" => Reply::Status(401, "download chunk not allowed"),
        _ => Reply::Body("fine".into()),
    })
    .await;

    let error = reader.chunk(&any_digest(), MAX).await.unwrap_err();

    assert!(matches!(error, ClientError::Api { status: 401, .. }), "{error:?}");
    assert!(error.to_string().contains(&any_digest().to_string()));
    assert!(reader.download("a.blob", MAX).await.unwrap().is_some());
}

#[tokio::test]
async fn an_endless_body_is_given_up_at_the_limit_and_the_session_goes_on() {
    let (_server, reader) = reading(Timeouts::default(), |seen| match seen.path() {
        "/chunk" => Reply::Endless,
        _ => Reply::Body("fine".into()),
    })
    .await;

    let error = reader.chunk(&any_digest(), 1 << 20).await.unwrap_err();

    assert!(matches!(error, ClientError::TooLong { limit: 1_048_576, .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Skip);
    assert!(reader.download("a.blob", MAX).await.unwrap().is_some());
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_before_the_body() {
    let (_server, reader) = reading(Timeouts::default(), |_| Reply::Body(vec![0; 2000].into())).await;

    let error = reader.download("a.blob", 1999).await.unwrap_err();

    assert!(matches!(error, ClientError::TooLong { limit: 1999, .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_a_protocol_error() {
    let (_server, reader) = reading(Timeouts::default(), |_| Reply::Short(101, vec![0; 100].into())).await;

    let error = reader.download("a.blob", MAX).await.unwrap_err();

    assert!(matches!(protocol_error(error), ProtocolError::Length { announced: 101, .. }));
}

#[tokio::test]
async fn a_chunk_that_is_never_answered_times_out() {
    let (_server, reader) = reading(impatient(), |_| Reply::Never).await;

    let error = reader.chunk(&any_digest(), MAX).await.unwrap_err();

    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Retry);
}

#[tokio::test]
async fn a_chunk_that_is_no_blob_is_a_protocol_error() {
    let (_server, reader) = reading(Timeouts::default(), |_| Reply::Body(vec![0; 100].into())).await;

    let error = reader.chunk(&any_digest(), MAX).await.unwrap_err();

    assert!(matches!(protocol_error(error), ProtocolError::Blob(_)));
}

#[tokio::test]
async fn the_session_closes_with_its_last_clone() {
    let (server, reader) = reading(Timeouts::default(), |_| Reply::Body("fine".into())).await;
    let clone = reader.clone();
    drop(reader);
    assert!(clone.download("a.blob", MAX).await.unwrap().is_some());

    drop(clone);

    server.sessions_ended(1).await;
}

#[tokio::test]
async fn a_refused_reader_hints_at_the_role_it_needs() {
    let server = Server::start(|_| Reply::Status(400, "snapshot does not exist")).await;
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();

    let error = server.remote().reader(&"tank".parse().unwrap(), &Namespace::root(), &snapshot).await.unwrap_err();

    assert!(matches!(error, ClientError::Api { status: 400, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("DatastoreReader"));
}

#[tokio::test]
async fn a_server_that_does_not_switch_protocols_is_a_protocol_error() {
    let server = Server::start(|_| Reply::Body("hello".into())).await;
    let snapshot = "host/a/2025-11-20T00:53:20Z".parse().unwrap();

    let error = server.remote().reader(&"tank".parse().unwrap(), &Namespace::root(), &snapshot).await.unwrap_err();

    assert!(matches!(protocol_error(error), ProtocolError::NoUpgrade { status: 200 }));
}
