//! Time spans: `26h`, `5min`, `1d 12h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nom::branch::alt;
use nom::bytes::complete::take_while;
use nom::character::complete::{digit1, multispace0};
use nom::combinator::{all_consuming, opt, recognize};
use nom::multi::many1;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Every unit with its length in nanoseconds. A month is a twelfth of 365.25 days, as in systemd.
const UNITS: [(&[&str], u128); 10] = [
    (&["y", "year", "years"], 31_557_600 * NANOS_PER_SECOND),
    (&["M", "month", "months"], 2_629_800 * NANOS_PER_SECOND),
    (&["w", "week", "weeks"], 604_800 * NANOS_PER_SECOND),
    (&["d", "day", "days"], 86_400 * NANOS_PER_SECOND),
    (&["h", "hr", "hour", "hours"], 3_600 * NANOS_PER_SECOND),
    (&["min", "m", "minute", "minutes"], 60 * NANOS_PER_SECOND),
    (&["s", "sec", "second", "seconds"], NANOS_PER_SECOND),
    (&["ms", "msec"], 1_000_000),
    (&["us", "usec", "\u{b5}s"], 1_000),
    (&["ns", "nsec"], 1),
];

/// A span of time, or none that ends.
///
/// Its text is the sum of `NUMBER [UNIT]` in any order; a number without unit is seconds. Case matters: `M` is months,
/// `m` minutes. Printed in falling units: `1d 2h`.
///
/// Source: systemd.time(7), "Parsing Time Spans", and the stock server's nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeSpan {
    /// This long.
    Of(Duration),
    /// `infinity`.
    Infinite,
}

/// A text that is no time span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time span; write for example 90s, 5min, 26h or 1d 12h")]
pub struct BadSpan {
    /// The text.
    pub text: String,
}

impl TimeSpan {
    /// A span of so many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::Of(Duration::from_secs(seconds))
    }

    /// The span as a duration; the longest there is for one without end.
    pub fn duration(self) -> Duration {
        match self {
            Self::Of(duration) => duration,
            Self::Infinite => Duration::MAX,
        }
    }

    /// Whole seconds, rounded up; `i64::MAX` for a span without end, so that it can be added to a time with saturation.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Of(duration) => {
                let up = u64::from(duration.subsec_nanos() > 0);
                i64::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
            }
            Self::Infinite => i64::MAX,
        }
    }
}

impl FromStr for TimeSpan {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan { text: text.to_owned() };
        if text.trim() == "infinity" {
            return Ok(Self::Infinite);
        }
        let parsed: IResult<&str, Vec<u128>> = all_consuming(many1(part)).parse(text);
        let (_, parts) = parsed.map_err(|_| bad())?;
        let nanos = parts.into_iter().try_fold(0u128, u128::checked_add).ok_or_else(bad)?;
        // systemd counts microseconds in 64 bits; what it refuses is no span anybody waits for.
        if nanos / 1_000 >= u128::from(u64::MAX) {
            return Err(bad());
        }
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND).map_err(|_| bad())?;
        let rest = u32::try_from(nanos % NANOS_PER_SECOND).map_err(|_| bad())?;
        Ok(Self::Of(Duration::new(seconds, rest)))
    }
}

/// One number with its unit, in nanoseconds.
fn part(input: &str) -> IResult<&str, u128> {
    let number = recognize((digit1, opt(preceded(nom::character::complete::char('.'), digit1))));
    let (rest, (number, unit)) =
        delimited(multispace0, (terminated(number, multispace0), alt((unit, no_unit))), multispace0).parse(input)?;
    let value = scaled(number, unit);
    match value {
        Some(nanos) => Ok((rest, nanos)),
        None => Err(nom::Err::Failure(nom::error::Error::new(input, nom::error::ErrorKind::TooLarge))),
    }
}

fn unit(input: &str) -> IResult<&str, u128> {
    let (rest, word) = take_while(char::is_alphabetic).parse(input)?;
    match UNITS.iter().find(|(names, _)| names.contains(&word)) {
        Some((_, nanos)) => Ok((rest, *nanos)),
        None => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Tag))),
    }
}

/// No letter follows the number: seconds.
fn no_unit(input: &str) -> IResult<&str, u128> {
    match input.chars().next() {
        Some(letter) if letter.is_alphabetic() => {
            Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Not)))
        }
        _ => Ok((input, NANOS_PER_SECOND)),
    }
}

/// `number`, with or without a fraction, times `unit`.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    // Eighteen digits are finer than a nanosecond of a year; what follows cannot be seen.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()?.checked_mul(unit)? / scale };
    whole.checked_add(part)
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Of(duration) = self else { return f.write_str("infinity") };
        let mut rest = duration.as_nanos();
        let mut blank = "";
        for (names, nanos) in UNITS {
            // Months and years are no whole days: a span is written in units that everybody counts alike.
            if nanos > 604_800 * NANOS_PER_SECOND || rest < nanos {
                continue;
            }
            let name = names.first().copied().unwrap_or_default();
            write!(f, "{blank}{}{name}", rest / nanos)?;
            rest %= nanos;
            blank = " ";
        }
        if blank.is_empty() { f.write_str("0s") } else { Ok(()) }
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_printed_in_falling_units_and_read_back() {
        for (text, printed) in [
            ("90", "1min 30s"),
            ("26h", "1d 2h"),
            ("8d", "1w 1d"),
            ("1.5h", "1h 30min"),
            ("0", "0s"),
            ("infinity", "infinity"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!(span.to_string(), printed);
            assert_eq!(printed.parse(), Ok(span));
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_never_overflow() {
        assert_eq!("1ms".parse::<TimeSpan>().unwrap().seconds(), 1);
        assert_eq!(TimeSpan::Infinite.seconds(), i64::MAX);
    }
}
