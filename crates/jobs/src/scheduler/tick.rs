//! One look at everything, and the starts that follow from it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime};

use config::Paths;
use formats::JobId;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tasks::{Retention, TaskEnd, TaskStore};

use super::agenda::Agenda;
use super::due::{Decision, Reason, Verdict, Wait};
use super::error::SchedulerError;
use super::memory::Handover;
use super::notes::Notes;
use super::start::Starter;
use crate::conditions::Surroundings;
use crate::run::{random, settle_dead};
use crate::state::{JobState, JobStates};
use crate::sync::chain;
use crate::zone::HostZone;

/// How long another tick is waited for. It has most likely not seen what this one was called for.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// A tick looks again when a run was asked for meanwhile, so many times at most.
const MAX_ROUNDS: usize = 4;
/// Pause between two looks for old task logs, in seconds.
const TIDY_EVERY: i64 = 86_400;

/// What a tick works with.
pub struct Tick<'a> {
    /// Where the files are.
    pub paths: &'a Paths,
    /// The time zone of the host.
    pub zone: HostZone,
    /// Seconds since the epoch.
    pub clock: &'a dyn Fn() -> i64,
    /// Starts the jobs.
    pub starter: &'a dyn Starter,
    /// Where and how long conditions look.
    pub around: &'a Surroundings,
}

/// What a tick did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Jobs that were started, and why.
    pub started: Vec<(JobId, Reason)>,
    /// Jobs whose run had died; each is recorded as ended now.
    pub died: Vec<JobId>,
    /// Everything that has to be mended, a sentence each.
    pub problems: Vec<String>,
    /// Those of them that the last tick did not know.
    pub news: Vec<String>,
    /// When a job is due next, as far as that is known; not counting those that wait for something else.
    pub next: Option<i64>,
}

impl Tick<'_> {
    /// Looks at everything once and starts what is due. `None` when another tick is at work all the while.
    ///
    /// # Errors
    /// Nothing at all could be decided: `sync.cfg` cannot be read, or there can be no lock.
    pub async fn run(&self) -> Result<Option<TickReport>, SchedulerError> {
        let Some(_lock) = self.lock()? else { return Ok(None) };
        let mut report = TickReport::default();
        let (mut notes, damage) = Notes::load(self.paths);
        let tidied = notes.tidied;
        report.problems.extend(damage);
        report.problems.extend(self.zone.warning.clone());
        self.tidy(&mut notes, &mut report);
        for round in 1..=MAX_ROUNDS {
            let mut agenda = Agenda::with_notes(self.paths, &notes, (self.clock)(), self.zone.zone)?;
            if round == 1 {
                report.problems.extend(agenda.all_problems());
            }
            if self.settle(&agenda, &mut report) {
                agenda = Agenda::with_notes(self.paths, &notes, (self.clock)(), self.zone.zone)?;
            }
            self.refuse(&agenda, &mut report);
            // What waits for conditions to be looked at does not hold up the others.
            let mut decisions = self.start(&mut agenda, &mut notes, &mut report);
            if decisions.iter().any(|decision| decision.verdict == Verdict::Wait(Wait::Conditions)) {
                agenda.look_at_conditions(self.paths, self.around).await;
                agenda.now = (self.clock)();
                decisions = self.start(&mut agenda, &mut notes, &mut report);
            }
            report.next = next(&decisions, agenda.now);
            if !self.was_asked_meanwhile(&agenda) {
                break;
            }
        }
        report.news = report.problems.iter().filter(|problem| !notes.told.contains(problem)).cloned().collect();
        if notes.told != report.problems || notes.tidied != tidied {
            notes.told.clone_from(&report.problems);
            self.save(&notes, &mut report);
        }
        Ok(Some(report))
    }

    fn lock(&self) -> Result<Option<Flock<File>>, SchedulerError> {
        let path = self.paths.scheduler_lock();
        let failed = |source| SchedulerError::Lock { path: path.clone(), source };
        fs::create_dir_all(self.paths.run()).map_err(failed)?;
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o660).open(&path).map_err(failed)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    // Its time says when the scheduler was last at work.
                    lock.set_modified(SystemTime::now()).map_err(failed)?;
                    return Ok(Some(lock));
                }
                Err((returned, Errno::EWOULDBLOCK | Errno::EINTR)) => file = returned,
                Err((_, errno)) => return Err(failed(io::Error::from(errno))),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Records tasks that died, and once a day clears away what is old.
    fn tidy(&self, notes: &mut Notes, report: &mut TickReport) {
        let (tasks, now) = (TaskStore::new(self.paths), (self.clock)());
        let tidied = if (0..TIDY_EVERY).contains(&(now - notes.tidied)) {
            tasks.reap().map(drop)
        } else {
            notes.tidied = now;
            let retention = config::ServerConf::load(self.paths)
                .map(|(conf, _)| Retention { days: conf.task_retention_days, count: conf.task_retention_count });
            match retention {
                Ok(retention) => tasks.rotate(now, retention).map(drop),
                Err(_) => tasks.reap().map(drop), // told by the agenda
            }
        };
        if let Err(error) = tidied {
            report.problems.push(chain(&error));
        }
    }

    /// Writes down how runs ended whose process died, and makes states anew that cannot be read. Says whether anything
    /// changed.
    fn settle(&self, agenda: &Agenda, report: &mut TickReport) -> bool {
        let states = JobStates::new(self.paths);
        for id in &agenda.died {
            let Some(one) = agenda.facts.iter().find(|one| one.job.id == *id) else { continue };
            match settle_dead(self.paths, &one.job, agenda.now, random()) {
                Ok(true) => report.died.push(id.clone()),
                Ok(false) => {}
                Err(error) => report.problems.push(chain(&error)),
            }
        }
        for id in &agenda.unreadable {
            if let Err(error) = states.save(id, &JobState::Created { time: agenda.now }) {
                report.problems.push(chain(&error));
            }
        }
        !agenda.died.is_empty() || !agenda.unreadable.is_empty()
    }

    /// Ends the tasks of requests that cannot be followed, with the reason in their log.
    fn refuse(&self, agenda: &Agenda, report: &mut TickReport) {
        let tasks = TaskStore::new(self.paths);
        for (id, _) in &agenda.requests {
            if agenda.facts.iter().any(|one| one.job.id == *id) {
                continue;
            }
            let broken = agenda.broken.iter().find(|job| job.id == id.as_str());
            let why = match broken {
                Some(job) => format!("job {id} {}", Wait::Broken(job.reason.clone())),
                None => format!("there is no sync job '{id}'"),
            };
            match tasks.take_request(id) {
                Ok(Some((_, log))) => drop(log.finish(TaskEnd::Error(why))),
                Ok(None) => {}
                Err(error) => report.problems.push(chain(&error)),
            }
        }
    }

    /// Starts what is due. It is written down first, so that not even a tick that dies starts a job twice.
    fn start(&self, agenda: &mut Agenda, notes: &mut Notes, report: &mut TickReport) -> Vec<Decision> {
        let decisions = agenda.decide();
        let mut starts = Vec::new();
        for decision in &decisions {
            let Verdict::Start(reason) = &decision.verdict else { continue };
            let Some(one) = agenda.facts.iter_mut().find(|one| one.job.id == decision.id) else { continue };
            let previous = one.state.as_ref().and_then(JobState::upid).cloned();
            one.memory.started = Some(Handover { at: agenda.now, previous });
            if let Reason::After(_) = reason {
                one.memory.followed = decision.next;
            }
            starts.push((decision.id.clone(), reason.clone()));
        }
        let mut jobs: BTreeMap<_, _> =
            agenda.facts.iter().map(|one| (one.job.id.clone(), one.memory.clone())).collect();
        // Who cannot be used just now is not forgotten.
        let broken = |id: &JobId| agenda.broken.iter().any(|job| job.id == id.as_str());
        jobs.extend(notes.jobs.iter().filter(|(id, _)| broken(id)).map(|(id, memory)| (id.clone(), memory.clone())));
        if notes.jobs != jobs {
            notes.jobs = jobs;
            self.save(notes, report);
        }
        for (id, reason) in starts {
            match self.starter.start(&id, &reason) {
                Ok(()) => report.started.push((id, reason)),
                Err(error) => report.problems.push(format!("job {id} cannot be started: {error}")),
            }
        }
        decisions
    }

    /// Whether a run was asked for since the agenda was read.
    fn was_asked_meanwhile(&self, agenda: &Agenda) -> bool {
        let requests = TaskStore::new(self.paths).requests().unwrap_or_default();
        requests.iter().any(|request| !agenda.requests.contains(request))
    }

    fn save(&self, notes: &Notes, report: &mut TickReport) {
        if let Err(error) = notes.save(self.paths) {
            report.problems.push(chain(&error));
        }
    }
}

/// The first moment at which time alone makes a job due.
fn next(decisions: &[Decision], now: i64) -> Option<i64> {
    decisions.iter().filter_map(|decision| decision.next).filter(|next| *next > now).min()
}
