//! The verdict: what was seen, against what was wanted. No clock, no files.

use calendar::TimeSpan;
use config::SyncJobConfig;

use super::{Copies, Facts, GroupCopies, GroupHealth, Health, JobFacts, JobHealth, JudgedBy, Level, Reason};
use crate::state::{EndState, JobState};

/// How late a scheduled start may be before somebody should look: conditions and other jobs may hold it up for a while.
const LATE: i64 = 3600;

/// Groups that a sentence names; the others are counted.
const NAMED: usize = 3;

/// Judges everything as of `now`, Unix seconds.
pub fn judge(facts: &Facts, now: i64) -> Health {
    let jobs: Vec<JobHealth> = facts.jobs.iter().map(|job| judge_job(job, now)).collect();
    let broken = if facts.broken.is_empty() { Level::Ok } else { Level::Critical };
    let status = jobs.iter().map(|job| job.status).fold(broken, Level::max);
    Health { status, time: now, jobs, broken: facts.broken.clone() }
}

fn judge_job(facts: &JobFacts, now: i64) -> JobHealth {
    let job = &facts.config;
    let objective = job.objective.filter(|span| *span != TimeSpan::Infinite).map(|span| span.duration().as_secs());
    let groups = groups(facts, objective, now);
    let (judged_by, age) = match facts.copies {
        Copies::Listed(_) => (JudgedBy::Copies, groups.iter().filter_map(|group| group.age).max()),
        Copies::NotAsked | Copies::Failed(_) => (JudgedBy::LastGoodRun, facts.last_good.map(|time| age(time, now))),
    };
    let mut verdict = JobHealth {
        job: job.id.to_string(),
        status: Level::Ok,
        disabled: !job.is_enabled(),
        reasons: Vec::new(),
        objective,
        age,
        judged_by,
        groups,
        last_result: last_result(facts),
        last_start: facts.state.as_ref().and_then(JobState::upid).map(|upid| upid.start_time),
        last_end: match &facts.state {
            Some(JobState::Finished { state, .. }) => Some(state.endtime()),
            _ => None,
        },
        last_good: facts.last_good,
        failures: facts.failures,
        retry_at: facts.retry_at,
        next_run: facts.due,
        running_since: match &facts.state {
            Some(JobState::Started { upid }) if facts.running => Some(upid.start_time),
            _ => None,
        },
        removals_held: facts.record.as_ref().map_or(0, |record| record.removals_held),
    };
    if verdict.disabled {
        return verdict;
    }
    let mut reasons = Vec::new();
    reasons.extend(objective.and_then(|objective| missed(facts, &verdict, objective, now)));
    reasons.extend(unseen(facts));
    let met = objective.is_some() && reasons.iter().all(|reason| reason.level < Level::Critical);
    reasons.extend(failed(facts, met));
    reasons.extend(overrun(&verdict, now));
    reasons.extend(late(facts, now));
    if verdict.removals_held > 0 {
        reasons.push(warning(format!(
            "the deletion brake holds: {} snapshots would be removed at the target",
            verdict.removals_held
        )));
    }
    if let Some(reason) = bad_copies(facts) {
        reasons.push(reason);
    }
    verdict.status = reasons.iter().map(|reason| reason.level).fold(Level::Ok, Level::max);
    verdict.reasons = reasons;
    verdict
}

/// The groups at the target, each against the objective.
fn groups(facts: &JobFacts, objective: Option<u64>, now: i64) -> Vec<GroupHealth> {
    let Copies::Listed(groups) = &facts.copies else { return Vec::new() };
    let judged = groups.iter().map(|group| {
        let age = group.newest.map(|time| age(time, now));
        let missed = objective.is_some_and(|objective| age.is_none_or(|age| age > objective));
        GroupHealth {
            ns: group.ns.to_string(),
            group: group.group.to_string(),
            status: if missed && facts.config.is_enabled() { Level::Critical } else { Level::Ok },
            newest: group.newest,
            age,
        }
    });
    judged.collect()
}

/// The objective that is missed: by a group, by there being none, or by the last good run where nobody looked.
fn missed(facts: &JobFacts, verdict: &JobHealth, objective: u64, now: i64) -> Option<Reason> {
    let limit = span(objective);
    match &facts.copies {
        Copies::Listed(groups) if groups.is_empty() => {
            (!is_new(facts, objective, now)).then(|| critical(format!("there is no copy at all (objective {limit})")))
        }
        Copies::Listed(_) => {
            let behind: Vec<&GroupHealth> =
                verdict.groups.iter().filter(|group| group.status == Level::Critical).collect();
            let named = behind.iter().take(NAMED).map(|group| {
                let place = if group.ns.is_empty() { String::new() } else { format!("{}/", group.ns) };
                let age = group.age.map_or("no good copy".to_owned(), |age| format!("{} old", span(age)));
                format!("{place}{} ({age})", group.group)
            });
            let mut text: Vec<String> = named.collect();
            if behind.len() > NAMED {
                text.push(format!("and {} more", behind.len() - NAMED));
            }
            (!behind.is_empty())
                .then(|| critical(format!("newest good copy older than the objective {limit}: {}", text.join(", "))))
        }
        Copies::NotAsked | Copies::Failed(_) => match verdict.age {
            Some(age) if age > objective => {
                Some(critical(format!("the last good run is {} ago (objective {limit})", span(age))))
            }
            None if !is_new(facts, objective, now) => {
                Some(critical(format!("there was no good run yet (objective {limit})")))
            }
            _ => None,
        },
    }
}

/// Whether the job was made so short a time ago that nothing can be expected of it.
fn is_new(facts: &JobFacts, objective: u64, now: i64) -> bool {
    match &facts.state {
        None | Some(JobState::Unknown) => facts.record.is_none() && facts.last_good.is_none(),
        Some(JobState::Created { time }) => age(*time, now) <= objective,
        Some(JobState::Started { upid }) => facts.last_good.is_none() && age(upid.start_time, now) <= objective,
        Some(JobState::Finished { .. }) => false,
    }
}

/// Targets that could not be looked at.
fn unseen(facts: &JobFacts) -> Option<Reason> {
    match &facts.copies {
        Copies::Failed(why) => Some(warning(format!("cannot look at the target: {why}"))),
        _ => None,
    }
}

/// A last run that failed or died. It is only a warning while an objective is met all the same.
fn failed(facts: &JobFacts, met: bool) -> Option<Reason> {
    let level = if met { Level::Warning } else { Level::Critical };
    let times = match facts.failures {
        0 | 1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    match &facts.state {
        Some(JobState::Finished { state: EndState::Error { message, .. }, .. }) => {
            Some(Reason { level, message: format!("the last run failed{times}: {message}") })
        }
        Some(JobState::Finished { state: EndState::Unknown { .. }, .. }) => {
            Some(Reason { level, message: format!("the last run died{times}") })
        }
        Some(JobState::Started { .. }) if !facts.running => {
            Some(Reason { level, message: format!("the last run died{times}") })
        }
        Some(JobState::Finished { state: EndState::Warning { count, .. }, .. }) => {
            let first = facts.record.as_ref().and_then(|record| record.warnings.first());
            let what = first.map(|text| format!(": {text}")).unwrap_or_default();
            Some(warning(format!("the last run ended with {count} warnings{what}")))
        }
        _ => None,
    }
}

/// A run that takes longer than the objective allows.
fn overrun(verdict: &JobHealth, now: i64) -> Option<Reason> {
    let (since, objective) = (verdict.running_since?, verdict.objective?);
    let running = age(since, now);
    (running > objective).then(|| warning(format!("it runs since {}, longer than its objective", span(running))))
}

/// A start that the schedule wanted and nobody made.
fn late(facts: &JobFacts, now: i64) -> Option<Reason> {
    let due = facts.due?;
    let waits = !facts.running && facts.retry_at.is_none_or(|retry| retry < now);
    (waits && due + LATE < now).then(|| {
        warning(format!("it was due {} ago and has not started; does the scheduler run?", span(age(due, now))))
    })
}

/// Newest copies that failed verification.
fn bad_copies(facts: &JobFacts) -> Option<Reason> {
    let Copies::Listed(groups) = &facts.copies else { return None };
    let bad: Vec<&GroupCopies> = groups.iter().filter(|group| group.newest_is_bad).collect();
    let named: Vec<String> = bad.iter().take(NAMED).map(|group| group.group.to_string()).collect();
    let more = if bad.len() > NAMED { format!(" and {} more", bad.len() - NAMED) } else { String::new() };
    (!bad.is_empty()).then(|| warning(format!("the newest copy failed verification: {}{more}", named.join(", "))))
}

fn last_result(facts: &JobFacts) -> Option<&'static str> {
    match &facts.state {
        Some(JobState::Finished { state, .. }) => Some(match state {
            EndState::Ok { .. } => "ok",
            EndState::Warning { .. } => "warnings",
            EndState::Error { .. } => "error",
            EndState::Unknown { .. } => "unknown",
        }),
        Some(JobState::Started { .. }) if !facts.running => Some("unknown"),
        _ => None,
    }
}

fn critical(message: String) -> Reason {
    Reason { level: Level::Critical, message }
}

fn warning(message: String) -> Reason {
    Reason { level: Level::Warning, message }
}

/// Seconds since then; 0 for the future.
fn age(time: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(time)).unwrap_or(0)
}

/// A span for a sentence: minutes are enough beyond an hour, hours beyond a week.
fn span(seconds: u64) -> String {
    let step = match seconds {
        0..3600 => 1,
        3600..604_800 => 60,
        _ => 3600,
    };
    TimeSpan::from_secs(seconds / step * step).to_string()
}

/// What a job is about, in one line.
pub(crate) fn way(job: &SyncJobConfig) -> String {
    let here = place(None, job.store.as_str(), &job.ns());
    let there = place(job.remote.as_ref().map(|name| name.as_str()), job.remote_store.as_str(), &job.remote_ns());
    match job.direction() {
        config::SyncDirection::Pull => format!("{there} -> {here}"),
        config::SyncDirection::Push => format!("{here} -> {there}"),
    }
}

fn place(remote: Option<&str>, store: &str, ns: &formats::Namespace) -> String {
    let ns = if ns.is_root() { String::new() } else { format!("/{ns}") };
    remote.map_or_else(|| format!("{store}{ns}"), |remote| format!("{remote}:{store}{ns}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;

    const NOW: i64 = 1_800_000_000;
    const HOUR: i64 = 3600;

    /// A job with an objective of 26 hours whose last run was good, an hour ago, and whose target has `groups`, each
    /// with the hours since its newest good copy.
    fn facts(groups: &[(&str, i64)]) -> JobFacts {
        let mut config =
            SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        config.objective = Some("26h".parse().unwrap());
        let copies = groups.iter().map(|(group, hours)| GroupCopies {
            ns: formats::Namespace::root(),
            group: group.parse().unwrap(),
            newest: Some(NOW - hours * HOUR),
            newest_is_bad: false,
        });
        JobFacts {
            config,
            state: Some(finished(EndState::Ok { endtime: NOW - HOUR })),
            running: false,
            failures: 0,
            retry_at: None,
            last_good: Some(NOW - HOUR),
            record: None,
            due: None,
            copies: Copies::Listed(copies.collect()),
        }
    }

    fn upid(hours: i64) -> formats::Upid {
        let mut upid = tasks::new_upid("syncjob", Some("x".into()), tasks::superuser());
        upid.start_time = NOW - hours * HOUR;
        upid
    }

    fn finished(state: EndState) -> JobState {
        JobState::Finished { upid: upid(2), state, updated: None }
    }

    fn failed_run() -> Option<JobState> {
        Some(finished(EndState::Error { message: "no route".into(), endtime: NOW - HOUR }))
    }

    /// The verdict as one line: level, then each reason.
    fn said(facts: &JobFacts) -> String {
        let verdict = judge_job(facts, NOW);
        let reasons: Vec<String> = verdict.reasons.iter().map(|reason| reason.message.clone()).collect();
        format!("{:?}: {}", verdict.status, reasons.join("; "))
    }

    #[test]
    fn a_good_run_that_moved_nothing_does_not_hide_an_old_copy() {
        assert_eq!(said(&facts(&[("vm/100", 20), ("ct/101", 2)])), "Ok: ");

        let stale = facts(&[("vm/100", 27), ("ct/101", 2)]);

        assert_eq!(said(&stale), "Critical: newest good copy older than the objective 1d 2h: vm/100 (1d 3h old)");
        let verdict = judge_job(&stale, NOW);
        assert_eq!(verdict.age, Some(27 * 3600));
        let levels: Vec<Level> = verdict.groups.iter().map(|group| group.status).collect();
        assert_eq!(levels, [Level::Critical, Level::Ok]);
    }

    #[test]
    fn many_groups_are_named_in_part_and_one_without_any_good_copy_is_told_apart() {
        let mut many = facts(&[("vm/1", 30), ("vm/2", 30), ("vm/3", 30), ("vm/4", 30)]);
        let Copies::Listed(groups) = &mut many.copies else { panic!() };
        groups[0].newest = None;
        groups[1].ns = "a/b".parse().unwrap();

        let text = said(&many);

        assert!(text.ends_with("vm/1 (no good copy), a/b/vm/2 (1d 6h old), vm/3 (1d 6h old), and 1 more"), "{text}");
    }

    #[test]
    fn a_target_without_any_copy_is_critical_unless_the_job_is_new() {
        let mut empty = facts(&[]);
        assert_eq!(said(&empty), "Critical: there is no copy at all (objective 1d 2h)");

        empty.last_good = None;
        for (state, level) in [
            (None, "Ok"),
            (Some(JobState::Created { time: NOW - HOUR }), "Ok"),
            (Some(JobState::Created { time: NOW - 27 * HOUR }), "Critical"),
        ] {
            empty.state = state;
            assert!(said(&empty).starts_with(level), "{:?}: {}", empty.state, said(&empty));
        }
    }

    #[test]
    fn a_failed_run_is_a_warning_while_the_objective_is_met_and_critical_without_one() {
        let mut failing = facts(&[("vm/100", 2)]);
        (failing.state, failing.failures) = (failed_run(), 3);
        assert_eq!(said(&failing), "Warning: the last run failed, 3 times in a row: no route");

        failing.config.objective = None;
        assert_eq!(said(&failing), "Critical: the last run failed, 3 times in a row: no route");

        failing.state = Some(JobState::Started { upid: upid(1) });
        failing.failures = 0;
        assert_eq!(said(&failing), "Critical: the last run died");
        failing.running = true;
        assert_eq!(said(&failing), "Ok: ");
    }

    #[test]
    fn without_a_look_at_the_target_the_last_good_run_has_to_do() {
        let mut push = facts(&[]);
        push.copies = Copies::NotAsked;
        assert_eq!(said(&push), "Ok: ");
        assert_eq!(judge_job(&push, NOW).judged_by, JudgedBy::LastGoodRun);

        push.last_good = Some(NOW - 27 * HOUR);
        assert_eq!(said(&push), "Critical: the last good run is 1d 3h ago (objective 1d 2h)");
        push.last_good = None;
        assert_eq!(said(&push), "Critical: there was no good run yet (objective 1d 2h)");

        push.last_good = Some(NOW - HOUR);
        push.copies = Copies::Failed("refused".into());
        assert_eq!(said(&push), "Warning: cannot look at the target: refused");
    }

    #[test]
    fn a_run_that_takes_too_long_a_missed_start_and_a_held_brake_are_warnings() {
        let mut slow = facts(&[("vm/100", 2)]);
        (slow.state, slow.running) = (Some(JobState::Started { upid: upid(27) }), true);
        assert_eq!(said(&slow), "Warning: it runs since 1d 3h, longer than its objective");

        let mut late = facts(&[("vm/100", 2)]);
        late.due = Some(NOW - 2 * HOUR);
        assert_eq!(said(&late), "Warning: it was due 2h ago and has not started; does the scheduler run?");
        for harmless in [
            JobFacts { due: Some(NOW - HOUR / 2), ..late.clone() },
            JobFacts { retry_at: Some(NOW + 5), ..late.clone() },
            JobFacts { running: true, ..late.clone() },
        ] {
            assert_eq!(said(&harmless), "Ok: ");
        }

        let mut held = facts(&[("vm/100", 2)]);
        held.record = Some(RunRecord { removals_held: 7, warnings: vec!["look".into()], ..RunRecord::default() });
        held.state = Some(finished(EndState::Warning { count: 1, endtime: NOW - HOUR }));
        assert_eq!(
            said(&held),
            "Warning: the last run ended with 1 warnings: look; the deletion brake holds: 7 snapshots would be removed at \
             the target"
        );
    }

    #[test]
    fn a_newest_copy_that_failed_verification_is_told_and_does_not_count() {
        let mut bad = facts(&[("vm/100", 20)]);
        let Copies::Listed(groups) = &mut bad.copies else { panic!() };
        groups[0].newest_is_bad = true;
        assert_eq!(said(&bad), "Warning: the newest copy failed verification: vm/100");
    }

    #[test]
    fn a_disabled_job_is_left_alone_and_a_broken_section_is_critical() {
        let mut off = facts(&[("vm/100", 99)]);
        (off.config.disable, off.state) = (Some(true), failed_run());
        assert_eq!(said(&off), "Ok: ");
        assert!(judge_job(&off, NOW).disabled);

        let broken = config::check::Finding {
            file: "/sync.cfg".into(),
            line: 3,
            severity: config::check::Severity::Error,
            reason: "x".into(),
        };
        let health = judge(&Facts { jobs: vec![off], broken: vec![broken] }, NOW);
        assert_eq!(health.status, Level::Critical);
    }

    #[test]
    fn a_job_is_described_by_where_it_copies_from_and_to() {
        let mut job = facts(&[]).config;
        assert_eq!(way(&job), "there -> here");
        job.remote = Some("pbs2".parse().unwrap());
        (job.ns, job.sync_direction) = (Some("a/b".parse().unwrap()), Some(config::SyncDirection::Push));
        assert_eq!(way(&job), "here/a/b -> pbs2:there");
    }
}
