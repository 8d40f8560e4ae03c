//! How many snapshots one run may remove.

use std::fmt;
use std::str::FromStr;

use crate::name_error::serde_as_text;

/// The most snapshots that a run may remove at its target: a number, or a percentage of those it is about.
///
/// Written `100` or `20%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemovalLimit {
    /// This many.
    Count(u64),
    /// This part of the target's snapshots in scope, rounded down; 0 to 100.
    Percent(u8),
}

/// A text that is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no limit of removals: write a number such as `100`, or a percentage from `0%` to `100%`")]
pub struct BadRemovalLimit {
    text: String,
}

impl RemovalLimit {
    /// Returns how many snapshots it permits when there are `in_scope`.
    pub fn of(self, in_scope: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u128::from(in_scope) * u128::from(percent) / 100;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }
}

impl FromStr for RemovalLimit {
    type Err = BadRemovalLimit;

    fn from_str(text: &str) -> Result<Self, BadRemovalLimit> {
        let bad = || BadRemovalLimit { text: text.chars().take(64).collect() };
        let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        if text.ends_with('%') {
            let percent = digits.parse().ok().filter(|percent| *percent <= 100).ok_or_else(bad)?;
            return Ok(Self::Percent(percent));
        }
        digits.parse().map(Self::Count).map_err(|_| bad())
    }
}

impl fmt::Display for RemovalLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

serde_as_text!(RemovalLimit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_percentages_read_as_they_are_written() {
        for text in ["0", "5", "18446744073709551615", "0%", "20%", "100%"] {
            assert_eq!(text.parse::<RemovalLimit>().unwrap().to_string(), text);
        }
        for bad in ["", "%", "-1", "1.5", "101%", "300%", "20 % x", "all", "18446744073709551616", "+5"] {
            assert!(bad.parse::<RemovalLimit>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_percentage_is_rounded_down_and_never_overflows() {
        assert_eq!(RemovalLimit::Percent(20).of(9), 1);
        assert_eq!(RemovalLimit::Percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(RemovalLimit::Count(7).of(0), 7);
    }
}
