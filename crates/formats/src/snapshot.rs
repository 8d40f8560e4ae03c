//! Snapshots: one backup of a group at one second.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use crate::group::GroupId;
use crate::name_error::{NameError, serde_as_text};

/// When a backup was made: whole seconds since 1970 (UTC), from 1 up to the end of the year 9999.
///
/// Its text, and the name of the snapshot's directory, is `YYYY-MM-DDTHH:MM:SSZ`; in JSON it is an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupTime(i64);

impl BackupTime {
    /// The last second of the year 9999.
    const MAX: i64 = 253_402_300_799;

    /// Makes a backup time of Unix seconds.
    ///
    /// # Errors
    /// When it lies before 1 or after the year 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, NameError> {
        if !(1..=Self::MAX).contains(&seconds) {
            return Err(NameError::new("backup time", &seconds.to_string(), "must be from 1 to 253402300799"));
        }
        Ok(Self(seconds))
    }

    /// Returns Unix seconds.
    pub fn unix(self) -> i64 {
        self.0
    }
}

impl FromStr for BackupTime {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new("backup time", text, "must be YYYY-MM-DDTHH:MM:SSZ, after 1970");
        let shape = b"dddd-dd-ddTdd:dd:ddZ";
        let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
        if text.len() != shape.len() || !text.as_bytes().iter().zip(shape).all(fits) {
            return Err(bad());
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().map_err(|_| bad());
        let year = i32::try_from(number(0..4)?).map_err(|_| bad())?;
        let date = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?).ok_or_else(bad)?;
        let time = date.and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?).ok_or_else(bad)?;
        Self::from_unix(time.and_utc().timestamp()).map_err(|_| bad())
    }
}

impl fmt::Display for BackupTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = DateTime::from_timestamp(self.0, 0).unwrap_or_default();
        let (date, time) = (at.date_naive(), at.time());
        f.pad(&format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        ))
    }
}

impl serde::Serialize for BackupTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for BackupTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_unix(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A snapshot, `type/id/time`. Ordered by group, then by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The group it belongs to.
    pub group: GroupId,
    /// When it was made.
    pub time: BackupTime,
}

impl SnapshotId {
    /// Makes the snapshot of a group and a time.
    pub fn new(group: GroupId, time: BackupTime) -> Self {
        Self { group, time }
    }

    /// Returns the directory of this snapshot below its namespace's: `vm/100/2022-05-02T08:11:33Z`.
    pub fn dir_path(&self) -> PathBuf {
        self.group.dir_path().join(self.time.to_string())
    }
}

impl FromStr for SnapshotId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((group, time)) = text.rsplit_once('/') else {
            return Err(NameError::new("snapshot", text, "must be type/id/time"));
        };
        Ok(Self { group: group.parse()?, time: time.parse()? })
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.group, self.time))
    }
}

serde_as_text!(SnapshotId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_its_directory_name_in_utc() {
        let time = BackupTime::from_unix(1_651_479_093).unwrap();

        assert_eq!(time.to_string(), "2022-05-02T08:11:33Z");
        assert_eq!("2022-05-02T08:11:33Z".parse::<BackupTime>().unwrap(), time);
        assert_eq!(serde_json::to_string(&time).unwrap(), "1651479093");
    }

    #[test]
    fn times_outside_the_calendar_are_refused() {
        for bad in [i64::MIN, -1, 0, BackupTime::MAX + 1, i64::MAX] {
            assert!(BackupTime::from_unix(bad).is_err(), "{bad}");
        }
        for bad in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2022-02-29T00:00:00Z",
            "2022-13-01T00:00:00Z",
            "2022-01-01T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2022-05-02T08:11:33",
            "2022-05-02t08:11:33z",
            "+022-05-02T08:11:33Z",
            "10000-01-01T00:00:00Z",
            "",
        ] {
            assert!(bad.parse::<BackupTime>().is_err(), "{bad:?}");
        }
        assert_eq!(BackupTime::from_unix(BackupTime::MAX).unwrap().to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_snapshot_path_has_exactly_three_parts() {
        let snapshot: SnapshotId = "vm/100/2022-05-02T08:11:33Z".parse().unwrap();

        assert_eq!(snapshot.group.to_string(), "vm/100");
        assert_eq!(snapshot.dir_path(), PathBuf::from("vm/100/2022-05-02T08:11:33Z"));
        for bad in
            ["vm/100", "vm/2022-05-02T08:11:33Z", "vm/100/x/2022-05-02T08:11:33Z", "vm/100/2022-05-02T08:11:33Z/"]
        {
            assert!(bad.parse::<SnapshotId>().is_err(), "{bad:?}");
        }
    }
}
