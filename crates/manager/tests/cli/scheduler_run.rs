//! `scheduler run` with real jobs: each a process that copies between two datastores.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use jobs::{JobLock, JobState, JobStates};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tasks::{RunRequest, TaskEnd, TaskStatus, TaskStore};

use crate::host::Host;

const TIME: &str = "2026-01-01T00:00:00Z";

/// A host with a backup in `source` and empty stores for the jobs; a job copies into the store of its own name.
fn host_with(jobs: &[(&str, &[&str])]) -> Host {
    let stores: Vec<&str> = std::iter::once("source").chain(jobs.iter().map(|(id, _)| *id)).collect();
    let host = Host::with_stores(&stores);
    host.backup("source", "", TIME, b"worth keeping");
    for (id, options) in jobs {
        host.ok(&[&["sync-job", "create", id, "--store", id, "--remote-store", "source"], *options].concat());
        // Made long ago, so that whatever has an event is due.
        JobStates::new(&host.paths()).save(&id.parse().unwrap(), &JobState::Created { time: 1 }).unwrap();
    }
    host
}

fn state(host: &Host, id: &str) -> Option<JobState> {
    JobStates::new(&host.paths()).load(&id.parse().unwrap()).unwrap()
}

fn ended_well(host: &Host, id: &str) -> bool {
    matches!(state(host, id), Some(JobState::Finished { state, .. }) if state.is_good())
}

/// When the last run of a job began.
fn last_start(host: &Host, id: &str) -> i64 {
    state(host, id).and_then(|state| state.reference()).unwrap_or(0)
}

/// Waits until something is so.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "in two minutes not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running scheduler, ended when dropped.
struct Scheduler {
    child: Child,
    said: PathBuf,
}

impl Scheduler {
    fn start(host: &Host) -> Self {
        let said = host.path("said");
        let mut command = host.command(&["scheduler", "run"]);
        command.stdout(Stdio::null()).stderr(File::create(&said).unwrap());
        Self { child: command.spawn().unwrap(), said }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn terminate(&mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn jobs_that_are_due_at_once_run_side_by_side() {
    let host = host_with(&[("left", &["--schedule", "daily"]), ("right", &["--schedule", "daily"])]);
    // Each begins only when the other has.
    for (own, other) in [("left", "right"), ("right", "left")] {
        let meet = format!(
            "touch {}; until test -e {}; do sleep 0.05; done",
            host.path(format!("{own}-is-here")).display(),
            host.path(format!("{other}-is-here")).display()
        );
        host.ok(&["sync-job", "update", own, "--pre-script", &meet, "--script-timeout", "1min"]);
    }

    let _scheduler = Scheduler::start(&host);

    until("both jobs end well", || ended_well(&host, "left") && ended_well(&host, "right"));
    assert_eq!(host.snapshots("left", "").len(), 1);
    assert_eq!(host.snapshots("right", "").len(), 1);
}

#[test]
fn an_edit_counts_with_the_next_tick_and_a_broken_section_holds_up_nobody() {
    let host = host_with(&[("steady", &["--schedule", "every 1s"]), ("fresh", &[])]);
    let mut scheduler = Scheduler::start(&host);
    until("the first runs", || ended_well(&host, "steady"));
    assert_eq!(last_start(&host, "fresh"), 1);

    let path = host.paths().sync_cfg();
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.replace("sync: fresh\n", "sync: fresh\n\tschedule every 1s\n");
    assert_ne!(text, edited);
    fs::write(&path, format!("sync: broken\n\tstore nowhere\n\tschedule moonrise\n\n{edited}")).unwrap();

    until("the edited job runs", || ended_well(&host, "fresh"));
    let seen = last_start(&host, "steady");
    until("the other one goes on", || last_start(&host, "steady") > seen);
    let said = scheduler.said();
    assert_eq!(said.matches("job broken: cannot be used").count(), 1, "loudly, but once: {said}");
    // Who runs on needs the files of this host.
    assert_eq!(scheduler.terminate(), Some(0));
    let locks = host.paths().run().join("locks");
    until("the last runs have ended", || {
        ["steady", "fresh"].iter().all(|id| JobLock::acquire(&locks, "syncjob", id).is_ok())
    });
}

#[test]
fn a_killed_job_is_recorded_as_failed_and_runs_again() {
    let host = host_with(&[("fragile", &["--schedule", "daily", "--retry-interval", "1s"])]);
    let (once, pid) = (host.path("once"), host.path("pid"));
    let hang = format!(
        "test -e {once} || {{ echo $$ > {pid}; touch {once}; exec sleep 600; }}",
        once = once.display(),
        pid = pid.display()
    );
    host.ok(&["sync-job", "update", "fragile", "--pre-script", &hang]);
    let _scheduler = Scheduler::start(&host);
    until("the job hangs in its script", || once.exists());
    let Some(JobState::Started { upid }) = state(&host, "fragile") else { panic!("it runs") };

    let kill_hard = |pid: &str| kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL);
    kill_hard(&upid.pid.to_string()).unwrap();
    kill_hard(&fs::read_to_string(&pid).unwrap()).unwrap();

    until("it ends well the second time", || ended_well(&host, "fragile"));
    assert_ne!(state(&host, "fragile").unwrap().upid(), Some(&upid));
    let first = TaskStore::new(&host.paths()).status(&upid).unwrap();
    assert!(matches!(first, Some(TaskStatus::Stopped { end: TaskEnd::Unknown, .. })), "{first:?}");
    assert_eq!(host.snapshots("fragile", "").len(), 1);
}

#[test]
fn the_end_of_the_scheduler_is_not_that_of_a_job() {
    let host = host_with(&[("long", &["--schedule", "daily"])]);
    let (begun, gate) = (host.path("begun"), host.path("gate"));
    let wait = format!("touch {}; until test -e {}; do sleep 0.05; done", begun.display(), gate.display());
    host.ok(&["sync-job", "update", "long", "--pre-script", &wait, "--script-timeout", "2min"]);
    let mut scheduler = Scheduler::start(&host);
    until("the job waits in its script", || begun.exists());

    assert_eq!(scheduler.terminate(), Some(0));

    let Some(JobState::Started { upid }) = state(&host, "long") else { panic!("it runs on") };
    assert_eq!(TaskStore::new(&host.paths()).status(&upid).unwrap(), Some(TaskStatus::Running));
    fs::write(&gate, "").unwrap();
    until("the job ends well", || ended_well(&host, "long"));
}

#[test]
fn a_run_that_is_asked_for_starts_at_once_under_the_name_it_was_given() {
    let host = host_with(&[("byhand", &["--disable"])]);
    let mut scheduler = Scheduler::start(&host);
    until("the scheduler has looked", || host.paths().scheduler_notes().exists());

    let upid = tasks::new_upid("syncjob", Some("-:source:byhand::byhand".to_owned()), "a@pbs".parse().unwrap());
    let request = RunRequest { upid: upid.clone(), auth_id: upid.auth_id.clone() };
    TaskStore::new(&host.paths()).request(&"byhand".parse().unwrap(), &request, "waits for the scheduler").unwrap();

    until("the job ends well", || ended_well(&host, "byhand"));
    assert_eq!(state(&host, "byhand").unwrap().upid(), Some(&upid));
    assert_eq!(scheduler.terminate(), Some(0));
}
