//! A dry run says what the run after it does, and does nothing itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::site::{Server, Site, count, noise};

const T: i64 = 1_700_000_000;

/// What a dry run and the run after it must agree on.
const COUNTERS: [&str; 6] = [
    "snapshots-copied",
    "snapshots-refreshed",
    "snapshots-skipped",
    "snapshots-removed",
    "chunks-transferred",
    "chunks-reused",
];

#[track_caller]
fn assert_as_announced(announced: &Value, done: &Value) {
    assert_eq!(announced["dry-run"], true);
    for key in COUNTERS.into_iter().chain(["result"]) {
        assert_eq!(announced[key], done[key], "{key}\n{announced:#}\n{done:#}");
    }
    let (bytes, moved) = (count(announced, "bytes-transferred"), count(done, "bytes-transferred"));
    match announced["bytes-exact"].as_bool() {
        Some(true) => assert_eq!(bytes, moved),
        _ => assert!(bytes >= moved && bytes < moved + moved / 10 + 65536, "{bytes} announced, {moved} moved"),
    }
}

/// Everything in a datastore but empty chunk directories: directories too.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if entry.file_type().expect("a type").is_dir() {
                dirs.push(path.clone());
                found.insert(path, None);
            } else {
                let bytes = fs::read(&path).expect("a file");
                found.insert(path, Some(bytes));
            }
        }
    }
    found
}

/// Runs `words --dry-run`, asserts that nothing below `root` changed, then runs `words`, and compares.
#[track_caller]
fn announce_and_run(site: &Site, words: &str, root: &Path) -> Value {
    let before = tree(root);
    let announced = site.words(&format!("{words} --dry-run")).well().json();
    assert!(tree(root) == before, "a dry run of `{words}` changed something");
    let done = site.words(words).well().json();
    assert_as_announced(&announced, &done);
    announced
}

/// A site with stores `near` and `copy`, and two groups in `near` that share half of their data.
fn two_groups() -> (Site, PathBuf) {
    let site = Site::new();
    site.datastore("near");
    let b = site.datastore("copy");
    let shared = noise(1, 8 << 20);
    site.back_up("near", "vm/100", T, "drive", &[shared.as_slice(), &noise(2, 8 << 20)].concat());
    site.back_up("near", "vm/200", T, "drive", &[shared.as_slice(), &noise(3, 8 << 20)].concat());
    (site, b)
}

#[test]
fn a_job_between_two_datastores_does_what_its_dry_run_announced() {
    let (site, b) = two_groups();
    site.run(["sync-job", "create", "job", "--store", "copy", "--remote-store", "near", "--remove-vanished"]).well();

    let first = announce_and_run(&site, "sync-job run job", &b);
    site.run(["snapshot", "forget", "near", "vm/200/2023-11-14T22:13:20Z"]).well();
    site.back_up("near", "vm/100", T + 100, "drive", &noise(4, 4 << 20));
    let text = site.run(["sync-job", "run", "job", "--dry-run"]).well();
    let second = announce_and_run(&site, "sync-job run job", &b);

    assert_eq!((count(&first, "chunks-transferred"), count(&first, "chunks-reused")), (6, 2));
    assert_eq!((count(&first, "logical-bytes-transferred"), &first["bytes-exact"]), (24 << 20, &Value::Bool(true)));
    assert_eq!((count(&second, "chunks-transferred"), count(&second, "snapshots-copied")), (1, 1));
    let group = &second["plan"]["namespaces"][0]["groups"][0];
    assert_eq!(group["group"], "vm/100");
    assert_eq!(group["snapshots"][0]["outcome"], "unchanged", "{group:#}");
    assert_eq!(group["snapshots"][1]["action"], "copy");
    assert!(text.out.contains("nothing was changed") && text.out.contains("not yet at the target"), "{text:#?}");
    let vanished = &second["plan"]["namespaces"][0]["vanished-groups"][0];
    assert_eq!((&vanished["group"], &vanished["action"]), (&"vm/200".into(), &"remove".into()), "{second:#}");
}

/// A site known to another one as remote `peer`.
fn served(site: &Site, by: &Site) -> Server {
    let secret = site.token("sync", "Admin", "/datastore");
    let server = site.serve();
    by.remote("peer", server.address, "sync@pbs!run", &secret, &site.fingerprint());
    server
}

#[test]
fn a_pull_and_a_push_do_what_their_dry_runs_announced() {
    let (source, _) = two_groups();
    let (target, other) = (Site::new(), Site::new());
    let dst = target.datastore("dst");
    let far = other.datastore("far");
    let _source_server = served(&source, &target);

    let pulled = announce_and_run(&target, "pull peer near dst", &dst);
    let _other_server = served(&other, &source);
    let pushed = announce_and_run(&source, "push near peer far", &far);

    assert_eq!((count(&pulled, "chunks-transferred"), &pulled["bytes-exact"]), (6, &Value::Bool(false)));
    assert_eq!((count(&pushed, "chunks-transferred"), &pushed["bytes-exact"]), (6, &Value::Bool(true)));
}

#[test]
fn a_dry_run_ends_with_the_exit_code_of_a_run() {
    let site = Site::new();
    site.datastore("near");
    site.datastore("copy");
    site.run(["sync-job", "create", "job", "--store", "copy", "--remote-store", "near"]).well();

    let empty = site.words("sync-job run job --dry-run").ended(3).json();
    site.run(["sync-job", "create", "lost", "--store", "copy", "--remote-store", "nowhere"]).well();
    let broken = site.words("sync-job run lost --dry-run").ended(1).json();

    assert_eq!((&empty["result"], empty["warnings"].as_array().map(Vec::len)), (&"warnings".into(), Some(1)));
    assert_eq!((&broken["result"], broken["errors"].as_array().map(Vec::len)), (&"error".into(), Some(1)));
}
