//! Which jobs start now, and why the others do not. Pure: no clock, no file.
//!
//! One rule serves both the decision and what is shown as the next run: the first event of the schedule after the
//! *start* of the last run. Events that were missed are one event, and a job that outran its next event starts once.
//!
//! # When the clock is set
//! Forward: the events jumped over are missed ones, so the job runs once. Back: the last start then lies ahead. A step of
//! up to three hours, or of the time between two events if that is longer, is waited out, so that no event comes twice; a
//! longer one is a correction, and events count from the moment it was noticed.

use std::fmt;

use calendar::{Schedule, TimeSpan, When};
use chrono_tz::Tz;
use config::{SyncJobConfig, circles};
use formats::JobId;

use super::memory::Memory;
use crate::state::JobState;

/// A step back of the clock that is waited out in any case, in seconds.
const PATIENCE: i64 = 3 * 3600;
/// The longest one that is, however rare the events of a job are.
const MAX_PATIENCE: i64 = 31 * 86_400;
/// The longest pause before a retry, unless the job asks for a longer one.
const MAX_PAUSE: i64 = 3600;

/// Everything a decision about a job rests on.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// Its settings, which are sound.
    pub job: SyncJobConfig,
    /// How its last run went.
    pub state: Option<JobState>,
    /// What the scheduler remembers of it.
    pub memory: Memory,
    /// Runs that failed one after the other.
    pub failures: u32,
    /// When the last of them is tried again.
    pub retry_at: Option<i64>,
    /// When its last good run ended.
    pub last_good: Option<i64>,
    /// Whether somebody asked for a run.
    pub requested: bool,
    /// Whether it runs.
    pub running: bool,
    /// Whether its conditions hold.
    pub conditions: Conditions,
}

/// Whether the conditions of a job hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// All of them do, or it has none.
    Met,
    /// One does not: which and why.
    Unmet(String),
    /// Nobody has looked.
    Unknown,
}

/// What is to happen to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The job.
    pub id: JobId,
    /// Start or wait.
    pub verdict: Verdict,
    /// When it runs next by itself, as far as that is known; for one that is due, since when.
    pub next: Option<i64>,
}

/// Start or wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It starts now.
    Start(Reason),
    /// It does not.
    Wait(Wait),
}

/// Why a job starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Request,
    /// An event of its schedule came.
    Schedule,
    /// Its last run failed, and it is time to try again.
    Retry,
    /// Another job has ended well.
    After(JobId),
}

/// Why a job does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Its settings cannot be used: file, line and reason.
    Broken(String),
    /// It runs.
    Running,
    /// It was started a moment ago.
    Starting,
    /// It is disabled.
    Disabled,
    /// It is due, and a condition does not hold: which and why.
    Condition(String),
    /// It is due, and nobody has looked yet whether its conditions hold.
    Conditions,
    /// It is due, and so many jobs run already.
    MaxJobs(usize),
    /// Its time has not come.
    NotDue,
    /// It failed so many times, and is tried again.
    Retry(u32),
    /// It failed so many times, and is not tried again before its next event.
    GivenUp(u32),
    /// It follows another job, which has not ended well since.
    After(JobId),
    /// It follows a job that is not there or cannot be read.
    NoLeader(JobId),
    /// It follows jobs that follow it.
    Circle(Vec<JobId>),
    /// It has no schedule.
    ByHand,
    /// Its schedule has no event any more.
    Over,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("on request"),
            Self::Schedule => f.write_str("by its schedule"),
            Self::Retry => f.write_str("to try again"),
            Self::After(leader) => write!(f, "after {leader}"),
        }
    }
}

impl Wait {
    /// Whether this is something an administrator has to mend.
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::NoLeader(_) | Self::Circle(_))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |count: &u32| if *count == 1 { "once".to_owned() } else { format!("{count} times in a row") };
        match self {
            Self::Broken(reason) => write!(f, "cannot be used: {reason}"),
            Self::Running => f.write_str("running"),
            Self::Starting => f.write_str("starting"),
            Self::Disabled => f.write_str("disabled"),
            Self::Condition(condition) => write!(f, "waiting for {condition}"),
            Self::Conditions => f.write_str("its conditions are to be looked at"),
            Self::MaxJobs(max) => write!(f, "waiting: {max} jobs run already (max-jobs)"),
            Self::NotDue => f.write_str("not due"),
            Self::Retry(failures) => write!(f, "failed {}, will try again", times(failures)),
            Self::GivenUp(failures) => write!(f, "failed {}, waits for its next event", times(failures)),
            Self::After(leader) => write!(f, "waits for {leader} to end well"),
            Self::NoLeader(leader) => write!(f, "follows {leader}, which is not there or cannot be used"),
            Self::Circle(jobs) => {
                let names: Vec<&str> = jobs.iter().map(JobId::as_str).collect();
                write!(f, "jobs that wait for each other: {}", names.join(", "))
            }
            Self::ByHand => f.write_str("no schedule, starts by hand"),
            Self::Over => f.write_str("its schedule has no event any more"),
        }
    }
}

/// Decides about every job at `now` on a host in `zone`, where at most `max_jobs` are to run at a time.
///
/// Those that start come first, in the order to start them: what was asked for, then what is due longest, then by id.
/// What was asked for starts in any case, disabled or not. The others follow by id.
pub fn decide(facts: &[JobFacts], now: i64, zone: Tz, max_jobs: usize) -> Vec<Decision> {
    let circles = circles(facts.iter().map(|facts| &facts.job));
    let mut looks: Vec<(&JobFacts, Look)> =
        facts.iter().map(|one| (one, Look::at(one, facts, &circles, now, zone))).collect();
    looks.sort_by(|(one, a), (other, b)| a.order().cmp(&b.order()).then_with(|| one.job.id.cmp(&other.job.id)));

    let busy = |look: &Look| matches!(look.verdict, Verdict::Wait(Wait::Running | Wait::Starting));
    let mut running = looks.iter().filter(|(_, look)| busy(look)).count();
    let decide = |(facts, look): (&JobFacts, Look)| {
        let verdict = match look.verdict {
            Verdict::Start(Reason::Request) => Verdict::Start(Reason::Request),
            Verdict::Start(reason) => match &facts.conditions {
                Conditions::Unmet(which) => Verdict::Wait(Wait::Condition(which.clone())),
                Conditions::Unknown => Verdict::Wait(Wait::Conditions),
                Conditions::Met if running >= max_jobs => Verdict::Wait(Wait::MaxJobs(max_jobs)),
                Conditions::Met => Verdict::Start(reason),
            },
            wait @ Verdict::Wait(_) => wait,
        };
        running += usize::from(matches!(verdict, Verdict::Start(_)));
        Decision { id: facts.job.id.clone(), verdict, next: look.next }
    };
    let mut decisions: Vec<Decision> = looks.into_iter().map(decide).collect();
    decisions.sort_by_key(|decision| matches!(decision.verdict, Verdict::Wait(_)));
    let waits = decisions.iter().position(|decision| matches!(decision.verdict, Verdict::Wait(_)));
    if let Some(first) = waits {
        decisions[first..].sort_by(|a, b| a.id.cmp(&b.id));
    }
    decisions
}

/// A job seen for itself, without regard to conditions and to how many run.
struct Look {
    verdict: Verdict,
    next: Option<i64>,
}

impl Look {
    fn at(one: &JobFacts, all: &[JobFacts], circles: &[Vec<JobId>], now: i64, zone: Tz) -> Self {
        let wait = |wait, next| Self { verdict: Verdict::Wait(wait), next };
        let start = |reason, next| Self { verdict: Verdict::Start(reason), next };
        let (event, retry) =
            if one.job.is_enabled() { (one.next_event(now, zone), one.next_retry(now)) } else { (None, None) };
        let next = event.into_iter().chain(retry).min();
        if one.running {
            return wait(Wait::Running, next);
        }
        if one.memory.is_starting(one.state.as_ref(), now) {
            return wait(Wait::Starting, next);
        }
        if one.requested {
            return start(Reason::Request, Some(now));
        }
        if !one.job.is_enabled() {
            return wait(Wait::Disabled, None);
        }
        let after = Following::of(one, all, circles, now);
        let due = |time: Option<i64>| time.filter(|time| *time <= now);
        if let Some(event) = due(event) {
            return start(Reason::Schedule, Some(event));
        }
        if let Following::Due(leader, end) = after {
            return start(Reason::After(leader), Some(end));
        }
        if let Some(retry) = due(retry) {
            return start(Reason::Retry, Some(retry));
        }
        let why = match after {
            _ if retry.is_some() => Wait::Retry(one.failures),
            Following::Nowhere(trouble) if one.job.schedule.is_none() => trouble,
            _ if one.failures > 0 && next.is_some() => Wait::GivenUp(one.failures),
            _ if next.is_some() => Wait::NotDue,
            Following::NotYet(leader) => Wait::After(leader),
            _ if one.job.schedule.is_some() => Wait::Over,
            _ => Wait::ByHand,
        };
        wait(why, next)
    }

    /// What was asked for, what is due (the longest first), the rest.
    fn order(&self) -> (u8, i64) {
        match &self.verdict {
            Verdict::Start(Reason::Request) => (0, 0),
            Verdict::Start(_) => (1, self.next.unwrap_or(i64::MAX)),
            Verdict::Wait(_) => (2, 0),
        }
    }
}

/// What is wrong with the job that `one` follows: it is not among `all`, or follows `one` itself.
pub(crate) fn trouble_with_leader(one: &JobFacts, all: &[JobFacts], circles: &[Vec<JobId>]) -> Option<Wait> {
    let leader = one.job.after.as_ref().filter(|_| one.job.is_enabled())?;
    if let Some(circle) = circles.iter().find(|circle| circle.contains(&one.job.id)) {
        return Some(Wait::Circle(circle.clone()));
    }
    let there = all.iter().any(|facts| facts.job.id == *leader);
    (!there).then(|| Wait::NoLeader(leader.clone()))
}

/// Where a job stands towards the one it follows.
enum Following {
    Nobody,
    /// It follows nobody that could lead.
    Nowhere(Wait),
    NotYet(JobId),
    /// The leader ended well then, and this job has not started since.
    Due(JobId, i64),
}

impl Following {
    fn of(one: &JobFacts, all: &[JobFacts], circles: &[Vec<JobId>], now: i64) -> Self {
        let Some(leader) = &one.job.after else { return Self::Nobody };
        if let Some(trouble) = trouble_with_leader(one, all, circles) {
            return Self::Nowhere(trouble);
        }
        match all.iter().find(|facts| facts.job.id == *leader).and_then(|facts| facts.last_good) {
            // An end that lies ahead of the clock never comes to lie before a start.
            Some(end) if end > now && one.memory.followed == Some(end) => Self::NotYet(leader.clone()),
            Some(end) if end > one.last(now, |_| 0) => Self::Due(leader.clone(), end),
            _ => Self::NotYet(leader.clone()),
        }
    }
}

impl JobFacts {
    /// The moment from which on events count: the start of the last run, the making of the job, or the last change of its
    /// schedule. `patience` says how far ahead of the clock a start may be.
    fn last(&self, now: i64, patience: impl FnOnce(i64) -> i64) -> i64 {
        let memory = &self.memory;
        match self.state.as_ref().and_then(JobState::reference) {
            None => memory.since,
            Some(start) if start <= now => start.max(memory.since),
            Some(start) if start - now <= patience(start) => start,
            Some(start) => {
                let seen = memory.ahead.filter(|ahead| ahead.start == start).map_or(now, |ahead| ahead.seen.min(now));
                seen.max(memory.since)
            }
        }
    }

    fn next_event(&self, now: i64, zone: Tz) -> Option<i64> {
        let schedule = self.job.schedule.as_ref()?;
        schedule.next_after(self.last(now, |start| patience(schedule, start, zone)), zone)
    }

    /// When a failed run is tried again. A time that is twice as far away as any pause was written by a clock that was
    /// ahead, and counts as come.
    fn next_retry(&self, now: i64) -> Option<i64> {
        let pause = self.job.retry_interval.map_or(0, TimeSpan::seconds).max(MAX_PAUSE);
        self.retry_at.map(|at| if at - now > pause.saturating_mul(2) { now } else { at })
    }
}

/// How far the last start may lie ahead of the clock and still count.
fn patience(schedule: &Schedule, start: i64, zone: Tz) -> i64 {
    if matches!(schedule.when(), When::Every(_)) {
        return 0; // an interval has no events that could come twice
    }
    let first = schedule.next_after(start, zone);
    let second = first.and_then(|first| schedule.next_after(first, zone));
    let period = first.zip(second).map_or(0, |(first, second)| second - first);
    period.clamp(PATIENCE, MAX_PATIENCE)
}
