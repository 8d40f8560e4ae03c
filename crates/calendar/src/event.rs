//! Calendar events: `mon..fri 22:30`, `*-*~1 02:00 UTC`, `daily`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

use crate::difference::{Difference, Reading};
use crate::field::{Field, Item};
use crate::grammar::{self, Core, Date, Number, Stop, Time};
use crate::meaning::{field, optional};
use crate::problem::{BadEvent, Problem, Unit};
use crate::span::TimeSpan;
use crate::weekdays::Weekdays;
use crate::zone::EventZone;

/// Names for common events, and what they stand for.
const SHORTHANDS: [(&str, &str); 13] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("anually", "*-01-01 00:00:00"),
];

/// Those that a stock server does not know.
const SYSTEMD_SHORTHANDS: [&str; 3] = ["biannually", "bi-annually", "anually"];

/// A calendar event: what systemd.time(7) calls one, and what a stock server's schedules are.
///
/// Read from everything that either takes, with systemd's meaning where both take a text and differ. Printed as systemd
/// prints its normalized form, which is read back as an equal event. Two events are equal if they match the same way,
/// however they were written.
#[derive(Clone, Debug)]
pub struct CalendarEvent {
    moments: Moments,
    differences: Vec<Difference>,
}

/// What matches: a second whose every part does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moments {
    pub(crate) weekdays: Weekdays,
    pub(crate) years: Field,
    pub(crate) months: Field,
    pub(crate) days: Field,
    /// Whether `days` count from the end of the month, the last one being 1.
    pub(crate) from_end: bool,
    pub(crate) hours: Field,
    pub(crate) minutes: Field,
    pub(crate) seconds: Field,
    pub(crate) zone: EventZone,
}

impl CalendarEvent {
    /// Returns the smallest second after `after` that matches; none if there is none up to the year 2199.
    ///
    /// Times are seconds since 1970 in UTC. `local` is the zone of the host, for events without one of their own. A time
    /// that summer time leaves out does not match; one that comes twice matches the first time only.
    pub fn next_after(&self, after: i64, local: Tz) -> Option<i64> {
        self.moments.next_after(after, local)
    }

    /// Whose grammar the text was read by: the stock server's only where systemd refuses it.
    pub fn reading(&self) -> Reading {
        let pbs = self.differences.iter().any(|difference| difference.reading() == Reading::Pbs);
        if pbs { Reading::Pbs } else { Reading::Systemd }
    }

    /// What systemd and a stock server do not read alike in the text it was read from, each once.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }
}

impl PartialEq for CalendarEvent {
    fn eq(&self, other: &Self) -> bool {
        self.moments == other.moments
    }
}

impl Eq for CalendarEvent {}

impl Hash for CalendarEvent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.moments.hash(state);
    }
}

impl fmt::Display for CalendarEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moments { weekdays, years, months, days, from_end, hours, minutes, seconds, zone } = &self.moments;
        if *weekdays != Weekdays::ALL {
            write!(f, "{weekdays} ")?;
        }
        let mark = if *from_end { '~' } else { '-' };
        write!(f, "{years}-{months}{mark}{days} {hours}:{minutes}:{seconds}{zone}")
    }
}

impl FromStr for CalendarEvent {
    type Err = BadEvent;

    fn from_str(text: &str) -> Result<Self, BadEvent> {
        let mut differences = Vec::new();
        match read(text, &mut differences) {
            Ok(moments) => {
                differences.sort_unstable();
                differences.dedup();
                Ok(Self { moments, differences })
            }
            Err(stop) => {
                let at = text.len().saturating_sub(stop.left);
                let (at, problem) = other_language(text).map_or((at, stop.problem), |problem| (0, problem));
                Err(BadEvent { text: text.to_owned(), at, problem })
            }
        }
    }
}

/// Whether a text that cannot be read is something else that tells when to run.
fn other_language(text: &str) -> Option<Problem> {
    let every = text.split(' ').next() == Some("every");
    if every || (text.contains(char::is_alphabetic) && text.parse::<TimeSpan>().is_ok()) {
        return Some(Problem::Interval);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let fields = |word: &&str| word.bytes().all(|b| b.is_ascii_digit() || b"*/,-".contains(&b));
    (words.len() == 5 && words.iter().all(fields)).then_some(Problem::Crontab)
}

fn read(text: &str, differences: &mut Vec<Difference>) -> Result<Moments, Stop> {
    if text.starts_with(char::is_whitespace) {
        return Err(Stop { left: text.len(), problem: Problem::OuterBlank });
    }
    let inner = text.trim_end();
    if inner.len() < text.len() {
        return Err(Stop { left: text.len() - inner.len(), problem: Problem::OuterBlank });
    }
    if let Some(word) = leading_shorthand(text) {
        return Err(Stop { left: text.len(), problem: Problem::ShorthandNotAlone(word.to_owned()) });
    }
    let (core, zone, difference) = EventZone::split(text)?;
    differences.extend(difference);
    if core.is_empty() {
        return Err(Stop { left: text.len(), problem: Problem::Empty });
    }
    // Places are counted from the end, and the zone is cut off there.
    let zoned = |stop: Stop| Stop { left: stop.left + text.len() - core.len(), ..stop };
    if let Some((name, form)) = shorthand(core) {
        if core != name {
            differences.push(Difference::ShorthandCase);
        }
        if SYSTEMD_SHORTHANDS.contains(&name) {
            differences.push(Difference::ShorthandName);
        }
        return grammar::core(form, &mut Vec::new()).and_then(|core| moments(&core, zone, &mut Vec::new()));
    }
    let parsed = grammar::core(core, differences).map_err(zoned)?;
    moments(&parsed, zone, differences).map_err(zoned)
}

fn shorthand(word: &str) -> Option<(&'static str, &'static str)> {
    SHORTHANDS.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name))
}

/// The shorthand at the start of a text that has more after it than a zone.
fn leading_shorthand(text: &str) -> Option<&str> {
    let word = text.split([' ', ':', ',']).next()?;
    shorthand(word)?;
    let rest = text.get(word.len()..)?.trim_start_matches(' ');
    let more = rest.starts_with(|c: char| !c.is_alphabetic()) || grammar::weekday(rest).is_some();
    more.then_some(word)
}

/// What a text means.
fn moments(core: &Core<'_>, zone: EventZone, differences: &mut Vec<Difference>) -> Result<Moments, Stop> {
    let weekdays = core.weekdays.unwrap_or(Weekdays::ALL);
    if let Some(number) = core.epoch {
        return at_epoch(weekdays, number);
    }
    let mut moments = Moments {
        weekdays,
        years: Field::default(),
        months: Field::default(),
        days: Field::default(),
        from_end: false,
        hours: Field::zero(),
        minutes: Field::zero(),
        seconds: Field::zero(),
        zone,
    };
    if let Some(Date { year, month, day, from_end }) = &core.date {
        moments.years = optional(Unit::Year, year.as_ref(), Field::default(), differences)?;
        moments.months = field(Unit::Month, month, differences)?;
        moments.days = field(if *from_end { Unit::LastDay } else { Unit::Day }, day, differences)?;
        moments.from_end = *from_end && !moments.days.is_any();
        if moments.from_end {
            differences.push(Difference::LastDays);
        } else if skips_short_months(&moments.days) {
            differences.push(Difference::ShortMonths);
        }
    }
    if let Some(Time { hour, minute, second }) = &core.time {
        moments.hours = optional(Unit::Hour, hour.as_ref(), Field::default(), differences)?;
        moments.minutes = field(Unit::Minute, minute, differences)?;
        moments.seconds = optional(Unit::Second, second.as_ref(), Field::zero(), differences)?;
    }
    Ok(moments)
}

fn at_epoch(weekdays: Weekdays, number: Number<'_>) -> Result<Moments, Stop> {
    let time = number.whole.parse().ok().filter(|_| number.fraction.is_empty());
    let time = time.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let Some(time) = time.filter(|time| (1970..2200).contains(&time.year())) else {
        return Err(Stop { left: number.left, problem: Problem::BadEpoch });
    };
    let only = |value: u32| Field::of([Item::single(value)]);
    Ok(Moments {
        weekdays,
        years: only(time.year().unsigned_abs()),
        months: only(time.month()),
        days: only(time.day()),
        from_end: false,
        hours: only(time.hour()),
        minutes: only(time.minute()),
        seconds: only(time.second()),
        zone: EventZone::Named(Tz::UTC),
    })
}

/// Whether several days match of which some months have no equal.
fn skips_short_months(days: &Field) -> bool {
    let mut matching = days.values(Unit::Day, 1);
    !days.is_any() && matching.next().is_some_and(|first| matching.any(|day| day > 28 && day != first))
}
