//! The sample files say what they promise in `tests/fixtures/README.md`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::Root;
use config::{Paths, Problem, datastores, remotes, sync_jobs, users};

fn fixtures(folder: &str) -> Vec<(String, String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cfg"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let kind = name.split_once('.').unwrap().1.to_owned();
            (name, kind, path)
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn place(paths: &Paths, kind: &str) -> PathBuf {
    match kind {
        "sync.cfg" => paths.sync_cfg(),
        "remote.cfg" => paths.remote_cfg(),
        "datastore.cfg" => paths.datastore_cfg(),
        "user.cfg" => paths.user_cfg(),
        other => panic!("no such file: {other}"),
    }
}

/// The ids that load, and the problems.
fn load(paths: &Paths, kind: &str) -> (Vec<String>, Vec<Problem>) {
    match kind {
        "sync.cfg" => {
            let loaded = sync_jobs::load(paths).unwrap();
            (loaded.entries.iter().map(|entry| entry.id.to_string()).collect(), loaded.problems)
        }
        "remote.cfg" => {
            let loaded = remotes::load(paths).unwrap();
            (loaded.entries.iter().map(|entry| entry.name.to_string()).collect(), loaded.problems)
        }
        "datastore.cfg" => {
            let loaded = datastores::load(paths).unwrap();
            (loaded.entries.iter().map(|entry| entry.name.to_string()).collect(), loaded.problems)
        }
        "user.cfg" => {
            let loaded = users::load(paths).unwrap();
            let ids = loaded.users.iter().map(|user| user.userid.to_string());
            (ids.chain(loaded.tokens.iter().map(|token| token.tokenid.to_string())).collect(), loaded.problems)
        }
        other => panic!("no such file: {other}"),
    }
}

/// Changes the comment of every entry to `comment`, or back to what it was when `None`.
fn set_comments(paths: &Paths, kind: &str, ids: &[String], comment: Option<&[Option<String>]>) -> Vec<Option<String>> {
    let mut before = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let mut new = |old: &mut Option<String>| {
            before.push(old.clone());
            *old = comment.map_or_else(|| Some("changed".to_owned()), |comments| comments[at].clone());
            Ok(())
        };
        match kind {
            "sync.cfg" => sync_jobs::update(paths, &common::n(id), None, |entry| new(&mut entry.comment)).map(|_| ()),
            "remote.cfg" => remotes::update(paths, &common::n(id), None, |entry| new(&mut entry.comment)),
            "datastore.cfg" => datastores::update(paths, &common::n(id), None, |entry| new(&mut entry.comment)),
            _ if id.contains('!') => users::update_token(paths, &common::n(id), None, |entry| new(&mut entry.comment)),
            _ => users::update(paths, &common::n(id), None, |entry| new(&mut entry.comment)),
        }
        .unwrap();
    }
    before
}

#[test]
fn valid_files_load_without_problems_and_survive_a_change_and_its_undoing_byte_for_byte() {
    for (name, kind, path) in fixtures("valid") {
        let bytes = fs::read(&path).unwrap();
        let root = Root::new().with(|paths| place(paths, &kind), &bytes);

        let (mut ids, problems) = load(&root.paths, &kind);
        assert_eq!(problems, [], "{name}");
        ids.retain(|id| id != "root@pam");

        let before = set_comments(&root.paths, &kind, &ids, None);
        if !ids.is_empty() {
            assert_ne!(fs::read(place(&root.paths, &kind)).unwrap(), bytes, "{name}");
        }
        set_comments(&root.paths, &kind, &ids, Some(&before));
        assert_eq!(String::from_utf8(fs::read(place(&root.paths, &kind)).unwrap()), String::from_utf8(bytes), "{name}");
    }
}

#[test]
fn invalid_files_say_line_and_reason_and_lose_nothing_but_the_broken_section() {
    for (name, kind, path) in fixtures("invalid") {
        let root = Root::new().with(|paths| place(paths, &kind), fs::read(&path).unwrap());

        let (ids, problems) = load(&root.paths, &kind);

        let mut said: String = problems
            .iter()
            .map(|problem| {
                assert_eq!(problem.path, place(&root.paths, &kind));
                format!("{}{} {}\n", problem.line, if problem.breaks_section { "!" } else { "" }, problem.reason)
            })
            .collect();
        said.push_str(&format!("usable: {}\n", ids.join(" ")));
        let expected = path.with_extension("cfg.expected");
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{name}");
    }
}
