//! One row per rule.

use super::*;
use config::circles;

/// Checks what is decided about job `j` with these properties, whose last run started at 06-01 02:30, after `change`.
fn check(properties: &str, change: impl FnOnce(&mut JobFacts), now: &str, expected: &str) {
    let job = job("job", properties);
    let mut facts = facts(&job, "06-01 02:30");
    change(&mut facts);
    assert_eq!(decided(&[facts], now), expected, "{properties} at {now}");
}

#[test]
fn a_job_starts_at_the_first_event_after_the_start_of_its_last_run() {
    check("schedule 02:30", |_| {}, "06-02 02:29", "job: not due, next 06-02 02:30");
    check("schedule 02:30", |_| {}, "06-02 02:30", "job: start by its schedule");
    // Missed events are one: of a week without the scheduler one run is left, and then the next event.
    check("schedule 02:30", |_| {}, "06-09 02:30", "job: start by its schedule");
    let late = |facts: &mut JobFacts| facts.state = ran(at("06-09 02:31"), at("06-09 03:00"));
    check("schedule 02:30", late, "06-09 04:00", "job: not due, next 06-10 02:30");
    // A run that outran its next events starts once more, and shows that: the start counts, not the end.
    let long = |facts: &mut JobFacts| facts.state = ran(at("06-01 02:30"), at("06-01 05:10"));
    check("schedule hourly", long, "06-01 05:10", "job: start by its schedule");
    // An interval counts from the start as well.
    check("schedule every 5min", |_| {}, "06-01 02:34", "job: not due, next 06-01 02:35");
    check("schedule every 5min", |_| {}, "06-01 02:35", "job: start by its schedule");
}

#[test]
fn a_job_without_an_event_says_why_it_waits() {
    check("", |_| {}, "06-02 02:30", "job: no schedule, starts by hand");
    check("schedule 2026-06-01 02:30", |_| {}, "06-02 02:30", "job: its schedule has no event any more");
    check("schedule 02:30; disable true", |_| {}, "06-02 02:30", "job: disabled");
}

#[test]
fn a_new_job_waits_for_its_first_event_after_it_was_made() {
    let created = |facts: &mut JobFacts| facts.state = Some(JobState::Created { time: at("06-02 02:31") });
    check("schedule 02:30", created, "06-02 04:00", "job: not due, next 06-03 02:30");
    // One that nobody announced counts as made when its file was written, if that was a moment ago.
    for (edited, expected) in [
        ("06-02 02:29", "job: start by its schedule"),
        ("06-01 02:29", "job: start by its schedule"),
        ("06-02 02:30", "job: not due, next 06-03 02:30"),
    ] {
        let seen = |facts: &mut JobFacts| {
            facts.state = None;
            facts.memory = Memory::observe(None, &facts.job, None, at(edited), at("06-02 02:30"));
        };
        check("schedule 02:30", seen, "06-02 02:30", expected);
    }
    let lost = |facts: &mut JobFacts| {
        facts.state = None;
        facts.memory = Memory::observe(None, &facts.job, None, at("01-01 00:00"), at("06-02 04:00"));
    };
    check("schedule 02:30", lost, "06-02 04:00", "job: not due, next 06-03 02:30");
}

#[test]
fn a_changed_schedule_counts_from_its_change_and_nothing_else_does() {
    let before = job("job", "schedule 02:30");
    let known = facts(&before, "06-01 02:30");
    let known = Memory::observe(None, &before, known.state.as_ref(), at("05-01 00:00"), at("06-01 03:00"));
    let edit = |properties: &'static str, edited: &'static str, now: &'static str, expected: &str| {
        let seen = |facts: &mut JobFacts| {
            facts.memory = Memory::observe(Some(&known), &facts.job, facts.state.as_ref(), at(edited), at(now));
        };
        check(properties, seen, now, expected);
    };
    // The event of the morning is none of the new schedule's.
    edit("schedule 09:00", "06-01 10:00", "06-01 10:01", "job: not due, next 06-02 09:00");
    // But one between the change and the tick that sees it is.
    edit("schedule 10:00", "06-01 09:59", "06-01 10:00", "job: start by its schedule");
    // Another comment, or another way to write the same, loses no event.
    edit("schedule *-*-* 02:30:00; comment x", "06-02 02:31", "06-02 02:31", "job: start by its schedule");
    // What a disabled job missed is not made up for when it is enabled.
    let off = job("job", "schedule 02:30; disable true");
    let off = Memory::observe(Some(&known), &off, None, at("06-01 04:00"), at("06-01 04:01"));
    let on = |facts: &mut JobFacts| {
        facts.memory =
            Memory::observe(Some(&off), &facts.job, facts.state.as_ref(), at("06-05 12:00"), at("06-05 12:01"));
    };
    check("schedule 02:30", on, "06-05 12:01", "job: not due, next 06-06 02:30");
}

#[test]
fn a_job_never_runs_beside_itself() {
    check("schedule 02:30", |facts| facts.running = true, "06-03 00:00", "job: running, next 06-02 02:30");
    let requested = |facts: &mut JobFacts| (facts.running, facts.requested) = (true, true);
    check("schedule 02:30", requested, "06-03 00:00", "job: running, next 06-02 02:30");
}

#[test]
fn a_start_is_made_again_when_nothing_came_of_it_within_a_minute() {
    let handed = |facts: &mut JobFacts| {
        let previous = facts.state.as_ref().and_then(JobState::upid).cloned();
        facts.memory.started = Some(super::super::memory::Handover { at: at("06-02 02:30"), previous });
    };
    check("schedule 02:30", handed, "06-02 02:30", "job: starting, next 06-02 02:30");
    check("schedule 02:30", handed, "06-02 02:31", "job: start by its schedule");
    // It said so in time, and its next run is due by now.
    let taken = |facts: &mut JobFacts| {
        handed(facts);
        facts.state = ran(at("06-02 02:30"), at("06-02 02:30"));
    };
    check("schedule every 1s", taken, "06-02 02:31", "job: start by its schedule");
}

#[test]
fn what_was_asked_for_starts_whatever_the_settings_say() {
    check("", |facts| facts.requested = true, "06-01 04:00", "job: start on request");
    check("disable true", |facts| facts.requested = true, "06-01 04:00", "job: start on request");
    let unmet =
        |facts: &mut JobFacts| (facts.requested, facts.conditions) = (true, Conditions::Unmet("ac-power".into()));
    check("schedule 02:30", unmet, "06-01 04:00", "job: start on request");
}

#[test]
fn a_condition_that_does_not_hold_keeps_a_job_that_is_due_waiting() {
    let unmet = |facts: &mut JobFacts| facts.conditions = Conditions::Unmet("ac-power (on battery)".into());
    check("schedule 02:30", unmet, "06-02 03:00", "job: waiting for ac-power (on battery), next 06-02 02:30");
    check("schedule 02:30", unmet, "06-02 02:00", "job: not due, next 06-02 02:30");
}

#[test]
fn a_failed_run_is_tried_again_at_its_time_or_with_the_next_event() {
    let failed = |facts: &mut JobFacts| (facts.failures, facts.retry_at) = (2, Some(at("06-01 04:00")));
    check("", failed, "06-01 03:59", "job: failed 2 times in a row, will try again, next 06-01 04:00");
    check("", failed, "06-01 04:00", "job: start to try again");
    check("schedule hourly", failed, "06-01 03:10", "job: start by its schedule");
    check("disable true", failed, "06-01 04:00", "job: disabled");
    let given_up = |facts: &mut JobFacts| facts.failures = 1;
    check("schedule 02:30", given_up, "06-01 04:00", "job: failed once, waits for its next event, next 06-02 02:30");
    // A pause of the job's own may be longer than any other.
    let patient = |facts: &mut JobFacts| facts.retry_at = Some(at("06-03 02:30"));
    check(
        "retry-interval 2d",
        patient,
        "06-01 04:00",
        "job: failed 0 times in a row, will try again, next 06-03 02:30",
    );
}

#[test]
fn a_job_follows_the_good_end_of_another_once() {
    let leader = job("leader", "schedule 02:30");
    let (follower, both) = (job("follower", "after leader"), job("follower", "after leader; schedule 12:00"));
    let ends = |follower: &SyncJobConfig, end: Option<&str>, last_start: &str, now: &str| {
        let mut first = facts(&leader, "06-02 02:30");
        first.last_good = end.map(at);
        let decisions = decide(&[first, facts(follower, last_start)], at(now), Tz::UTC, 4);
        brief(&decisions.into_iter().filter(|decision| decision.id.as_str() == "follower").collect::<Vec<_>>())
    };
    assert_eq!(ends(&follower, Some("06-02 03:30"), "06-01 03:30", "06-02 03:30"), "follower: start after leader");
    assert_eq!(
        ends(&follower, Some("06-02 03:30"), "06-02 03:30", "06-02 03:31"),
        "follower: waits for leader to end well"
    );
    assert_eq!(ends(&follower, None, "06-01 03:30", "06-02 03:30"), "follower: waits for leader to end well");
    assert_eq!(ends(&both, Some("06-02 03:30"), "06-01 12:00", "06-02 03:30"), "follower: start after leader");
    assert_eq!(ends(&both, Some("06-02 03:30"), "06-02 03:31", "06-02 04:00"), "follower: not due, next 06-02 12:00");
    assert_eq!(ends(&both, Some("06-02 03:30"), "06-02 03:31", "06-02 12:00"), "follower: start by its schedule");
    // What ended before the follower was made, or before it was told to follow, does not count.
    let mut made = facts(&follower, "06-01 03:30");
    made.state = Some(JobState::Created { time: at("06-02 04:00") });
    let mut first = facts(&leader, "06-02 02:30");
    first.last_good = Some(at("06-02 03:30"));
    assert_eq!(
        decided(&[made, first], "06-02 05:00"),
        "follower: waits for leader to end well; leader: not due, next 06-03 02:30"
    );
}

#[test]
fn who_follows_nobody_or_itself_is_named_and_keeps_its_schedule() {
    check("after gone", |_| {}, "06-02 03:00", "job: follows gone, which is not there or cannot be used");
    check("after gone; schedule 02:30", |_| {}, "06-02 02:30", "job: start by its schedule");

    let jobs = [
        job("ccc", "after aaa"),
        job("bbb", "after ccc"),
        job("aaa", "after bbb; schedule 02:30"),
        job("outside", "after aaa"),
    ];
    assert_eq!(circles(&jobs), [["aaa", "bbb", "ccc"].map(|id| id.parse().unwrap())]);
    let all: Vec<JobFacts> = jobs.iter().map(|job| facts(job, "06-01 02:30")).collect();
    let circle = "jobs that wait for each other: aaa, bbb, ccc";
    assert_eq!(
        decided(&all, "06-02 02:00"),
        format!("outside: start after aaa; aaa: not due, next 06-02 02:30; bbb: {circle}; ccc: {circle}")
    );
}

#[test]
fn what_is_due_longest_starts_first_and_no_more_than_max_jobs_run() {
    let jobs =
        [job("bbb", "schedule 02:30"), job("aaa", "schedule 02:30"), job("old", "schedule 01:00"), job("asked", "")];
    let mut all: Vec<JobFacts> = jobs.iter().map(|job| facts(job, "06-01 00:30")).collect();
    let last = |all: &[JobFacts]| brief(&decide(all, at("06-01 03:00"), Tz::UTC, 2));
    let full = "waiting: 2 jobs run already (max-jobs), next 06-01";
    assert_eq!(
        last(&all),
        format!(
            "old: start by its schedule; aaa: start by its schedule; asked: no schedule, starts by hand; bbb: {full} 02:30"
        )
    );
    // What runs counts, what waits for a condition does not; what was asked for is not held up.
    (all[2].running, all[1].conditions, all[3].requested) = (true, Conditions::Unmet("x".into()), true);
    assert_eq!(
        last(&all),
        format!(
            "asked: start on request; aaa: waiting for x, next 06-01 02:30; bbb: {full} 02:30; old: running, next 06-01 01:00"
        )
    );
    all[3].requested = false;
    assert!(last(&all).starts_with("bbb: start by its schedule; aaa: waiting for x"), "{}", last(&all));
}
