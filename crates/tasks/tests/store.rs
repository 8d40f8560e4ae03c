//! Logs, index and lists of tasks, as several processes see them.

#![expect(clippy::unwrap_used, reason = "a failure in a test's helper is a failed test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use config::Paths;
use formats::{AuthId, JobId, Upid};
use nix::mount::{MsFlags, mount, umount};
use tasks::{
    EndKind, Filter, Retention, RunRequest, TaskEnd, TaskEntry, TaskError, TaskStatus, TaskStore, new_upid, now,
    superuser,
};

struct Host {
    root: tempfile::TempDir,
    store: TaskStore,
}

fn host() -> Host {
    let root = tempfile::tempdir().unwrap();
    let store = TaskStore::new(&Paths::under_root(root.path()));
    Host { root, store }
}

impl Host {
    fn dir(&self) -> std::path::PathBuf {
        Paths::under_root(self.root.path()).tasks()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap_or_default()
    }

    fn list(&self, filter: &Filter) -> Vec<TaskEntry> {
        self.store.list(filter, &|_| true).unwrap()
    }

    /// What the process of a task leaves that was killed after writing `text`.
    fn killed(&self, id: &str, text: &str) -> Upid {
        let upid = task("syncjob", id);
        let path = self.store.log_path(&upid);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::write(self.dir().join("active"), format!("{}{upid}\n", self.file("active"))).unwrap();
        upid
    }
}

fn task(worker_type: &str, id: &str) -> Upid {
    new_upid(worker_type, Some(id.to_owned()), superuser())
}

fn ids(entries: &[TaskEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.upid.worker_id.as_deref().unwrap()).collect()
}

/// The lines of a log without their time.
fn texts(host: &Host, upid: &Upid) -> Vec<String> {
    let page = host.store.log_page(upid, 0, 0).unwrap();
    page.lines.into_iter().map(|(_, line)| line[27..].to_owned()).collect()
}

#[test]
fn a_task_is_in_active_while_it_runs_and_in_the_archive_afterwards() {
    let host = host();
    let upid = task("syncjob", "-:a:b::nightly");

    let log = host.store.start(upid.clone());
    log.info("one\ntwo");
    log.warn("look at this");
    assert_eq!(host.file("active"), format!("{upid}\n"));
    assert_eq!(host.store.status(&upid).unwrap(), Some(TaskStatus::Running));
    assert_eq!(host.list(&Filter::default()), [TaskEntry { upid: upid.clone(), end: None }]);
    assert_eq!(log.finish(TaskEnd::Ok), TaskEnd::Warnings(1));

    assert_eq!(host.file("active"), "");
    let [TaskEntry { end: Some((endtime, end)), .. }] = &host.list(&Filter::default())[..] else { panic!() };
    assert_eq!(host.file("archive"), format!("{upid} {endtime:08X} WARNINGS: 1\n"));
    assert_eq!(end, &TaskEnd::Warnings(1));
    let stopped = TaskStatus::Stopped { endtime: Some(*endtime), end: end.clone() };
    assert_eq!(host.store.status(&upid).unwrap(), Some(stopped));
    let low_byte = format!("{:02X}", upid.pstart & 0xFF);
    assert_eq!(host.store.log_path(&upid), host.dir().join(low_byte).join(upid.to_string()));
    assert_eq!(texts(&host, &upid), ["one", "two", "look at this", "TASK WARNINGS: 1"]);
    assert_eq!(host.store.status(&task("syncjob", "never")).unwrap(), None);
}

#[test]
fn a_task_that_is_dropped_has_failed() {
    let host = host();
    let upid = task("sync", "store");

    drop(host.store.start(upid.clone()));

    assert_eq!(texts(&host, &upid), ["TASK ERROR: the task broke off"]);
    assert_eq!(host.list(&Filter::default())[0].end.as_ref().unwrap().1.kind(), EndKind::Error);
}

#[test]
fn a_log_is_read_in_pages_and_never_in_torn_lines() {
    let host = host();
    let upid = task("sync", "store");
    let log = host.store.start(upid.clone());
    for number in 1..=5 {
        log.info(format!("line {number}"));
    }
    let page = |start, limit| {
        let page = host.store.log_page(&upid, start, limit).unwrap();
        (page.lines.iter().map(|(n, line)| (*n, line[27..].to_owned())).collect::<Vec<_>>(), page.total, page.active)
    };
    let line = |n: u64| (n, format!("line {n}"));

    assert_eq!(page(0, 2), (vec![line(1), line(2)], 5, true));
    assert_eq!(page(1, 2), page(0, 2));
    assert_eq!(page(4, 50), (vec![line(4), line(5)], 5, true));
    assert_eq!(page(6, 0), (vec![], 5, true));

    let path = host.store.log_path(&upid);
    fs::write(&path, format!("{}2026-01-02T03:04:05+00:00: half", fs::read_to_string(&path).unwrap())).unwrap();
    assert_eq!(page(0, 0).1, 5);
    log.finish(TaskEnd::Ok);
    assert!(!page(0, 0).2);
    assert!(matches!(host.store.log_page(&task("x", "y"), 0, 0), Err(TaskError::NoLog(_))));
}

#[test]
fn a_task_that_died_is_archived_with_what_its_log_says_and_never_runs() {
    let host = host();
    let living = host.store.start(task("syncjob", "living"));
    let silent = host.killed("silent", "");
    let talking = host.killed("talking", "2026-01-02T03:04:05+01:00: half way\n");
    let ended = host.killed("ended", "2026-01-02T03:04:05+01:00: TASK ERROR: no space\n");

    assert_eq!(host.store.running().unwrap(), [living.upid().clone()]);
    assert_eq!(ids(&host.list(&Filter::default())), ["living", "ended", "talking", "silent"]);

    assert_eq!(host.file("active"), format!("{}\n", living.upid()));
    let expected = format!(
        "{silent} {:08X} unknown\n{talking} {:08X} unknown\n{ended} {:08X} no space\n",
        silent.start_time, 1_767_319_445, 1_767_319_445
    );
    assert_eq!(host.file("archive"), expected);
    assert_eq!(host.store.reap().unwrap(), 0);
}

#[test]
fn a_task_that_is_archived_already_is_not_archived_twice() {
    let host = host();
    let upid = task("sync", "store");
    host.store.start(upid.clone()).finish(TaskEnd::Ok);
    fs::write(host.dir().join("active"), format!("{upid}\n")).unwrap();

    assert_eq!(host.store.reap().unwrap(), 1);

    assert_eq!(host.file("archive").lines().count(), 1);
    assert_eq!(host.file("active"), "");
}

#[test]
fn a_requested_run_waits_as_running_and_is_taken_over_without_a_gap() {
    let host = host();
    let job: JobId = "nightly".parse().unwrap();
    let auth_id: AuthId = "a@pbs!t".parse().unwrap();
    let upid = new_upid("syncjob", Some("-:a:b::nightly".to_owned()), auth_id.clone());
    let request = RunRequest { upid: upid.clone(), auth_id };

    host.store.request(&job, &request, "waiting for the scheduler").unwrap();
    assert!(matches!(host.store.request(&job, &request, "again"), Err(TaskError::Requested(_))));
    assert_eq!(host.store.reap().unwrap(), 0);
    assert_eq!(host.store.running().unwrap(), std::slice::from_ref(&upid));
    assert_eq!(host.store.status(&upid).unwrap(), Some(TaskStatus::Running));

    let (taken, log) = host.store.take_request(&job).unwrap().unwrap();
    assert_eq!(taken, request);
    assert!(host.store.take_request(&job).unwrap().is_none());
    assert!(matches!(host.store.adopt(upid.clone()), Err(TaskError::Running(_))));
    assert_eq!(host.store.running().unwrap(), std::slice::from_ref(&upid));
    log.info("here we go");
    log.finish(TaskEnd::Ok);

    assert_eq!(texts(&host, &upid), ["waiting for the scheduler", "here we go", "TASK OK"]);
    assert_eq!(host.list(&Filter::default()).len(), 1);
}

#[test]
fn a_request_can_be_taken_back_until_its_run_begins() {
    let host = host();
    let job: JobId = "nightly".parse().unwrap();
    let request = || RunRequest { upid: task("syncjob", "-:a:b::nightly"), auth_id: superuser() };
    let (first, second) = (request(), request());

    host.store.request(&job, &first, "waiting for the scheduler").unwrap();
    assert!(host.store.withdraw(&first.upid, "no longer wanted").unwrap());
    assert!(!host.store.withdraw(&first.upid, "no longer wanted").unwrap());
    assert_eq!(texts(&host, &first.upid), ["waiting for the scheduler", "TASK ERROR: no longer wanted"]);
    assert!(host.store.take_request(&job).unwrap().is_none());

    host.store.request(&job, &second, "waiting for the scheduler").unwrap();
    let (_, log) = host.store.take_request(&job).unwrap().unwrap();
    assert!(!host.store.withdraw(&second.upid, "too late").unwrap());
    assert_eq!(log.finish(TaskEnd::Ok), TaskEnd::Ok);
}

#[test]
fn lists_are_filtered_and_cut() {
    let host = host();
    let end = |worker_type: &str, id: &str, end: TaskEnd| host.store.start(task(worker_type, id)).finish(end);
    end("backup", "tank:host/a", TaskEnd::Ok);
    end("syncjob", "pbs2:away:tank:a/b:nightly", TaskEnd::Error("refused".to_owned()));
    end("verify", "other", TaskEnd::Warnings(3));
    end("reader", "other:vm/1/0", TaskEnd::Unknown);
    let running = host.store.start(task("sync", "tank"));
    let of = |filter: Filter| host.list(&filter).iter().map(|entry| entry.upid.worker_type.clone()).collect::<Vec<_>>();
    let all = Filter::default;

    assert_eq!(of(all()), ["sync", "reader", "verify", "syncjob", "backup"]);
    assert_eq!(of(Filter { running: true, ..all() }), ["sync"]);
    assert_eq!(of(Filter { errors: true, ..all() }), ["reader", "syncjob"]);
    assert_eq!(of(Filter { ends: vec![EndKind::Ok, EndKind::Warning], ..all() }), ["verify", "backup"]);
    assert_eq!(of(Filter { store: Some("tank".parse().unwrap()), ..all() }), ["sync", "syncjob", "backup"]);
    assert_eq!(of(Filter { worker_type: Some("sync".to_owned()), ..all() }), ["sync", "syncjob"]);
    assert_eq!(of(Filter { user: Some("root".to_owned()), ..all() }).len(), 5);
    assert_eq!(of(Filter { user: Some("alice".to_owned()), ..all() }).len(), 0);
    assert_eq!(of(Filter { since: Some(now() + 60), ..all() }).len(), 0);
    assert_eq!(of(Filter { until: Some(now() - 600), ..all() }).len(), 0);
    assert_eq!(of(Filter { start: 1, limit: 2, ..all() }), ["reader", "verify"]);
    let readers = host.store.list(&Filter { limit: 1, ..all() }, &|upid| upid.worker_type == "backup").unwrap();
    assert_eq!(ids(&readers), ["tank:host/a"]);
    drop(running);
}

#[test]
fn old_tasks_go_with_their_logs_but_the_last_ones_and_running_ones_stay() {
    let host = host();
    let old = now() - 100 * 24 * 60 * 60;
    let age = |path: &Path| {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(old).unwrap())).unwrap();
    };
    let finished: Vec<Upid> = (0..4).map(|number| task("sync", &format!("store{number}"))).collect();
    let mut archive = "what is this\n".to_owned();
    for upid in &finished {
        drop(host.store.start(upid.clone()));
        archive.push_str(&format!("{upid} {old:08X} OK\n"));
        age(&host.store.log_path(upid));
    }
    fs::write(host.dir().join("archive"), archive).unwrap();
    let running = host.store.start(task("sync", "running"));
    age(&host.store.log_path(running.upid()));
    let (lost, fresh) = (task("sync", "lost"), task("sync", "fresh"));
    for upid in [&lost, &fresh] {
        fs::write(host.store.log_path(upid), "").unwrap();
    }
    age(&host.store.log_path(&lost));

    assert_eq!(host.store.rotate(now(), Retention { days: 0, count: 0 }).unwrap(), 0);
    assert_eq!(host.store.rotate(now(), Retention { days: 200, count: 0 }).unwrap(), 0);
    assert_eq!(host.store.rotate(now(), Retention { days: 90, count: 2 }).unwrap(), 2);

    let has_log = |upid: &Upid| host.store.log_path(upid).exists();
    assert_eq!(finished.iter().map(has_log).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!((has_log(running.upid()), has_log(&lost), has_log(&fresh)), (true, false, true));
    assert_eq!(ids(&host.list(&Filter::default())), ["running", "store3", "store2"]);
    assert!(host.file("archive").starts_with("what is this\n"));
}

#[test]
fn a_long_archive_is_packed_and_still_listed_and_searched() {
    let host = host();
    let first = task("sync", "first");
    host.store.start(first.clone()).finish(TaskEnd::Ok);
    let line = host.file("archive");
    let many: String = (0..6_000)
        .map(|number| format!("{} {:08X} OK\n", task("backup", &format!("store:host/{number}")), now()))
        .collect();
    fs::write(host.dir().join("archive"), line + &many).unwrap();
    fs::remove_file(host.store.log_path(&first)).unwrap();

    host.store.rotate(now(), Retention { days: 90, count: 0 }).unwrap();
    host.store.start(task("sync", "last")).finish(TaskEnd::Ok);

    assert_eq!(host.file("archive").lines().count(), 1);
    assert!(host.dir().join("archive.1.zst").exists());
    let all = host.list(&Filter { worker_type: Some("sync".to_owned()), ..Filter::default() });
    assert_eq!(ids(&all), ["last", "first"]);
    assert!(matches!(host.store.status(&first).unwrap(), Some(TaskStatus::Stopped { end: TaskEnd::Ok, .. })));
}

#[test]
fn a_log_that_cannot_be_made_yet_is_made_later_and_says_what_is_missing() {
    let host = host();
    fs::create_dir_all(host.dir().parent().unwrap()).unwrap();
    fs::write(host.dir(), "in the way").unwrap();
    let upid = task("syncjob", "early");

    let log = host.store.start(upid.clone());
    log.info("lost");
    fs::remove_file(host.dir()).unwrap();
    log.info("kept");

    assert_eq!(host.store.running().unwrap(), std::slice::from_ref(&upid));
    log.finish(TaskEnd::Ok);
    let texts = texts(&host, &upid);
    assert!(texts[0].starts_with("1 lines of this log are lost: cannot "), "{texts:?}");
    assert_eq!(texts[1..], ["kept", "TASK OK"]);
}

#[test]
fn a_full_disk_costs_lines_but_not_the_task() {
    let host = host();
    fs::create_dir_all(host.dir()).unwrap();
    if let Err(error) = mount(Some("tmpfs"), &host.dir(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")) {
        eprintln!("NOT tested with a full disk: a small file system needs the superuser ({error})");
        return;
    }
    let mounted = Mounted(host.dir());
    let upid = task("syncjob", "full");
    let log = host.store.start(upid.clone());
    log.info("before");
    let ballast = host.dir().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}

    for number in 0..3 {
        log.info(format!("lost {number}\n{}", "x".repeat(20_000)));
    }
    fs::remove_file(&ballast).unwrap();
    drop(file);
    log.info("after");

    assert_eq!(log.finish(TaskEnd::Ok), TaskEnd::Ok);
    let texts = texts(&host, &upid);
    assert!(texts[1].starts_with("6 lines of this log are lost: cannot write "), "{texts:?}");
    assert_eq!([&texts[0], &texts[2], &texts[3]], ["before", "after", "TASK OK"]);
    assert_eq!(host.list(&Filter::default())[0].end.as_ref().unwrap().1, TaskEnd::Ok);
    drop(mounted);
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount(&self.0);
    }
}
