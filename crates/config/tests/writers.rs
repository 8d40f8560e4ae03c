//! Several writers at once lose nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{env, path::Path, process::Command, thread};

use common::{Root, n};
use config::{Paths, SyncJobConfig, sync_jobs};

const ROOT_VARIABLE: &str = "CONFIG_TEST_WRITER_ROOT";
const NAME_VARIABLE: &str = "CONFIG_TEST_WRITER_NAME";
const EACH: usize = 25;

fn write_many(paths: &Paths, name: &str) {
    for number in 0..EACH {
        let job = SyncJobConfig::new(n(&format!("{name}-{number}")), n("archive"), None, n("main"));
        sync_jobs::create(paths, &job).unwrap();
    }
}

#[test]
fn threads_that_write_at_once_lose_nothing() {
    let root = Root::new();

    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let paths = &root.paths;
            scope.spawn(move || write_many(paths, name));
        }
    });

    let loaded = sync_jobs::load(&root.paths).unwrap();
    assert_eq!((loaded.entries.len(), loaded.problems), (3 * EACH, vec![]));
}

/// Does nothing, unless it is the child of the test below.
#[test]
fn writer_process() {
    if let (Ok(root), Ok(name)) = (env::var(ROOT_VARIABLE), env::var(NAME_VARIABLE)) {
        write_many(&Paths::under_root(Path::new(&root)), &name);
    }
}

#[test]
fn processes_that_write_at_once_lose_nothing_and_readers_always_see_a_whole_file() {
    let root = Root::new();
    let mut children: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|name| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "writer_process", "--quiet"])
                .env(ROOT_VARIABLE, root.dir.path())
                .env(NAME_VARIABLE, name)
                .spawn()
                .unwrap()
        })
        .collect();

    let mut seen = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let loaded = sync_jobs::load(&root.paths).unwrap();
        assert_eq!(loaded.problems, []);
        assert!(loaded.entries.len() >= seen, "entries vanished");
        seen = loaded.entries.len();
    }

    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sync_jobs::load(&root.paths).unwrap().entries.len(), 2 * EACH);
}

#[test]
fn a_killed_writer_leaves_a_whole_file_and_the_next_one_no_trace_of_it() {
    let root = Root::new();
    for round in 1..=5 {
        let before = sync_jobs::load(&root.paths).unwrap().entries.len();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--quiet"])
            .env(ROOT_VARIABLE, root.dir.path())
            .env(NAME_VARIABLE, format!("round{round}"))
            .spawn()
            .unwrap();
        // Killed in the middle of its work, wherever that is.
        while sync_jobs::load(&root.paths).unwrap().entries.len() < before + 2 && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!(sync_jobs::load(&root.paths).unwrap().problems, []);
    }

    let last = SyncJobConfig::new(n("last"), n("archive"), None, n("main"));
    sync_jobs::create(&root.paths, &last).unwrap();

    let mut names: Vec<_> = std::fs::read_dir(root.paths.etc())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".sync.lck", "sync.cfg"]);
    assert!(sync_jobs::load(&root.paths).unwrap().find("last").is_some());
}
