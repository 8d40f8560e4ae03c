//! `rate-schedule`: rates that hold at certain times of the week, by the wall clock.
//!
//! Nothing here looks at a clock: the time comes from the caller, as the local date and time. So a change to or from
//! summer time needs no rule of its own: an hour that is left out matches nothing, one that comes twice matches twice.

use std::{fmt, str::FromStr, time::Duration};

use calendar::Weekdays;
use chrono::{Datelike, Days, NaiveDateTime, NaiveTime, Timelike, Weekday};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::byte_size::ByteSize;

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// Most windows in one schedule.
const MAX_WINDOWS: usize = 64;

/// Windows of the week, each with a rate: `mon..fri 08:00-18:00 2MiB, 22:00-06:00 unlimited`.
///
/// The first window that holds a moment counts. A window whose end is not after its start lasts until the next day; its
/// weekdays are those on which it starts. The end is exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSchedule {
    text: String,
    windows: Vec<Window>,
}

/// The rate at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAt {
    /// No window holds the moment: the job's own rates.
    Job,
    /// No limit.
    Unlimited,
    /// This many bytes per second, in either direction.
    Limit(u64),
}

/// A text that is no schedule: which window, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("window `{window}`: {reason}")]
pub struct BadSchedule {
    window: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    days: Weekdays,
    /// Minutes since midnight.
    start: u32,
    /// Minutes since midnight, up to 24:00; not after `start` if it is of the next day.
    end: u32,
    rate: RateAt,
}

impl RateSchedule {
    /// The rate at `now` by the local clock.
    pub fn rate_at(&self, now: NaiveDateTime) -> RateAt {
        self.windows.iter().find(|window| window.holds(now)).map_or(RateAt::Job, |window| window.rate)
    }

    /// Time until the next moment at which some window begins or ends, at most a day.
    pub fn until_next_border(&self, now: NaiveDateTime) -> Duration {
        let borders = self.windows.iter().flat_map(|window| [window.start, window.end % DAY]);
        let until = |minute: u32| {
            let at = NaiveTime::from_hms_opt(minute / 60, minute % 60, 0)?;
            let today = now.date().and_time(at);
            let next = if today > now { today } else { today.checked_add_days(Days::new(1))? };
            (next - now).to_std().ok()
        };
        borders.filter_map(until).min().unwrap_or(Duration::from_secs(86_400))
    }
}

impl Window {
    fn holds(&self, now: NaiveDateTime) -> bool {
        let minute = now.hour() * 60 + now.minute();
        let on = |day: Weekday| self.days.contains(day);
        let today = now.weekday();
        if self.start < self.end {
            return on(today) && (self.start..self.end).contains(&minute);
        }
        (on(today) && minute >= self.start) || (on(today.pred()) && minute < self.end)
    }
}

impl FromStr for RateSchedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let mut windows = Vec::new();
        let mut days_before = String::new();
        for item in text.split(',').map(str::trim) {
            let window = format!("{days_before}{item}");
            let bad = |reason: String| BadSchedule { window: window.clone(), reason };
            // `sat,sun 10:00-12:00 1MiB`: a list of days has commas too.
            if !item.is_empty() && !item.contains(char::is_whitespace) && parse_days(item).is_ok() {
                days_before.push_str(item);
                days_before.push(',');
                continue;
            }
            windows.push(parse_window(&window).map_err(bad)?);
            days_before.clear();
        }
        if !days_before.is_empty() {
            let window = days_before.trim_end_matches(',').to_owned();
            return Err(BadSchedule { window, reason: "has no times and no rate".into() });
        }
        if windows.len() > MAX_WINDOWS {
            return Err(BadSchedule { window: "...".into(), reason: format!("more than {MAX_WINDOWS} windows") });
        }
        Ok(Self { text: text.trim().to_owned(), windows })
    }
}

/// `[DAYS ]HH:MM-HH:MM RATE`.
fn parse_window(text: &str) -> Result<Window, String> {
    let form = "write [DAYS] HH:MM-HH:MM RATE, for example mon..fri 08:00-18:00 2MiB";
    if text.is_empty() {
        return Err(format!("is empty; {form}"));
    }
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (days, times) = if first.starts_with(|c: char| c.is_ascii_digit()) {
        (Weekdays::ALL, first)
    } else {
        (parse_days(first)?, words.next().ok_or_else(|| format!("has no times; {form}"))?)
    };
    let (start, end) = times.split_once('-').ok_or_else(|| format!("`{times}` is no span of time; {form}"))?;
    let (start, end) = (parse_time(start)?, parse_time(end)?);
    if start == DAY {
        return Err("cannot start at 24:00; write 00:00".into());
    }
    if start == end {
        return Err("begins and ends at the same time; for a whole day write 00:00-24:00".into());
    }
    // A unit may stand apart from its number: `2 MiB`.
    let rate: Vec<&str> = words.collect();
    let rate = match rate.join(" ") {
        rate if rate.is_empty() => return Err(format!("has no rate; {form}, or `unlimited`")),
        rate if rate.eq_ignore_ascii_case("unlimited") => RateAt::Unlimited,
        rate => {
            let bytes = rate.parse::<ByteSize>().map_err(|error| format!("rate `{rate}`: {error}"))?.bytes();
            if bytes == 0 {
                return Err("a rate of 0 is ambiguous; write `unlimited` for no limit".into());
            }
            RateAt::Limit(bytes)
        }
    };
    Ok(Window { days, start, end, rate })
}

/// `mon`, `mon..fri` or a comma list of these; `sat..mon` goes over the end of the week.
fn parse_days(text: &str) -> Result<Weekdays, String> {
    let day = |name: &str| {
        let known = name.parse::<Weekday>().ok().filter(|_| name.len() == 3);
        known.ok_or_else(|| format!("`{name}` is no day of the week; write mon tue wed thu fri sat sun, or mon..fri"))
    };
    text.split(',').try_fold(Weekdays::NONE, |days, part| {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        Ok(days.and(Weekdays::between(day(first)?, day(last)?)))
    })
}

/// `HH:MM` or `HH`, up to `24:00`; in minutes.
fn parse_time(text: &str) -> Result<u32, String> {
    let bad = || format!("`{text}` is no time of the day; write 00:00 to 24:00");
    let number = |text: &str| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits).ok_or_else(bad)
    };
    let (hour, minute) = match text.split_once(':') {
        Some((hour, minute)) => (number(hour)?, number(minute)?),
        None => (number(text)?, 0),
    };
    let minutes = hour * 60 + minute;
    if minute > 59 || minutes > DAY { Err(bad()) } else { Ok(minutes) }
}

impl fmt::Display for RateSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for RateSchedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for RateSchedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, FixedOffset};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn schedule(text: &str) -> RateSchedule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn at(schedule: &RateSchedule, time: &str) -> RateAt {
        schedule.rate_at(time.parse().unwrap())
    }

    // 2026-06-01 is a Monday.
    #[test]
    fn a_window_holds_from_its_start_to_just_before_its_end_on_its_days() {
        let office = schedule("mon..fri 08:00-18:00 2MiB");

        assert_eq!(at(&office, "2026-06-01T07:59:59"), RateAt::Job);
        assert_eq!(at(&office, "2026-06-01T08:00:00"), RateAt::Limit(2 * MIB));
        assert_eq!(at(&office, "2026-06-05T17:59:59"), RateAt::Limit(2 * MIB));
        assert_eq!(at(&office, "2026-06-05T18:00:00"), RateAt::Job);
        assert_eq!(at(&office, "2026-06-06T12:00:00"), RateAt::Job);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        let nights = schedule("fri 22:00-06:00 unlimited");

        assert_eq!(at(&nights, "2026-06-05T21:59:00"), RateAt::Job);
        assert_eq!(at(&nights, "2026-06-05T22:00:00"), RateAt::Unlimited);
        assert_eq!(at(&nights, "2026-06-06T05:59:59"), RateAt::Unlimited);
        assert_eq!(at(&nights, "2026-06-06T06:00:00"), RateAt::Job);
        assert_eq!(at(&nights, "2026-06-05T03:00:00"), RateAt::Job, "the night before is Thursday's");
        assert_eq!(at(&schedule("sun 22:00-06:00 unlimited"), "2026-06-08T01:00:00"), RateAt::Unlimited);
    }

    #[test]
    fn the_first_window_that_holds_counts() {
        let text = "12:00-13:00 unlimited, mon..fri 08:00-18:00 2MiB, 22:00-06:00 unlimited, 0:00-24:00 1 MB";
        let schedule = schedule(text);

        assert_eq!(at(&schedule, "2026-06-01T12:30:00"), RateAt::Unlimited);
        assert_eq!(at(&schedule, "2026-06-01T13:00:00"), RateAt::Limit(2 * MIB));
        assert_eq!(at(&schedule, "2026-06-02T05:00:00"), RateAt::Unlimited);
        assert_eq!(at(&schedule, "2026-06-06T13:00:00"), RateAt::Limit(1_000_000));
        assert_eq!(schedule.to_string(), text);
    }

    #[test]
    fn days_are_lists_and_ranges_also_over_the_end_of_the_week() {
        for (days, on) in [
            ("sat,sun", "0000011"),
            ("sat..mon", "1000011"),
            ("mon,wed..fri", "1011100"),
            ("SUN", "0000001"),
            ("mon..sun", "1111111"),
        ] {
            let schedule = schedule(&format!("{days} 10-12 1k"));
            let found: String = (1..=7)
                .map(|day| if at(&schedule, &format!("2026-06-0{day}T11:00:00")) == RateAt::Job { '0' } else { '1' })
                .collect();
            assert_eq!(found, on, "{days}");
        }
    }

    /// The rates at each half hour between two moments, the clock going from one offset to another at `change`.
    fn through(schedule: &RateSchedule, from: &str, change: &str, before: i32, after: i32) -> Vec<RateAt> {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let (from, change) = (time(from), time(change));
        (0..8)
            .map(|step| {
                let moment = from + chrono::TimeDelta::minutes(30 * step);
                let hours = if moment < change { before } else { after };
                schedule.rate_at(moment.with_timezone(&FixedOffset::east_opt(hours * 3600).unwrap()).naive_local())
            })
            .collect()
    }

    #[test]
    fn an_hour_that_summer_time_leaves_out_matches_nothing_and_one_that_comes_twice_twice() {
        let schedule = schedule("02:00-03:00 1MiB");
        let (job, limit) = (RateAt::Job, RateAt::Limit(MIB));

        // Berlin, 29 March 2026: 02:00 is followed by 03:00.
        let spring = through(&schedule, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", 1, 2);
        // 25 October 2026: 03:00 is followed by 02:00.
        let autumn = through(&schedule, "2026-10-24T23:00:00Z", "2026-10-25T01:00:00Z", 2, 1);

        assert_eq!(spring, [job; 8]);
        assert_eq!(autumn, [job, job, limit, limit, limit, limit, job, job]);
    }

    #[test]
    fn the_next_border_is_the_nearest_start_or_end() {
        let schedule = schedule("mon..fri 08:00-18:00 2MiB, 22:00-24:00 unlimited");
        let until = |time: &str| schedule.until_next_border(time.parse().unwrap()).as_secs();

        assert_eq!(until("2026-06-01T07:59:30"), 30);
        assert_eq!(until("2026-06-01T08:00:00"), 10 * 3600);
        assert_eq!(until("2026-06-01T23:00:00"), 3600);
        assert_eq!(until("2026-06-01T00:00:00"), 8 * 3600);
    }

    #[test]
    fn errors_name_the_window_and_what_is_wrong_with_it() {
        for (text, window, reason) in [
            ("", "", "is empty"),
            ("08:00-18:00 2MiB,", "", "is empty"),
            ("mon..fri", "mon..fri", "has no times"),
            ("mon 08:00-18:00", "mon 08:00-18:00", "has no rate"),
            ("mo 08:00-18:00 1k", "mo 08:00-18:00 1k", "`mo` is no day of the week"),
            ("mon..fry 08:00-18:00 1k", "mon..fry 08:00-18:00 1k", "`fry` is no day"),
            ("08:00-18:00 1k, 08:00 2k", "08:00 2k", "`08:00` is no span"),
            ("08:60-18:00 1k", "08:60-18:00 1k", "`08:60` is no time"),
            ("08:00-24:01 1k", "08:00-24:01 1k", "`24:01` is no time"),
            ("24:00-08:00 1k", "24:00-08:00 1k", "cannot start at 24:00"),
            ("08:00-08:00 1k", "08:00-08:00 1k", "00:00-24:00"),
            ("08:00-18:00 fast", "08:00-18:00 fast", "rate `fast`"),
            ("08:00-18:00 0", "08:00-18:00 0", "write `unlimited`"),
            ("+8:00-18:00 1k", "+8:00-18:00 1k", "no day of the week"),
        ] {
            let error = text.parse::<RateSchedule>().unwrap_err();
            assert_eq!(error.window, window, "{text}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
