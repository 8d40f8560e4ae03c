//! Schedules: a calendar event, or an interval such as `every 5min`.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::CalendarEvent;
use crate::problem::BadEvent;
use crate::span::{BadSpan, TimeSpan};

/// When something runs by itself. Keeps the text it was read from, which is also how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    when: When,
}

/// The two kinds of schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At times of the calendar.
    Event(CalendarEvent),
    /// So long after the last start; one second or more.
    Every(TimeSpan),
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// No calendar event either.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// `every` with something that is no time span.
    #[error("after `every`: {0}")]
    Span(BadSpan),
    /// `every 10ms`, `every infinity`.
    #[error("`{0}` is no interval; it is one second or longer, and ends")]
    Interval(String),
}

impl BadSchedule {
    /// What to write instead, where that can be told.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Event(error) => error.hint(),
            Self::Span(_) | Self::Interval(_) => None,
        }
    }

    /// The error with its hint, for places that have one line.
    pub fn with_hint(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self}; {hint}"))
    }
}

impl Schedule {
    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub fn when(&self) -> &When {
        &self.when
    }

    /// The same in its normal form, for people to read.
    pub fn canonical(&self) -> String {
        match &self.when {
            When::Event(event) => event.to_string(),
            When::Every(span) => format!("every {span}"),
        }
    }

    /// Returns the first time after `last`; seconds since 1970 in UTC.
    ///
    /// An interval begins at `last`, the start of the last run. `local` is the zone of the host. None if there is no such
    /// time up to the year 2199.
    pub fn next_after(&self, last: i64, local: Tz) -> Option<i64> {
        match &self.when {
            When::Event(event) => event.next_after(last, local),
            When::Every(span) => last.checked_add(span.seconds()),
        }
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let when = match text.strip_prefix("every ") {
            Some(span) => When::Every(interval(text, span)?),
            None => When::Event(text.parse()?),
        };
        Ok(Self { text: text.to_owned(), when })
    }
}

fn interval(text: &str, span: &str) -> Result<TimeSpan, BadSchedule> {
    let span: TimeSpan = span.trim_start().parse().map_err(BadSchedule::Span)?;
    if span == TimeSpan::Infinite || span < TimeSpan::from_secs(1) || text.ends_with(' ') {
        return Err(BadSchedule::Interval(text.to_owned()));
    }
    Ok(span)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed: Result<Self, BadSchedule> = String::deserialize(deserializer)?.parse();
        parsed.map_err(|error| serde::de::Error::custom(error.with_hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_interval_counts_from_the_last_start() {
        assert_eq!(schedule("every 6s").next_after(1_000, Tz::UTC), Some(1_006));
        assert_eq!(schedule("every 5 min").next_after(1_000, Tz::Europe__Vienna), Some(1_300));
        assert_eq!(schedule("every 1.5s").next_after(0, Tz::UTC), Some(2));
        assert_eq!(schedule("daily").next_after(1_000, Tz::UTC), Some(86_400));
    }

    #[test]
    fn the_text_is_kept_as_it_was_written() {
        for (text, canonical) in [
            ("every 90  min", "every 1h 30min"),
            ("mon..fri 2:5", "Mon..Fri *-*-* 02:05:00"),
            ("*/15", "*-*-* *:00/15:00"),
        ] {
            assert_eq!(schedule(text).to_string(), text);
            assert_eq!(schedule(text).canonical(), canonical);
            assert_eq!(schedule(canonical).when(), schedule(text).when());
        }
    }

    #[test]
    fn an_interval_is_a_second_or_longer_and_ends() {
        for text in ["every 10ms", "every 0", "every infinity", "every", "every ", "every mon", "every 5s ", "Every 5s"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
