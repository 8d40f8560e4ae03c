//! Our answers for the golden datastore, beside those a stock server gave.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use config::acl::Role;
use config::{DatastoreConfig, UserConfig};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use super::support::{TestServer, store_path};

/// Values that depend on host, time, build or earlier runs; of these only the type is compared.
const HOST_DEPENDENT: &[&str] = &["used", "avail", "release", "repoid", "ticket", "CSRFPreventionToken", "digest"];

/// Keys a stock server adds from records of its own, which are optional in the answer.
const OPTIONAL: &[&str] = &["history", "history-start", "history-delta", "cache-stats"];

/// Keys that only our server adds, and where: peers do not look at them.
const OURS: &[(&str, &str)] = &[("version", "backup-replicator")];

async fn golden_server() -> TestServer {
    let server = TestServer::start().await;
    let path = store_path(server.root.path(), "golden");
    golden::unpack(&path, golden::Dirs::Lazy).unwrap();
    config::datastores::create(&server.paths, &DatastoreConfig::new("golden".parse().unwrap(), path)).unwrap();
    let user = UserConfig::new("sync@pbs".parse().unwrap());
    config::users::create(&server.paths, &user, Some("Sync-Pass-123")).unwrap();
    jobs_and_tasks(&server);
    server
}

/// Makes the files of jobs and tasks that the recorded answers are about.
fn jobs_and_tasks(server: &TestServer) {
    let recorded = |name: &str| -> Value {
        exchanges().into_iter().find(|(found, _)| found == name).unwrap().1["json"]["data"].clone()
    };
    let mut configuration = String::new();
    for job in recorded("49-config-sync-all").as_array().unwrap() {
        configuration.push_str(&format!("sync: {}\n", job["id"].as_str().unwrap()));
        for (key, value) in job.as_object().unwrap().iter().filter(|(key, _)| *key != "id") {
            configuration.push_str(&format!("\t{key} {}\n", value.to_string().trim_matches('"')));
        }
        configuration.push('\n');
    }
    std::fs::write(server.paths.sync_cfg(), configuration).unwrap();

    std::fs::create_dir_all(server.paths.job_states()).unwrap();
    for job in recorded("50-admin-sync").as_array().unwrap() {
        let state = json!({ "finished": {
            "upid": job["last-run-upid"],
            "state": { "OK": { "endtime": job["last-run-endtime"] } },
            "updated": null,
        }});
        let file = format!("syncjob-{}.json", job["id"].as_str().unwrap());
        std::fs::write(server.paths.job_states().join(file), state.to_string()).unwrap();
    }

    let mut archive = String::new();
    for task in recorded("53-tasks").as_array().unwrap().iter().rev() {
        let text = |key: &str| task[key].as_str().unwrap();
        archive.push_str(&format!("{} {:08X} {}\n", text("upid"), task["endtime"].as_i64().unwrap(), text("status")));
    }
    let tasks = server.paths.tasks();
    // The host of the recordings has another name in paths than in answers.
    let upid = recorded("54-task-status")["upid"].as_str().unwrap().replace("UPID:pbs-a:", "UPID:vm:");
    let mut log: Vec<String> =
        recorded("55-task-log").as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap().to_owned()).collect();
    log.resize(23, "2026-11-20T10:34:28+00:00: more".to_owned());
    log.push("2026-11-20T10:34:28+00:00: TASK OK".to_owned());
    std::fs::create_dir_all(tasks.join("A3")).unwrap();
    std::fs::write(tasks.join("archive"), archive).unwrap();
    std::fs::write(tasks.join("A3").join(upid), log.join("\n") + "\n").unwrap();
}

fn exchanges() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rest");
    let mut exchanges: Vec<(String, Value)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect();
    exchanges.sort_by(|a, b| a.0.cmp(&b.0));
    exchanges
}

fn request(server: &TestServer, recorded: &Value) -> Request<Full<Bytes>> {
    let method: Method = recorded["method"].as_str().unwrap().parse().unwrap();
    let path = recorded["path"].as_str().unwrap();
    let params = recorded["params"].as_object().unwrap();
    let mut builder = Request::builder();
    match recorded["authorization"].as_str() {
        None => builder = builder.header(AUTHORIZATION, server.admin.authorization()),
        Some("invalid") => builder = builder.header(AUTHORIZATION, format!("{}x", server.admin.authorization())),
        Some(_) => {}
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if method == Method::POST {
        return builder
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(recorded["params"].to_string()))
            .unwrap();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in params {
        query.append_pair(key, &text(value));
    }
    builder.method(method).uri(format!("{path}?{}", query.finish())).body(Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_the_recorded_ones_of_a_stock_server() {
    let server = golden_server().await;
    let exchanges = exchanges();
    assert!(exchanges.len() >= 35, "fixtures are missing");
    let mut differences = Vec::new();
    // At once: the refusals take three seconds each.
    let answers = exchanges.iter().map(|(_, exchange)| server.send(request(&server, &exchange["request"])));
    let answers = futures_util::future::join_all(answers).await;
    for ((name, exchange), answer) in exchanges.iter().zip(&answers) {
        let mut differs = |what: String| differences.push(format!("{name}: {what}"));
        if u64::from(answer.status.as_u16()) != exchange["status"].as_u64().unwrap() {
            differs(format!("status {}: {}", answer.status, answer.text()));
            continue;
        }
        let content_type = answer.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
        if content_type != exchange["content-type"].as_str().unwrap() {
            differs(format!("content type {content_type:?}"));
        }
        match exchange.get("json") {
            Some(wanted) => compare(name, wanted, &answer.json(), &mut differs),
            None => {
                let text = answer.text();
                if text.len() < 8 || text.contains('\n') || text.starts_with('{') {
                    differs(format!("error text {text:?}"));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Compares fields and types everywhere, values where they do not depend on the host.
fn compare(path: &str, wanted: &Value, got: &Value, differs: &mut impl FnMut(String)) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let keys = |object: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                object.keys().filter(|key| !OPTIONAL.contains(&key.as_str())).cloned().collect()
            };
            // Realms differ from host to host, and so does their digest.
            let mut found = keys(got);
            found.retain(|key| !OURS.iter().any(|(call, ours)| path.contains(call) && key == ours));
            if !path.contains("domains") && keys(wanted) != found {
                differs(format!("{path}: keys {:?} instead of {:?}", keys(got), keys(wanted)));
            }
            for (key, wanted) in wanted {
                let Some(got) = got.get(key) else { continue };
                let at = format!("{path}.{key}");
                let size = key == "total" && path.contains("store");
                if size || HOST_DEPENDENT.contains(&key.as_str()) {
                    if kind(wanted) != kind(got) {
                        differs(format!("{at}: {} instead of {}", kind(got), kind(wanted)));
                    }
                } else {
                    compare(&at, wanted, got, differs);
                }
            }
        }
        (Value::Array(wanted), Value::Array(got)) => {
            let known = |list: &[Value]| -> Vec<Value> {
                // Other stores than the golden one belong to the host the recording was made on, but not in jobs.
                let mut list: Vec<Value> = list
                    .iter()
                    .filter(|item| item.get("id").is_some() || item.get("store").is_none_or(|store| store == "golden"))
                    .cloned()
                    .collect();
                if !path.ends_with("files") && !path.contains("19-") && !path.contains("20-") {
                    list.sort_by_key(identity);
                }
                list
            };
            let (mut wanted, mut got) = (known(wanted), known(got));
            if path.ends_with("files") && wanted.iter().all(Value::is_string) {
                // Names of a group's files come in the order of the directory.
                wanted.sort_by_key(Value::to_string);
                got.sort_by_key(Value::to_string);
            }
            if wanted.len() != got.len() {
                differs(format!("{path}: {} items instead of {}", got.len(), wanted.len()));
            }
            for (at, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
                compare(&format!("{path}[{at}]"), wanted, got, differs);
            }
        }
        _ if path.ends_with("message") => {
            assert_eq!(kind(wanted), kind(got), "{path}");
        }
        // The recordings give the host another name than it has in the files.
        (Value::String(_), Value::String(got)) if path.starts_with("54-") && path.ends_with(".node") && got == "vm" => {
        }
        (Value::String(wanted), Value::String(got)) if path.ends_with("upid") => {
            let without_node = |text: &str| text.splitn(3, ':').nth(2).map(str::to_owned);
            if without_node(wanted) != without_node(got) {
                differs(format!("{path}: {got} instead of {wanted}"));
            }
        }
        _ if wanted != got => differs(format!("{path}: {got} instead of {wanted}")),
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// What tells items of a list apart.
fn identity(item: &Value) -> String {
    let keys = ["store", "ns", "backup-type", "backup-id", "backup-time", "filename", "realm"];
    keys.iter().filter_map(|key| item.get(key)).map(|value| format!("{value:>24}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_snapshots_read_back_through_a_session() {
    let server = golden_server().await;
    let caller = server.caller("reader@pbs", "/datastore/golden", Role::DatastoreReader);
    for snapshot in golden::expected().unwrap() {
        let id: formats::SnapshotId = snapshot.snapshot.parse().unwrap();
        let target = format!(
            "reader?store=golden&ns={}&backup-type={}&backup-id={}&backup-time={}&debug=true",
            snapshot.ns,
            id.group.backup_type,
            id.group.id,
            id.time.unix()
        );
        let session = server.session(&caller, &target, api_types::protocol::READER_PROTOCOL).await.unwrap();
        for file in &snapshot.files {
            let answer = session.get(&format!("download?file-name={}", file.name)).await;
            let stored = store_path(server.root.path(), "golden").join(snapshot.dir_path()).join(&file.name);
            assert_eq!(answer.status, 200, "{} {}", snapshot.snapshot, file.name);
            assert_eq!(answer.body, std::fs::read(stored).unwrap(), "{} {}", snapshot.snapshot, file.name);
            let name: formats::ArchiveName = file.name.parse().unwrap();
            if name.kind() == formats::ArchiveKind::Blob {
                continue;
            }
            let index = formats::Index::parse(name.kind(), answer.body).unwrap();
            for entry in index.entries() {
                let chunk = session.get(&format!("chunk?digest={}", entry.digest)).await;
                assert_eq!(chunk.status, 200);
                let blob = formats::DataBlob::parse(chunk.body).unwrap();
                blob.verify_chunk(&entry.digest, entry.len(), None).unwrap();
            }
        }
    }
}
