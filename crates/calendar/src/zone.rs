//! Whose wall clock an event goes by.

use std::fmt;

use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use crate::difference::Difference;
use crate::grammar::{Stop, weekday};
use crate::problem::Problem;

/// The zone that an event names, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventZone {
    /// The zone of the host.
    Local,
    /// `UTC`, `Europe/Vienna`.
    Named(Tz),
    /// `CET`: the zone of the host as long as it goes by that name; else the zone that has this name, if one has.
    Abbreviated(String, Option<Tz>),
}

/// A wall clock: the times it shows, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock<'a> {
    zone: Tz,
    /// Only times that go by this name count.
    abbreviation: Option<&'a str>,
}

impl EventZone {
    /// Cuts the zone off the end of an event; what comes before it may be empty.
    pub(crate) fn split(text: &str) -> Result<(&str, Self, Option<Difference>), Stop> {
        if let Some((before, word)) = text.rsplit_once(' ')
            && word.starts_with(char::is_alphabetic)
        {
            let before = before.trim_end_matches(' ');
            if word.eq_ignore_ascii_case("UTC") {
                return Ok((before, Self::Named(Tz::UTC), (word != "UTC").then_some(Difference::LowerUtc)));
            }
            if weekday(word).is_some() {
                return Err(Stop { left: word.len(), problem: Problem::LateWeekday(word.to_owned()) });
            }
            let zone = match (abbreviation(word), word.parse()) {
                (Some(name), _) => {
                    let named = name.parse().ok();
                    Self::Abbreviated(name, named)
                }
                (None, Ok(zone)) => Self::Named(zone),
                (None, Err(_)) => {
                    return Err(Stop { left: word.len(), problem: Problem::UnknownZone(word.to_owned()) });
                }
            };
            return Ok((before, zone, Some(Difference::Zone)));
        }
        match text.strip_suffix("UTC") {
            Some(before) => Ok((before, Self::Named(Tz::UTC), Some(Difference::UtcWithoutBlank))),
            None => Ok((text, Self::Local, None)),
        }
    }

    /// The clock on a host in zone `local`; none if it will not show a time of this zone from `time` on.
    pub(crate) fn clock(&self, local: Tz, time: DateTime<Utc>) -> Option<WallClock<'_>> {
        let plain = |zone| WallClock { zone, abbreviation: None };
        match self {
            Self::Local => Some(plain(local)),
            Self::Named(zone) => Some(plain(*zone)),
            Self::Abbreviated(name, _) if uses(local, name, time) => {
                Some(WallClock { zone: local, abbreviation: Some(name) })
            }
            Self::Abbreviated(_, named) => named.map(plain),
        }
    }
}

impl WallClock<'_> {
    /// What it shows at `time`.
    pub(crate) fn shows(self, time: DateTime<Utc>) -> NaiveDateTime {
        time.with_timezone(&self.zone).naive_local()
    }

    /// When it shows `wall`: the first time if it does so twice, never if summer time leaves it out.
    pub(crate) fn time_of(self, wall: NaiveDateTime) -> Option<i64> {
        let candidates = match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::None => [None, None],
            MappedLocalTime::Single(time) => [Some(time), None],
            MappedLocalTime::Ambiguous(first, second) => [Some(first), Some(second)],
        };
        let counts = |time: &DateTime<Tz>| {
            self.abbreviation.is_none_or(|name| time.offset().abbreviation().is_some_and(|is| is == name))
        };
        candidates.into_iter().flatten().find(counts).map(|time| time.timestamp())
    }
}

impl fmt::Display for EventZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => Ok(()),
            Self::Named(zone) => write!(f, " {}", zone.name()),
            Self::Abbreviated(name, _) => write!(f, " {name}"),
        }
    }
}

/// The abbreviation that `word`, in any case, is, if some zone goes by it these years.
fn abbreviation(word: &str) -> Option<String> {
    let times = [1_768_435_200, 1_784_073_600].map(|time| DateTime::from_timestamp(time, 0)); // mid January and mid July
    for time in times.into_iter().flatten() {
        for zone in TZ_VARIANTS {
            let offset = zone.offset_from_utc_datetime(&time.naive_utc());
            if let Some(name) = offset.abbreviation()
                && name.eq_ignore_ascii_case(word)
            {
                return Some(name.to_owned());
            }
        }
    }
    None
}

/// Whether `zone` goes by the abbreviation at the start of some month of two years from `time` on.
fn uses(zone: Tz, name: &str, time: DateTime<Utc>) -> bool {
    (0..24u32).filter_map(|months| time.with_day(1)?.checked_add_months(chrono::Months::new(months))).any(|time| {
        let offset = zone.offset_from_utc_datetime(&time.naive_utc());
        offset.abbreviation().is_some_and(|is| is == name)
    })
}
