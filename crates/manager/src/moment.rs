//! Times as they are given on the command line.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use config::ConfigError;

/// A time of the command line: RFC 3339, by the wall clock, or seconds since 1970 behind an `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Seconds since 1970.
    At(i64),
    /// By the wall clock.
    Wall(NaiveDateTime),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wall = |form| NaiveDateTime::parse_from_str(text, form).ok().map(Self::Wall);
        let day = |day: NaiveDate| Self::Wall(day.and_time(NaiveTime::MIN));
        let epoch = |seconds: &str| seconds.parse().ok().map(Self::At);
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| Self::At(time.timestamp()))
            .or_else(|| wall("%Y-%m-%d %H:%M:%S"))
            .or_else(|| wall("%Y-%m-%d %H:%M"))
            .or_else(|| text.parse().ok().map(day))
            .or_else(|| text.strip_prefix('@').and_then(epoch))
            .ok_or_else(|| "write 2026-03-29T02:30:00+01:00, 2026-03-29 02:30, 2026-03-29 or @1774747800".to_owned())
    }
}

impl Moment {
    /// Seconds since 1970, the wall clock being one in `zone`; `option` is what it was given for.
    ///
    /// # Errors
    /// That clock never shows the time.
    pub(crate) fn seconds(self, option: &str, zone: Tz) -> Result<i64, ConfigError> {
        match self {
            Self::At(seconds) => Ok(seconds),
            Self::Wall(wall) => {
                let missing = || ConfigError::Invalid {
                    property: option.into(),
                    reason: format!("{wall} is left out by summer time in {zone}"),
                };
                zone.from_local_datetime(&wall).earliest().map(|time| time.timestamp()).ok_or_else(missing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_four_forms() {
        let seconds = |text: &str| text.parse::<Moment>().unwrap().seconds("since", Tz::Europe__Vienna);
        for text in ["2026-07-01T02:00:00+02:00", "2026-07-01T00:00:00Z", "2026-07-01 02:00", "2026-07-01 02:00:00"] {
            assert_eq!(seconds(text).unwrap(), 1_782_864_000, "{text}");
        }
        assert_eq!(seconds("@1782864000").unwrap(), 1_782_864_000);
        assert_eq!(seconds("2026-07-01").unwrap(), 1_782_864_000 - 2 * 3600);
        assert!(seconds("2026-03-29 02:30").unwrap_err().to_string().contains("left out by summer time"));
        assert!("yesterday".parse::<Moment>().is_err());
    }
}
