//! The clock is set: nothing runs twice, and nothing waits for ever.

use config::SyncJobConfig;

use super::*;

/// A host with one job and a clock that anybody may set. Ticks happen when told to.
struct Host {
    job: SyncJobConfig,
    state: Option<JobState>,
    memory: Option<Memory>,
}

impl Host {
    fn new(properties: &str, last_start: &str) -> Self {
        let start = at(last_start);
        Self { job: job("job", properties), state: ran(start, start + 60), memory: None }
    }

    /// A tick every minute from `from` to `to`; the starts.
    fn ticks(&mut self, from: &str, to: &str) -> Vec<String> {
        let mut starts = Vec::new();
        for now in (at(from)..=at(to)).step_by(60) {
            let memory = Memory::observe(self.memory.as_ref(), &self.job, self.state.as_ref(), 0, now);
            let mut facts = facts(&self.job, "01-01 00:00");
            (facts.state, facts.memory) = (self.state.clone(), memory.clone());
            self.memory = Some(memory);
            if matches!(decide(&[facts], now, Tz::UTC, 1)[0].verdict, Verdict::Start(_)) {
                self.state = ran(now, now + 10);
                starts.push(shown(now));
            }
        }
        starts
    }
}

#[test]
fn events_that_the_clock_jumped_over_are_one_run() {
    let mut host = Host::new("schedule hourly", "06-01 10:00");
    assert_eq!(host.ticks("06-01 10:01", "06-01 10:30"), [""; 0]);
    assert_eq!(host.ticks("06-03 15:30", "06-03 17:00"), ["06-03 15:30", "06-03 16:00", "06-03 17:00"]);
}

#[test]
fn after_a_small_step_back_no_event_comes_twice() {
    let mut host = Host::new("schedule hourly", "06-01 10:00");
    assert_eq!(host.ticks("06-01 10:01", "06-01 12:10"), ["06-01 11:00", "06-01 12:00"]);
    // Back to before both; the next event is the next one.
    assert_eq!(host.ticks("06-01 10:30", "06-01 14:00"), ["06-01 13:00", "06-01 14:00"]);
}

#[test]
fn a_step_back_that_a_daily_job_sleeps_through_does_not_repeat_its_night() {
    let mut host = Host::new("schedule 02:30", "06-01 02:30");
    assert_eq!(host.ticks("06-02 02:00", "06-02 03:00"), ["06-02 02:30"]);
    assert_eq!(host.ticks("06-01 20:00", "06-03 02:30"), ["06-03 02:30"]);
}

#[test]
fn after_a_correction_the_job_goes_on_with_the_next_event() {
    // A machine starts with a clock that is months ahead, runs what it seems to have missed, and is then told the time.
    for (schedule, expected) in
        [("hourly", vec!["06-01 11:00", "06-01 12:00"]), ("every 1h", vec!["06-01 11:15", "06-01 12:15"])]
    {
        let mut host = Host::new(&format!("schedule {schedule}"), "06-01 10:00");
        assert_eq!(host.ticks("11-20 08:30", "11-20 08:40"), ["11-20 08:30"]);
        assert_eq!(host.ticks("06-01 10:15", "06-01 12:20"), expected, "{schedule}");
    }
    let mut rare = Host::new("schedule yearly", "06-01 10:00");
    rare.state = ran(at("06-01 10:00") + 30 * 365 * 86_400, 0);
    assert_eq!(rare.ticks("12-31 23:50", "12-31 23:59"), [""; 0]);
    assert_eq!(rare.memory.unwrap().ahead.unwrap().seen, at("12-31 23:50"), "counts from when it was noticed");
}

#[test]
fn a_retry_and_a_follower_do_not_wait_for_a_clock_that_was_ahead() {
    let plain = job("job", "");
    let mut failed = facts(&plain, "06-01 02:30");
    failed.retry_at = Some(at("11-20 08:30"));
    assert_eq!(decided(&[failed], "06-01 10:15"), "job: start to try again");

    let (leader, follower) = (job("leader", ""), job("follower", "after leader"));
    let now = "06-01 10:15";
    let mut first = facts(&leader, "06-01 09:00");
    let mut second = facts(&follower, "11-20 08:30");
    second.memory = Memory::observe(None, &follower, second.state.as_ref(), 0, at("06-01 09:30"));
    assert_eq!(
        decided(&[first.clone(), second.clone()], now),
        "follower: start after leader; leader: no schedule, starts by hand"
    );

    // The leader's good end lies ahead: it is followed once, not at every tick.
    first.last_good = Some(at("11-20 09:00"));
    second.state = ran(at("06-01 08:00"), at("06-01 08:30"));
    assert!(decided(&[first.clone(), second.clone()], now).starts_with("follower: start after leader"));
    second.memory.followed = first.last_good;
    assert!(decided(&[first, second], now).starts_with("follower: waits for leader"));
}
