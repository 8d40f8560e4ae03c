//! What a writer may name without sending it, and what it learns by asking.

use api_types::protocol::MAX_KNOWN_CHUNKS;
use bytes::Bytes;
use config::acl::{AclAction, AclChange, Role};
use datastore::fixtures::noise;
use formats::{
    ArchiveName, AuthId, ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Manifest, Namespace, SnapshotId,
    VerifyResult, VerifyState,
};
use http::Method;
use serde_json::{Value, json};

use super::sessions::{chunk, dynamic, upload_blob};
use super::support::{Answer, Caller, STORE, Session, TestServer, until};

fn snapshot(group: &str, time: i64) -> String {
    let (kind, id) = group.split_once('/').unwrap();
    format!("backup-type={kind}&backup-id={id}&backup-time={time}")
}

const T: i64 = 1_700_000_000;

fn id(group: &str, time: i64) -> SnapshotId {
    SnapshotId { group: group.parse().unwrap(), time: formats::BackupTime::from_unix(time).unwrap() }
}

async fn writer(server: &TestServer, caller: &Caller, group: &str, time: i64) -> Session {
    let mut opened = None;
    // A session that was dropped a moment ago may still be giving its group back.
    until("the group is free", async || match server.writer_as(caller, &snapshot(group, time)).await {
        Ok(session) => opened.replace(session).is_none(),
        Err(refused) if refused.text().contains("locked by another") => false,
        Err(refused) => panic!("{}", refused.text()),
    })
    .await;
    opened.unwrap()
}

/// Finishes a session as the snapshot it is.
async fn finish(session: &Session, id: SnapshotId, files: Vec<FileInfo>) {
    let mut manifest = Manifest::new(id);
    files.into_iter().for_each(|file| manifest.add(file).unwrap());
    upload_blob(session, "index.json.blob", manifest.to_blob().unwrap().into_bytes()).await;
    session.post("finish").await.data();
}

/// Stores a snapshot of these chunks.
async fn back_up(server: &TestServer, caller: &Caller, group: &str, time: i64, chunks: &[&[u8]]) {
    let session = writer(server, caller, group, time).await;
    let file = dynamic(&session, "root.pxar.didx", chunks, false).await;
    finish(&session, id(group, time), vec![file]).await;
}

async fn ask(session: &Session, digests: &[ChunkDigest]) -> Answer {
    let list: Vec<String> = digests.iter().map(ToString::to_string).collect();
    let body = json!({ "digest-list": list }).to_string();
    session.send(Method::POST, "known_chunks", "application/json", Bytes::from(body)).await
}

async fn known(session: &Session, chunks: &[&[u8]]) -> Vec<Option<u64>> {
    let digests: Vec<ChunkDigest> = chunks.iter().map(|plain| ChunkDigest::of(plain)).collect();
    serde_json::from_value(ask(session, &digests).await.data()).unwrap()
}

async fn append(session: &Session, chunks: &[&[u8]]) -> Answer {
    let wid: Value = session.post("dynamic_index?archive-name=probe.didx").await.data();
    let mut offset = 0;
    let (mut digests, mut offsets) = (Vec::new(), Vec::new());
    for plain in chunks {
        digests.push(ChunkDigest::of(plain).to_string());
        offsets.push(offset);
        offset += plain.len();
    }
    let body = json!({ "wid": wid, "digest-list": digests, "offset-list": offsets });
    session.put_json("dynamic_index", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_own_snapshots_in_other_groups_need_not_be_sent() {
    let server = TestServer::start().await;
    let caller = server.caller("a@pbs", "/datastore", Role::DatastoreBackup);
    back_up(&server, &caller, "host/a", T, &[b"one", b"three"]).await;

    let session = writer(&server, &caller, "host/b", T).await;
    assert_eq!(append(&session, &[b"one"]).await.status, 400, "not asked for yet");
    drop(session);
    let session = writer(&server, &caller, "host/b", T).await;
    assert_eq!(known(&session, &[b"one", b"two", b"three", b"one"]).await, [Some(3), None, Some(5), Some(3)]);
    let file = dynamic(&session, "root.pxar.didx", &[b"three", b"one"], true).await;
    finish(&session, id("host/b", T), vec![file]).await;

    let store = server.store(STORE);
    let index = store.index(&Namespace::root(), &id("host/b", T), &"root.pxar.didx".parse().unwrap()).unwrap();
    assert_eq!((index.len(), index.size()), (2, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_chunks_are_neither_known_nor_told() {
    let server = TestServer::start().await;
    let owner = server.caller("a@pbs", "/datastore", Role::DatastoreBackup);
    let other = server.caller("b@pbs", "/datastore", Role::DatastoreBackup);
    back_up(&server, &owner, "host/a", T, &[b"secret"]).await;
    // Also while the owner's session is open, and for the owner's own user, who is somebody else than the token.
    let open = writer(&server, &owner, "host/open", T).await;
    open.post("dynamic_index?archive-name=x.didx").await.data();
    chunk(&open, "dynamic", 1, b"secret too").await;

    let session = writer(&server, &other, "host/b", T).await;
    let foreign = ask(&session, &[ChunkDigest::of(b"secret"), ChunkDigest::of(b"secret too")]).await;
    let absent = ask(&session, &[ChunkDigest::of(b"never"), ChunkDigest::of(b"stored")]).await;
    assert_eq!(foreign.text(), absent.text());
    assert_eq!(foreign.data(), json!([null, null]));
    for plain in [&b"secret"[..], b"secret too"] {
        let refused = append(&session, &[plain]).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    // Asking is not using: the owner's chunks are as untouched as before.
    let atime = |plain: &[u8]| {
        use std::os::unix::fs::MetadataExt;
        let digest = ChunkDigest::of(plain);
        let path = server.store(STORE).path().join(".chunks").join(digest.dir_name()).join(digest.to_string());
        let meta = std::fs::metadata(path).unwrap();
        (meta.atime(), meta.atime_nsec())
    };
    let before = atime(b"secret");
    ask(&session, &[ChunkDigest::of(b"secret")]).await.data();
    assert_eq!(atime(b"secret"), before);
    // Who may read everything may name it.
    let reader = server.caller("c@pbs", "/datastore", Role::DatastoreAdmin);
    let session = writer(&server, &reader, "host/c", T).await;
    assert_eq!(known(&session, &[b"secret", b"secret too"]).await, [Some(6), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_on_one_namespace_say_nothing_about_another() {
    let server = TestServer::start().await;
    for ns in ["mine", "theirs"] {
        server.store(STORE).create_namespace(&Namespace::root(), ns).unwrap();
    }
    let admin = server.admin.clone();
    let session = writer_in(&server, &admin, "theirs", "host/a").await;
    let file = dynamic(&session, "root.pxar.didx", &[b"theirs"], false).await;
    finish(&session, id("host/a", T), vec![file]).await;
    let caller = server.caller("a@pbs", &format!("/datastore/{STORE}/mine"), Role::DatastoreAdmin);

    let session = writer_in(&server, &caller, "mine", "host/a").await;
    assert_eq!(known(&session, &[b"theirs"]).await, [None]);
    assert_eq!(append(&session, &[b"theirs"]).await.status, 400);
    drop(session);
    let session = writer_in(&server, &admin, "mine", "host/b").await;
    assert_eq!(known(&session, &[b"theirs"]).await, [Some(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_right_a_changed_owner_and_a_removed_snapshot_end_it() {
    let server = TestServer::start().await;
    let (admin, root) = (server.admin.clone(), Namespace::root());
    let all: [&[u8]; 3] = [b"one", b"two", b"three"];
    for (group, chunk) in ["host/a", "host/b", "host/c"].into_iter().zip(all) {
        back_up(&server, &admin, group, T, &[chunk]).await;
    }
    let reader = server.caller("r@pbs", "/datastore", Role::DatastoreReader);
    let identities = [reader.id.clone(), AuthId::from(reader.id.user().clone())];
    for id in &identities {
        change_role(&server, id, Role::DatastoreBackup, AclAction::Grant { propagate: true });
    }
    let asked = async || {
        let session = writer(&server, &reader, "host/r", T).await;
        let answer = known(&session, &all).await;
        for (chunk, _) in all.iter().zip(&answer).filter(|(_, length)| length.is_none()) {
            assert_eq!(append(&session, &[chunk]).await.status, 400);
        }
        answer
    };
    let owned_by = |owner: &AuthId| server.store(STORE).set_owner(&root, &"host/c".parse().unwrap(), owner).unwrap();

    assert_eq!(asked().await, [Some(3), Some(3), Some(5)]);
    server.store(STORE).remove_snapshot(&root, &id("host/b", T), false).unwrap();
    assert_eq!(asked().await, [Some(3), None, Some(5)]);
    for id in &identities {
        change_role(&server, id, Role::DatastoreReader, AclAction::Revoke);
    }
    assert_eq!(asked().await, [None, None, None]);
    owned_by(&reader.id);
    assert_eq!(asked().await, [None, None, Some(5)]);
    // What is its user's, or a sibling's, is not the token's.
    for other in [AuthId::from(reader.id.user().clone()), "r@pbs!t2".parse().unwrap(), admin.id.clone()] {
        owned_by(&other);
        assert_eq!(asked().await, [None, None, None], "{other}");
    }
}

fn change_role(server: &TestServer, id: &AuthId, role: Role, action: AclAction) {
    let change = AclChange { path: "/datastore".parse().unwrap(), auth_id: id.clone(), role, action };
    config::acl::update(&server.paths, &change, None).unwrap();
}

/// Uploads an encrypted chunk under any name: nobody here can check that.
async fn upload_as(session: &Session, digest: ChunkDigest, encoded: Bytes, size: usize) -> Answer {
    let path = format!("dynamic_chunk?digest={digest}&encoded-size={}&size={size}&wid=1", encoded.len());
    session.upload(&path, encoded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_chunk_is_got_at_by_sending_another_one_under_its_name() {
    let server = TestServer::start().await;
    let (victim, other) = (server.admin.clone(), server.caller("b@pbs", "/datastore", Role::DatastoreBackup));
    let secret = noise(1, 64);
    let digest = ChunkDigest::of(&secret);
    back_up(&server, &victim, "host/a", T, &[&secret]).await;
    let key = CryptKey::from_bytes([1; 32]);
    let garbage = |len: usize| DataBlob::encode(&vec![0; len], false, Some(&key)).unwrap().into_bytes();
    let stored = server.store(STORE).chunks().stored_len(&digest).await.unwrap().unwrap();
    let same_length = usize::try_from(stored).unwrap().saturating_sub(44);

    let session = writer(&server, &other, "host/b", T).await;
    session.post("dynamic_index?archive-name=x.didx").await.data();
    for len in [same_length, 1] {
        let refused = upload_as(&session, digest, garbage(len), len).await;
        assert!(refused.status != 200, "{}", refused.text());
    }
    assert_eq!(append(&session, &[&secret]).await.status, 400);

    // An encrypted chunk that was there already is named in this session, and remembered for no other.
    let hidden = key.digest(b"hidden");
    let sent = writer(&server, &victim, "host/e", T).await;
    sent.post("dynamic_index?archive-name=x.didx").await.data();
    let encrypted = DataBlob::encode(b"hidden", false, Some(&key)).unwrap().into_bytes();
    assert_eq!(upload_as(&sent, hidden, encrypted, 6).await.status, 200);
    assert_eq!(upload_as(&session, hidden, garbage(6), 6).await.status, 200);
    let next = writer(&server, &other, "host/c", T).await;
    assert_eq!(ask(&next, &[hidden]).await.data(), json!([null]));
    let next = writer(&server, &victim, "host/f", T).await;
    assert_eq!(ask(&next, &[hidden]).await.data(), json!([6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_under_a_foreign_name_makes_room_for_the_chunk_of_that_name() {
    let server = TestServer::start().await;
    let (victim, other) = (server.admin.clone(), server.caller("b@pbs", "/datastore", Role::DatastoreBackup));
    let key = CryptKey::from_bytes([1; 32]);
    let session = writer(&server, &other, "host/b", T).await;
    session.post("dynamic_index?archive-name=x.didx").await.data();
    let digest = ChunkDigest::of(b"known to all");
    let garbage = DataBlob::encode(b"x", false, Some(&key)).unwrap().into_bytes();
    assert_eq!(upload_as(&session, digest, garbage, 1).await.status, 200);

    back_up(&server, &victim, "host/a", T, &[b"known to all"]).await;

    let stored = server.store(STORE).chunks().read(&digest).await.unwrap();
    assert_eq!(stored.decode(None, 100).unwrap(), b"known to all");
}

async fn writer_in(server: &TestServer, caller: &Caller, ns: &str, group: &str) -> Session {
    let opened = server.writer_as(caller, &format!("ns={ns}&{}", snapshot(group, T))).await;
    opened.unwrap_or_else(|refused| panic!("{}", refused.text()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_identity_sent_in_another_session_is_known_at_once_and_after_it_broke_off() {
    let server = TestServer::start().await;
    let admin = server.admin.clone();
    let first = writer(&server, &admin, "host/a", T).await;
    first.post("dynamic_index?archive-name=x.didx").await.data();
    chunk(&first, "dynamic", 1, b"sent").await;

    let second = writer(&server, &admin, "host/b", T).await;
    assert_eq!(known(&second, &[b"sent"]).await, [Some(4)]);
    drop(first);
    drop(second);
    let third = writer(&server, &admin, "host/c", T).await;
    assert_eq!(known(&third, &[b"sent"]).await, [Some(4)]);
    assert_eq!(append(&third, &[b"sent"]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_file_is_gone_or_empty_must_be_sent() {
    let server = TestServer::start().await;
    let admin = server.admin.clone();
    back_up(&server, &admin, "host/a", T, &[b"good", b"gone", b"empty"]).await;
    let path = |plain: &[u8]| {
        let digest = ChunkDigest::of(plain);
        server.store(STORE).path().join(".chunks").join(digest.dir_name()).join(digest.to_string())
    };
    std::fs::remove_file(path(b"gone")).unwrap();
    std::fs::write(path(b"empty"), b"").unwrap();

    let session = writer(&server, &admin, "host/b", T).await;
    assert_eq!(known(&session, &[b"good", b"gone", b"empty"]).await, [Some(4), None, None]);
    assert_eq!(append(&session, &[b"good"]).await.status, 200);
    assert_eq!(append(&session, &[b"gone"]).await.status, 400);
    // Also in the group itself, whose previous index names it.
    drop(session);
    let session = writer(&server, &admin, "host/a", T + 1).await;
    assert_eq!(session.get("previous?archive-name=root.pxar.didx").await.status, 200);
    assert_eq!(known(&session, &[b"good", b"gone"]).await, [Some(4), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_failed_its_verification_vouches_for_nothing() {
    let server = TestServer::start().await;
    let owner = server.caller("a@pbs", "/datastore", Role::DatastoreBackup);
    back_up(&server, &owner, "host/a", T, &[b"bad"]).await;
    let upid = "UPID:n:00000001:00000001:00000001:65500000:verify::root@pam:".parse().unwrap();
    let failed = VerifyState { state: VerifyResult::Failed, upid };
    let store = server.store(STORE);
    let change = |manifest: &mut Manifest| {
        manifest.set_verify_state(&failed);
        Ok(())
    };
    store.update_manifest(&Namespace::root(), &id("host/a", T), change).unwrap();

    let reader = server.admin.clone();
    let session = writer(&server, &reader, "host/b", T).await;
    assert_eq!(known(&session, &[b"bad"]).await, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_became_known_is_marked_as_used_and_outlives_its_snapshot() {
    use std::os::unix::fs::MetadataExt;

    let server = TestServer::start().await;
    let admin = server.admin.clone();
    back_up(&server, &admin, "host/a", T, &[b"old"]).await;
    let digest = ChunkDigest::of(b"old");
    let path = server.store(STORE).path().join(".chunks").join(digest.dir_name()).join(digest.to_string());
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let times = std::fs::FileTimes::new().set_accessed(long_ago);
    std::fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();

    let session = writer(&server, &admin, "host/b", T).await;
    assert_eq!(known(&session, &[b"old"]).await, [Some(3)]);
    assert!(std::fs::metadata(&path).unwrap().atime() > 1_600_000_000);
    server.store(STORE).remove_group(&Namespace::root(), &"host/a".parse().unwrap()).unwrap();
    assert_eq!(known(&session, &[b"old"]).await, [Some(3)]);
    let file = dynamic(&session, "root.pxar.didx", &[b"old"], true).await;
    finish(&session, id("host/b", T), vec![file]).await;
    let name: ArchiveName = "root.pxar.didx".parse().unwrap();
    assert_eq!(server.store(STORE).index(&Namespace::root(), &id("host/b", T), &name).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_limited_and_only_answered_while_the_session_writes() {
    let server = TestServer::start().await;
    let admin = server.admin.clone();
    let session = writer(&server, &admin, "host/a", T).await;
    let many = vec![ChunkDigest::of(b"x"); MAX_KNOWN_CHUNKS];
    assert_eq!(ask(&session, &many).await.data().as_array().unwrap().len(), MAX_KNOWN_CHUNKS);
    assert_eq!(ask(&session, &[&many[..], &many[..1]].concat()).await.status, 400);
    assert_eq!(ask(&session, &[]).await.data(), json!([]));
    let bad = json!({ "digest-list": ["zz"] }).to_string();
    let refused = session.send(Method::POST, "known_chunks", "application/json", bad.into()).await;
    assert_eq!(refused.status, 400);

    let file = dynamic(&session, "root.pxar.didx", &[b"x"], false).await;
    assert_eq!(file.crypt_mode, CryptMode::None);
    finish(&session, id("host/a", T), vec![file]).await;
    assert_eq!(ask(&session, &many[..1]).await.status, 400);
}
