//! What can be wrong with a calendar event, and what to write instead.

use std::fmt;

/// A part of date or time that numbers stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1970 to 2199.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 1 to 28, counted from the end of the month.
    LastDay,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
}

impl Unit {
    /// The least and the greatest value.
    pub fn range(self) -> (u32, u32) {
        match self {
            Self::Year => (1970, 2199),
            Self::Month => (1, 12),
            Self::Day => (1, 31),
            Self::LastDay => (1, 28),
            Self::Hour => (0, 23),
            Self::Minute | Self::Second => (0, 59),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::LastDay => "day from the end of the month",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        })
    }
}

/// What is wrong at a place of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing, or nothing before the time zone.
    #[error("there is no date and no time")]
    Empty,
    /// A blank at the start or the end.
    #[error("a blank at the start or at the end")]
    OuterBlank,
    /// Something that cannot stand here.
    #[error("`{0}` cannot stand here")]
    Unexpected(String),
    /// The text ends where more must follow.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A word that is no day of the week and no shorthand.
    #[error("`{0}` is no day of the week and no shorthand")]
    UnknownWord(String),
    /// A weekday after date or time.
    #[error("the weekday `{0}` stands first, in a list with commas and without blanks")]
    LateWeekday(String),
    /// A shorthand with more around it.
    #[error("the shorthand `{0}` stands alone")]
    ShorthandNotAlone(String),
    /// A word at the end that is no time zone.
    #[error("`{0}` is no time zone")]
    UnknownZone(String),
    /// A value outside its range.
    #[error("{unit} {value} is not within {} to {}", unit.range().0, unit.range().1)]
    OutOfRange {
        /// Of what.
        unit: Unit,
        /// As written.
        value: String,
    },
    /// A range whose end is before its start.
    #[error("the range {first}..{last} goes backwards")]
    Backwards {
        /// Of what.
        unit: Unit,
        /// Start.
        first: u32,
        /// End.
        last: u32,
    },
    /// `*` with others in one list.
    #[error("a `*` stands alone in its list")]
    StarInList,
    /// `*/0`.
    #[error("a step of 0 after `*`")]
    StarZeroStep,
    /// `~3/5`.
    #[error("the step {0} is longer than the days that are left of the month")]
    LastDayStep(u32),
    /// `12.30`.
    #[error("only seconds have fractions")]
    Fraction,
    /// `59.5`.
    #[error("rounded up to full seconds this falls into the next minute")]
    RoundsOver,
    /// `@99999999999`.
    #[error("`@` takes seconds since 1970, up to the year 2199")]
    BadEpoch,
    /// `every 5min`, `5min`.
    #[error("an interval is no calendar event")]
    Interval,
    /// `0 0 * * *`.
    #[error("this is a line of crontab, which is another language")]
    Crontab,
}

/// A text that is no calendar event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no calendar event: {problem} (at byte {at})")]
pub struct BadEvent {
    /// The text.
    pub text: String,
    /// Offset in bytes of the place, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl BadEvent {
    /// What to write instead, where that can be told.
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.problem {
            Problem::OutOfRange { unit: Unit::Hour, value } if value.parse() == Ok(24u32) => {
                "the day begins at 00:00; a stock server would read this as minute 24 of every hour".into()
            }
            Problem::OutOfRange { unit: Unit::Hour, value } => {
                format!("a stock server would read this as minute {value} of every hour; for that write *:{value}")
            }
            Problem::OutOfRange { unit: Unit::Month | Unit::Day, value } if value.parse() == Ok(0u32) => {
                "a stock server takes 0 and then never runs; the first is 1, the last day of a month *-*~1".into()
            }
            Problem::OutOfRange { unit: Unit::Year, .. } => "for every year write `*`".into(),
            Problem::OutOfRange { unit: Unit::LastDay, .. } => "the shortest month has 28 days".into(),
            Problem::Backwards { unit, first, last } if *unit != Unit::Year => {
                let (least, greatest) = unit.range();
                format!("write it as two ranges: {first}..{greatest},{least}..{last}")
            }
            Problem::Fraction => "hours and minutes are separated by a colon, as in 12:30".into(),
            Problem::RoundsOver => "write second 0 of the next minute".into(),
            Problem::Interval => "schedules take intervals as `every 5min`".into(),
            Problem::Crontab => {
                "daily at 02:30 is `02:30`, every 15 minutes `*:0/15`, Mondays at noon `mon 12:00`".into()
            }
            Problem::ShorthandNotAlone(_) => "write the time instead, as in `12:00` or `mon 12:00`".into(),
            Problem::UnknownZone(_) => {
                "zones are UTC, names such as Europe/Vienna, and abbreviations such as CET".into()
            }
            Problem::UnknownWord(word) => word_hint(word).into(),
            Problem::Unexpected(text) if text.starts_with(['T', 't']) => {
                "a blank separates date and time, as in 2026-01-01 12:00".into()
            }
            Problem::Unexpected(text) if text.starts_with(['+', '-']) => {
                "offsets are no time zones; write UTC or a name such as Europe/Vienna".into()
            }
            _ => return None,
        };
        Some(hint)
    }
}

fn word_hint(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "midnight" => "midnight is `daily` or 00:00",
        "noon" => "noon is 12:00",
        _ => "days are mon to sun or their full English names, shorthands hourly, daily, weekly, monthly ...",
    }
}
