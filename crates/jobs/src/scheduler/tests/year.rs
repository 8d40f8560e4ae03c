//! A year of ticks in a zone with summer time, compared run by run with a list.

use std::fmt::Write as _;

use chrono::{TimeZone, Utc};
use chrono_tz::Europe::Vienna;

use super::*;
use crate::scheduler::Reason;

/// A job on the clock: its settings, how long it runs, and how often a run by its schedule fails before one goes well.
struct Player {
    job: SyncJobConfig,
    minutes: i64,
    fails: u32,
    ends_matter: bool,
    state: Option<JobState>,
    memory: Option<Memory>,
    failures: u32,
    retry_at: Option<i64>,
    last_good: Option<i64>,
    ends: Option<i64>,
    runs: Vec<(i64, Reason)>,
}

impl Player {
    fn new(id: &str, properties: &str, minutes: i64) -> Self {
        Self {
            job: job(id, properties),
            minutes,
            fails: 0,
            ends_matter: false,
            state: None,
            memory: None,
            failures: 0,
            retry_at: None,
            last_good: None,
            ends: None,
            runs: Vec::new(),
        }
    }

    fn facts(&mut self, now: i64, made: i64) -> JobFacts {
        let memory = Memory::observe(self.memory.as_ref(), &self.job, self.state.as_ref(), made, now);
        self.memory = Some(memory.clone());
        JobFacts {
            state: self.state.clone(),
            memory,
            failures: self.failures,
            retry_at: self.retry_at,
            last_good: self.last_good,
            requested: false,
            running: self.ends.is_some(),
            conditions: Conditions::Met,
            job: self.job.clone(),
        }
    }

    fn start(&mut self, now: i64, reason: Reason) {
        self.runs.push((now, reason));
        self.state = Some(JobState::Started { upid: run_at(now) });
        self.ends = Some(now + self.minutes * 60);
    }

    fn end(&mut self, now: i64) {
        let Some(JobState::Started { upid }) = self.state.take() else { panic!("it runs") };
        self.state = Some(JobState::Finished { upid, state: EndState::Ok { endtime: now }, updated: None });
        self.ends = None;
        if self.failures < self.fails {
            self.failures += 1;
            self.retry_at = Some(now + 15 * 60 * i64::from(self.failures));
        } else {
            (self.failures, self.retry_at, self.last_good) = (0, None, Some(now));
        }
    }
}

/// Lets the clock run from `begin` to `end`. Ticks are on the full minute; those at which nothing can have changed are
/// left out.
fn play(players: &mut [Player], begin: i64, end: i64) {
    let mut now = begin;
    while now < end {
        for player in players.iter_mut().filter(|player| player.ends.is_some_and(|end| end <= now)) {
            player.end(player.ends.unwrap());
        }
        let facts: Vec<JobFacts> = players.iter_mut().map(|player| player.facts(now, begin)).collect();
        let decisions = decide(&facts, now, Vienna, 99);
        let mut next = end;
        for decision in decisions {
            let player = players.iter_mut().find(|player| player.job.id == decision.id).unwrap();
            if let Verdict::Start(reason) = decision.verdict {
                player.start(now, reason);
                next = now;
            } else {
                next = next.min(player.ends.into_iter().chain(decision.next).max().unwrap_or(end));
            }
        }
        // Who is followed, or may fail, is looked at when it ends; of others that does not matter.
        let ends = players.iter().filter(|player| player.ends_matter).filter_map(|player| player.ends);
        now = (ends.fold(next, i64::min).max(now + 1) + 59).div_euclid(60) * 60;
    }
}

/// Every run, those at equal distances in one line: job, reason, first, how many, how far apart, last.
fn told(players: &[Player]) -> String {
    let local = |time: i64| Vienna.timestamp_opt(time, 0).unwrap().format("%a %m-%d %H:%M %Z");
    let mut text = String::new();
    for player in players {
        let mut rest = player.runs.as_slice();
        while let [(first, reason), after @ ..] = rest {
            let step = after.first().filter(|(_, next)| next == reason).map(|(next, _)| next - first);
            let row = step.map_or(0, |step| {
                let pairs = rest.windows(2).take_while(|pair| pair[1].1 == *reason && pair[1].0 - pair[0].0 == step);
                pairs.count()
            });
            let (id, last) = (&player.job.id, rest[row].0);
            match step {
                Some(step) if row > 1 => {
                    let (step, count) = (step / 60, row + 1);
                    writeln!(text, "{id} {reason}: {} - {}, {count} runs every {step} min", local(*first), local(last))
                }
                _ => writeln!(text, "{id} {reason}: {}", local(*first)),
            }
            .unwrap();
            rest = &rest[if row > 1 { row + 1 } else { 1 }..];
        }
    }
    text
}

#[test]
fn a_year_with_two_changes_of_the_clock_has_exactly_the_runs_of_the_list() {
    let new_year = |year| Vienna.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().with_timezone(&Utc).timestamp();
    let (begin, end) = (new_year(2026), new_year(2027));
    let mut together = [
        Player { ends_matter: true, ..Player::new("nightly", "schedule 02:30", 40) },
        Player::new("offsite", "after nightly", 21),
        Player::new("hourly", "schedule hourly", 5),
        Player::new("weekly", "schedule weekly", 3 * 60),
        Player::new("monthly", "schedule monthly", 1),
        Player::new("month-end", "schedule *-*~1 23:59 UTC", 2),
        Player::new("overrun", "schedule *-*-04 08..09:0/30", 50),
        Player { ends_matter: true, fails: 2, ..Player::new("shaky", "schedule *-*-13 12:00", 10) },
    ];
    // Apart from the others, for so many ticks take their time.
    let mut often = [Player::new("quarters", "schedule *:0/15", 1)];
    let mut interval = [Player::new("interval", "schedule every 5min", 2)];

    play(&mut together, begin, end);
    play(&mut often, begin, end);
    play(&mut interval, begin, end);

    let (told, list) = ([told(&together), told(&often), told(&interval)].concat(), include_str!("year.txt"));
    for (told, listed) in told.lines().zip(list.lines()) {
        assert_eq!(told, listed);
    }
    assert_eq!(told.lines().count(), list.lines().count());
}
