//! What the recording of the image of many chunks leaves out: the middle of its long sessions.
//!
//! The image has 161 chunks of 4 MiB: the first and every fourth are zero, the last is short, all others differ. Which
//! digests the left-out ones have nobody knows, so each gets one made of its position.

use std::collections::HashMap;

use formats::sha256;
use serde_json::{Value, json};

use crate::recording::{Answer, Body, Connection, Exchange, Recording};

const CHUNK: u64 = 4 << 20;
const CHUNKS: usize = 161;
/// Entries in one append while chunks are still being uploaded.
const APPEND: usize = 64;

pub(crate) fn fill(recording: &mut Recording) {
    if !recording.connections().any(|connection| connection.left_out > 0) {
        return;
    }
    let digests = digests(recording);
    for connection in recording.steps.iter_mut().flat_map(|step| &mut step.connections) {
        for exchange in &mut connection.exchanges {
            complete_lists(exchange, &digests);
        }
        if connection.left_out > 0 {
            fill_session(connection, &digests);
        }
    }
}

/// Returns the digest of every position.
fn digests(recording: &Recording) -> Vec<String> {
    let distinct: Vec<usize> = (0..CHUNKS).filter(|position| *position == 0 || !is_zero(*position)).collect();
    let mut known: HashMap<usize, String> = HashMap::new();
    // Every session moves the distinct chunks in the order of the image.
    for connection in recording.connections().filter(|connection| connection.left_out > 0) {
        let session: Vec<&Exchange> = connection.session().collect();
        let (before, behind) = session.split_at(gap(connection).0);
        let digests =
            |part: &[&Exchange]| -> Vec<String> { part.iter().filter_map(|one| one.param("digest")).collect() };
        let (before, behind) = (digests(before), digests(behind));
        known.extend(distinct[distinct.len() - behind.len()..].iter().copied().zip(behind));
        known.extend(distinct.iter().copied().zip(before));
    }
    for exchange in recording.connections().flat_map(Connection::session) {
        let Some(body) = exchange.body.as_ref().and_then(|body| body.json.as_ref()) else { continue };
        let (digests, offsets) = (list(body, "digest-list"), list(body, "offset-list"));
        for (digest, offset) in digests.iter().zip(offsets) {
            if let (Some(digest), Some(offset)) = (digest.as_str(), offset.as_u64()) {
                known.insert(usize::try_from(offset / CHUNK).expect("a position"), digest.to_owned());
            }
        }
    }
    let zero = known[&0].clone();
    let digest = |position: usize| match known.get(&position) {
        Some(digest) => digest.clone(),
        None if is_zero(position) => zero.clone(),
        None => hex::encode(sha256(format!("chunk {position} of many").as_bytes())),
    };
    (0..CHUNKS).map(digest).collect()
}

fn is_zero(position: usize) -> bool {
    position == 0 || position % 4 == 3
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Writes cut lists out: their last element says how many there are.
fn complete_lists(exchange: &mut Exchange, digests: &[String]) {
    let Some(body) = exchange.body.as_mut().and_then(|body| body.json.as_mut()) else { return };
    let Some(Value::String(note)) = list(body, "offset-list").last() else { return };
    let count: usize = note.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("`... N in all`");
    let first = list(body, "offset-list")[0].as_u64().expect("an offset");
    *body = append(digests, usize::try_from(first / CHUNK).expect("a position"), count, &body["wid"]);
}

fn append(digests: &[String], first: usize, count: usize, wid: &Value) -> Value {
    let positions = first..first + count;
    let offsets: Vec<u64> = positions.clone().map(|position| position as u64 * CHUNK).collect();
    json!({"digest-list": digests[positions], "offset-list": offsets, "wid": wid})
}

/// Returns how many exchanges of the session come before the gap, and when it begins and ends.
fn gap(connection: &Connection) -> (usize, f64, f64) {
    let session: Vec<&Exchange> = connection.session().collect();
    let numbers: Vec<u64> = session.iter().filter_map(|exchange| exchange.stream).collect();
    let at = numbers.windows(2).position(|pair| pair[1] > pair[0] + 2).expect("a gap") + 1;
    (at, session[at - 1].asked, session[at].asked)
}

fn fill_session(connection: &mut Connection, digests: &[String]) {
    let (at, begin, end) = gap(connection);
    let session: Vec<&Exchange> = connection.session().collect();
    let first_stream = session[at - 1].stream.expect("a stream") + 2;
    let sample = session[at - 1].clone();
    let asked: Vec<String> = session.iter().filter_map(|exchange| exchange.param("digest")).collect();
    let appended = session.iter().filter_map(|exchange| exchange.body.as_ref()?.json.as_ref());
    let appended: usize = appended.map(|body| list(body, "digest-list").len()).sum();

    let mut distinct: Vec<&String> = Vec::new();
    for digest in digests {
        if !distinct.contains(&digest) {
            distinct.push(digest);
        }
    }
    let missing: Vec<&String> = distinct.into_iter().filter(|digest| !asked.contains(digest)).collect();
    let appends = if sample.method == "POST" { (CHUNKS - appended) / APPEND } else { 0 };
    assert_eq!(missing.len() + appends, usize::try_from(connection.left_out).expect("a count"), "left-out requests");

    let step = (end - begin) / (connection.left_out + 1) as f64;
    let open = connection.most_open.saturating_sub(1).max(1) as f64;
    let (mut filled, mut appended) = (Vec::new(), 0);
    let mut done_at = HashMap::new();
    for number in 0..connection.left_out {
        let now = begin + step * (number + 1) as f64;
        // An append goes out as soon as its chunks are there.
        let ready = |appended: usize| {
            digests[appended * APPEND..(appended + 1) * APPEND]
                .iter()
                .all(|digest| asked.contains(digest) || done_at.get(digest).is_some_and(|done| *done <= now))
        };
        let uploads = filled.len() - appended;
        let mut exchange = sample.clone();
        exchange.recorded = false;
        exchange.stream = Some(first_stream + 2 * number);
        exchange.asked = now;
        if appended < appends && (uploads == missing.len() || ready(appended)) {
            exchange.answered = now + step / 2.0;
            into_append(&mut exchange, append(digests, appended * APPEND, APPEND, &wid(&sample)));
            appended += 1;
        } else {
            let digest = missing[uploads];
            // All are answered before the last appends go out.
            exchange.answered = (now + step * open * 0.8).min(end - 2.0 * step).max(now + step / 10.0);
            done_at.insert(digest.clone(), exchange.answered);
            into_chunk(&mut exchange, digest);
        }
        filled.push(exchange);
    }
    connection.exchanges.extend(filled);
    connection.sort();
}

fn wid(upload: &Exchange) -> Value {
    upload.param("wid").and_then(|wid| wid.parse::<u64>().ok()).map_or(Value::Null, Value::from)
}

/// Makes another upload or download of the sample, for another digest.
fn into_chunk(exchange: &mut Exchange, digest: &str) {
    let old = exchange.param("digest").expect("a chunk has a digest");
    exchange.target = exchange.target.replace(&old, digest);
    let answer = exchange.answer.as_mut().expect("a chunk has an answer");
    if answer.body.json.is_some() {
        answer.body.json = Some(json!({ "data": digest }));
    }
}

fn into_append(exchange: &mut Exchange, body: Value) {
    exchange.method = "PUT".to_owned();
    exchange.target = exchange.path().replace("_chunk", "_index");
    for (name, value) in &mut exchange.headers {
        if name == "content-type" {
            *value = "application/json".to_owned();
        }
    }
    exchange.body = Some(Body { length: body.to_string().len() as u64, json: Some(body), ..Body::default() });
    let answer: &mut Answer = exchange.answer.as_mut().expect("an upload has an answer");
    answer.body = Body { length: 13, json: Some(json!({ "data": null })), ..Body::default() };
}
