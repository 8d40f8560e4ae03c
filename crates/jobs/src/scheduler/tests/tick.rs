//! Ticks over real files, with a clock and a starter of the test's own.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use config::Paths;
use formats::JobId;
use nix::fcntl::{Flock, FlockArg};
use tasks::{RunRequest, TaskEnd, TaskStatus, TaskStore};

use super::*;
use crate::conditions::Surroundings;
use crate::scheduler::{Agenda, Reason, Starter, Tick, TickReport};
use crate::state::JobStates;
use crate::zone::HostZone;

/// A host with a clock that stands still until it is set, and a list of what was started.
struct Host {
    root: tempfile::TempDir,
    now: Cell<i64>,
    started: RefCell<Vec<String>>,
    /// Somebody asks for this job while another is being started.
    asked_meanwhile: Cell<Option<&'static str>>,
    /// No job can be started.
    stuck: Cell<bool>,
}

impl Starter for Host {
    fn start(&self, job: &JobId, _: &Reason) -> io::Result<()> {
        if self.stuck.get() {
            return Err(io::Error::other("no room"));
        }
        self.started.borrow_mut().push(job.to_string());
        if let Some(asked) = self.asked_meanwhile.take() {
            self.ask(asked);
        }
        Ok(())
    }
}

impl Host {
    /// A host at 06-01 00:00 whose jobs were made then.
    fn new(sync_cfg: &str) -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
            now: Cell::new(at("06-01 00:00")),
            started: RefCell::default(),
            asked_meanwhile: Cell::default(),
            stuck: Cell::default(),
        };
        host.write("sync.cfg", sync_cfg);
        let states = JobStates::new(&host.paths());
        for job in config::sync_jobs::load(&host.paths()).unwrap().entries {
            states.save(&job.id, &JobState::Created { time: at("06-01 00:00") }).unwrap();
        }
        host
    }

    fn paths(&self) -> Paths {
        Paths::under_root(self.root.path())
    }

    fn write(&self, name: &str, text: &str) {
        let etc = self.root.path().join("etc/backup-manager");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join(name), text).unwrap();
    }

    fn ask(&self, job: &str) -> Upid {
        let (upid, auth_id) = (run_at(self.now.get()), "a@pbs".parse().unwrap());
        let request = RunRequest { upid: upid.clone(), auth_id };
        TaskStore::new(&self.paths()).request(&job.parse().unwrap(), &request, "waits").unwrap();
        upid
    }

    /// A tick at this time: what was started, and the report.
    fn tick(&self, now: &str) -> (Vec<String>, TickReport) {
        self.now.set(at(now));
        let around = Surroundings::default();
        let clock = || self.now.get();
        let paths = self.paths();
        let tick = Tick { paths: &paths, zone: utc(), clock: &clock, starter: self, around: &around };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(tick.run()).unwrap().unwrap();
        (self.started.take(), report)
    }

    fn starts(&self, now: &str) -> Vec<String> {
        self.tick(now).0
    }
}

fn utc() -> HostZone {
    HostZone { zone: Tz::UTC, warning: None }
}

/// A section with these properties.
fn section(id: &str, properties: &[&str]) -> String {
    let lines = properties.iter().map(|property| format!("\t{property}\n")).collect::<String>();
    format!("sync: {id}\n{lines}\tremote-store there\n\tstore here\n\n")
}

#[test]
fn a_tick_starts_what_is_due_and_a_start_without_a_trace_is_made_again_after_a_minute() {
    let host = Host::new(&(section("nightly", &["schedule 02:30"]) + &section("byhand", &[])));

    let (started, report) = host.tick("06-01 02:29");
    assert_eq!((started.len(), report.next), (0, Some(at("06-01 02:30"))));
    assert_eq!(host.starts("06-01 02:30"), ["nightly"]);
    assert_eq!(host.starts("06-01 02:30"), [""; 0]);
    assert_eq!(host.starts("06-01 02:31"), ["nightly"]);

    JobStates::new(&host.paths()).save(&"nightly".parse().unwrap(), &ran(at("06-01 02:31"), 0).unwrap()).unwrap();
    assert_eq!(host.starts("06-01 02:32"), [""; 0]);
    assert_eq!(host.starts("06-02 02:30"), ["nightly"]);
}

#[test]
fn what_cannot_be_started_is_told_and_tried_again() {
    let host = Host::new(&section("nightly", &["schedule 02:30"]));
    host.stuck.set(true);
    let (_, report) = host.tick("06-01 02:30");
    assert_eq!(report.news, ["job nightly cannot be started: no room"]);
    host.stuck.set(false);
    assert_eq!(host.starts("06-01 02:31"), ["nightly"]);
}

#[test]
fn an_edit_counts_with_the_next_tick() {
    let host = Host::new(&section("nightly", &["schedule 02:30"]));
    assert_eq!(host.starts("06-01 01:00"), [""; 0]);
    // The file is far younger than the host's clock, so the change counts from the tick that sees it.
    host.write("sync.cfg", &(section("nightly", &["schedule 01:00"]) + &section("fresh", &["schedule 01:02"])));
    assert_eq!(host.starts("06-01 01:01"), [""; 0]);
    assert_eq!(host.starts("06-01 01:02"), ["fresh"]);
    // The first start left no trace.
    assert_eq!(host.starts("06-02 01:00"), ["fresh", "nightly"]);
}

#[test]
fn a_broken_section_disables_that_job_alone_and_is_told_once() {
    let sound = section("sound", &["schedule 02:30"]);
    let host = Host::new(&(section("broken", &["schedule moonrise"]) + &sound));
    let upid = host.ask("broken");
    let unknown = host.ask("gone");

    let (started, report) = host.tick("06-01 02:30");
    assert_eq!(started, ["sound"]);
    assert_eq!(report.problems.len(), 1, "{report:?}");
    let problem = &report.news[0];
    assert!(
        problem.contains("job broken") && problem.contains("sync.cfg:2: ") && problem.contains("schedule"),
        "{problem}"
    );
    // What was asked for in vain does not look as if it ran.
    let tasks = TaskStore::new(&host.paths());
    for (upid, why) in [(upid, "cannot be used"), (unknown, "there is no sync job 'gone'")] {
        let Some(TaskStatus::Stopped { end: TaskEnd::Error(error), .. }) = tasks.status(&upid).unwrap() else {
            panic!()
        };
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(tasks.requests().unwrap(), []);

    let (_, report) = host.tick("06-01 02:32");
    assert_eq!((report.problems.len(), report.news.len()), (1, 0));
    // Properties that contradict each other break a section as well.
    host.write("sync.cfg", &(section("broken", &["unmount-on-done true"]) + &sound));
    assert!(host.tick("06-01 02:33").1.news[0].contains("has no effect without run-on-mount"));
    host.write("sync.cfg", &(section("broken", &[]) + &sound));
    assert_eq!(host.tick("06-01 02:34").1.problems, [""; 0]);
}

#[test]
fn two_ticks_at_once_start_a_job_once() {
    let host = Host::new(&section("nightly", &["schedule 02:30"]));
    let paths = &host.paths();
    let (entered, inside) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();

    struct Slow(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Starter for Slow {
        fn start(&self, _: &JobId, _: &Reason) -> io::Result<()> {
            self.0.send(()).map_err(io::Error::other)?;
            self.1.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other)
        }
    }
    let run = |starter: &dyn Starter| {
        let (clock, around) = (|| at("06-01 02:30"), Surroundings::default());
        let tick = Tick { paths, zone: utc(), clock: &clock, starter, around: &around };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tick.run()).unwrap().unwrap().started.len()
    };
    std::thread::scope(|threads| {
        let first = threads.spawn(move || run(&Slow(entered, may_leave)));
        inside.recv_timeout(Duration::from_secs(60)).unwrap();
        let second = threads.spawn(move || run(&Slow(mpsc::channel().0, mpsc::channel().1)));
        leave.send(()).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (1, 0));
    });
}

#[test]
fn a_job_whose_conditions_do_not_hold_waits_and_holds_up_nobody() {
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let condition = format!("run-when command:test -e {}", open.display());
    let host = Host::new(&(section("gated", &[&condition, "schedule 02:30"]) + &section("other", &["schedule 02:30"])));

    assert_eq!(host.starts("06-01 02:30"), ["other"]);
    fs::write(&open, "").unwrap();
    assert_eq!(host.starts("06-01 02:30"), ["gated"]);
}

#[test]
fn a_run_that_is_asked_for_while_a_tick_is_at_work_starts_with_that_tick() {
    let host = Host::new(&(section("nightly", &["schedule 02:30"]) + &section("byhand", &["disable true"])));
    host.asked_meanwhile.set(Some("byhand"));
    assert_eq!(host.starts("06-01 02:30"), ["nightly", "byhand"]);
}

#[test]
fn a_run_that_died_is_recorded_as_ended_and_one_that_lives_runs() {
    let host = Host::new(&section("nightly", &["schedule hourly"]));
    let (states, tasks, id) =
        (JobStates::new(&host.paths()), TaskStore::new(&host.paths()), "nightly".parse().unwrap());
    let upid = run_at(at("06-01 01:00"));
    // A process that runs a task holds the lock of its log.
    let log = tasks.log_path(&upid);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(host.paths().tasks().join("active"), format!("{upid}\n")).unwrap();
    let held = Flock::lock(fs::File::create(&log).unwrap(), FlockArg::LockExclusive).unwrap();
    states.save(&id, &JobState::Started { upid: upid.clone() }).unwrap();

    assert_eq!(
        host.tick("06-01 02:00"),
        (vec![], TickReport { next: host.tick("06-01 02:00").1.next, ..TickReport::default() })
    );

    drop(held); // as when it is killed
    let (started, report) = host.tick("06-01 02:01");
    assert_eq!((started, report.died), (vec!["nightly".to_owned()], vec![id.clone()]));
    let Some(JobState::Finished { upid: last, state, .. }) = states.load(&id).unwrap() else { panic!() };
    assert_eq!((last, state.is_good()), (upid.clone(), false));
    assert!(matches!(tasks.status(&upid).unwrap(), Some(TaskStatus::Stopped { end: TaskEnd::Unknown, .. })));
}

#[test]
fn damaged_files_of_the_scheduler_are_told_and_made_anew() {
    let host = Host::new(&section("nightly", &["schedule 02:30"]));
    host.write("backup-server.conf", "[scheduler]\nmax-jobs = none\n");
    fs::write(host.paths().scheduler_notes(), "{").unwrap();
    fs::write(JobStates::new(&host.paths()).path(&"nightly".parse().unwrap(), "json"), "{").unwrap();

    let (started, report) = host.tick("06-01 02:31");
    assert_eq!((started.len(), report.problems.len()), (0, 3), "{report:?}");
    host.write("backup-server.conf", "[scheduler]\nmax-jobs = 7\n");
    let (started, report) = host.tick("06-02 02:30");
    assert_eq!((started.len(), report.problems.len()), (1, 0), "{report:?}");
    assert_eq!(Agenda::load(&host.paths(), at("06-02 02:30"), Tz::UTC).unwrap().max_jobs, 7);
}
