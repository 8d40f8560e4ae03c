//! The rates of a job: its own, and those of its schedule while it runs.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDateTime;
use client::Traffic;
use config::{ByteSize, RateAt, RateSchedule, SyncJobConfig};

/// The clock is looked at this often at least: it may be set, or go to summer time, meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What a job says about rates, and what was said to its run. Clones are about the same run.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    inbound: (Option<u64>, Option<u64>),
    outbound: (Option<u64>, Option<u64>),
    schedule: Option<RateSchedule>,
    told: Arc<Mutex<Told>>,
    held: Arc<AtomicBool>,
}

/// Rates that hold until a run ends, whatever job and schedule say: bytes per second, or `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) inbound: Option<Option<u64>>,
    pub(crate) outbound: Option<Option<u64>>,
}

/// The local date and time.
pub(crate) fn local_now() -> NaiveDateTime {
    chrono::Local::now().naive_local()
}

impl Rates {
    pub(crate) fn of(job: &SyncJobConfig) -> Self {
        // 0 means no limit in a file.
        let rate = |size: &Option<ByteSize>| size.as_ref().and_then(ByteSize::as_bytes_per_second);
        let burst = |size: &Option<ByteSize>| size.as_ref().map(ByteSize::bytes);
        Self {
            inbound: (rate(&job.rate_in), burst(&job.burst_in)),
            outbound: (rate(&job.rate_out), burst(&job.burst_out)),
            schedule: job.rate_schedule.clone(),
            told: Arc::default(),
            held: Arc::default(),
        }
    }

    /// Lets what is given hold until the run ends; what is not given stays as it is. Has effect with the next
    /// [`Rates::set`].
    pub(crate) fn tell(&self, told: Told) {
        let mut now = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        now.inbound = told.inbound.or(now.inbound);
        now.outbound = told.outbound.or(now.outbound);
    }

    /// Lets nothing pass at all, or no longer. Has effect with the next [`Rates::set`].
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// What holds at `now`, unless the run is held: bytes per second in and out, with their bursts.
    pub(crate) fn at(&self, now: NaiveDateTime) -> [(Option<u64>, Option<u64>); 2] {
        let now = self.schedule.as_ref().map_or(RateAt::Job, |schedule| schedule.rate_at(now));
        let (inbound, outbound) = match now {
            RateAt::Job => (self.inbound, self.outbound),
            RateAt::Unlimited => ((None, None), (None, None)),
            RateAt::Limit(rate) => ((Some(rate), None), (Some(rate), None)),
        };
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let or = |told: Option<Option<u64>>, else_| told.map_or(else_, |rate| (rate, None));
        [or(told.inbound, inbound), or(told.outbound, outbound)]
    }

    /// Sets what holds at `now`.
    pub(crate) fn set(&self, traffic: &Traffic, now: NaiveDateTime) {
        let held = self.held.load(Ordering::SeqCst);
        let [inbound, outbound] = if held { [(Some(0), None); 2] } else { self.at(now) };
        traffic.set_rate_in(inbound.0, inbound.1);
        traffic.set_rate_out(outbound.0, outbound.1);
    }

    /// Sets what holds at every border of the schedule by `clock`, for ever.
    pub(crate) async fn follow(&self, traffic: Option<&Traffic>, clock: impl Fn() -> NaiveDateTime) -> Infallible {
        let (Some(schedule), Some(traffic)) = (&self.schedule, traffic) else {
            return std::future::pending().await;
        };
        let mut last = schedule.rate_at(clock());
        loop {
            let now = clock();
            let rate = schedule.rate_at(now);
            if rate != last {
                self.set(traffic, now);
                last = rate;
            }
            tokio::time::sleep(schedule.until_next_border(now).min(LOOK_AGAIN)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn rates(schedule: &str) -> Rates {
        let mut job =
            SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        job.rate_in = Some("1000".parse().unwrap());
        job.rate_schedule = Some(schedule.parse().unwrap());
        Rates::of(&job)
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut job =
            SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        (job.rate_in, job.rate_out) = (Some("0".parse().unwrap()), Some("1 KiB".parse().unwrap()));
        let rates = Rates::of(&job);
        assert_eq!((rates.inbound.0, rates.outbound.0), (None, Some(1024)));
    }

    #[test]
    fn what_a_run_is_told_holds_whatever_the_schedule_says_and_for_its_direction_alone() {
        let rates = rates("08:00-09:00 100, 09:00-10:00 unlimited");
        rates.clone().tell(Told { inbound: Some(Some(7)), outbound: None });

        let at = |time: &str| rates.at(format!("2026-06-01T{time}").parse().unwrap()).map(|(rate, _)| rate);
        assert_eq!(at("08:30:00"), [Some(7), Some(100)]);
        assert_eq!(at("09:30:00"), [Some(7), None]);
        rates.tell(Told { inbound: Some(None), outbound: Some(Some(5)) });
        assert_eq!(at("08:30:00"), [None, Some(5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_changes_at_the_borders_while_a_job_runs() {
        let rates = rates("08:00-09:00 100, 09:00-10:00 unlimited");
        let traffic = Traffic::new();
        let began = Instant::now();
        let start: NaiveDateTime = "2026-06-01T07:59:50".parse().unwrap();
        let clock = || start + began.elapsed();
        rates.set(&traffic, clock());

        let work = async {
            // 10 s at the job's 1000 B/s, an hour at 100 B/s, then no limit.
            traffic.pay(10_000 + 360_000 + (1 << 40)).await;
            began.elapsed().as_secs_f64()
        };
        let seconds = tokio::select! {
            never = rates.follow(Some(&*traffic), clock) => match never {},
            seconds = work => seconds,
        };

        assert!((3609.0..=3611.0).contains(&seconds), "{seconds}");
    }
}
