//! Days of the week: a set, its names and its ranges.

use std::fmt;

use chrono::Weekday;

const DAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// A set of days of the week.
///
/// Printed Monday first, three or more in a row as a range: `Mon..Wed,Sat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weekdays(u8);

impl Weekdays {
    /// No day.
    pub const NONE: Self = Self(0);
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// The days from `first` to `last`, both included; over the end of the week where `last` comes before `first`.
    pub fn between(first: Weekday, last: Weekday) -> Self {
        let mut days = Self::NONE.with(first);
        let mut day = first;
        while day != last {
            day = day.succ();
            days = days.with(day);
        }
        days
    }

    /// These days and those of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `day` is one of them.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    fn with(self, day: Weekday) -> Self {
        Self(self.0 | bit(day))
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.num_days_from_monday()
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for run in DAYS.split(|day| !self.contains(*day)).filter(|run| !run.is_empty()) {
            match run {
                [first, _, .., last] if run.len() > 2 => write!(f, "{comma}{first}..{last}")?,
                _ => {
                    for day in run {
                        write!(f, "{comma}{day}")?;
                        comma = ",";
                    }
                }
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_printed_as_a_range() {
        let days = |ranges: &[(Weekday, Weekday)]| {
            ranges.iter().fold(Weekdays::NONE, |days, (a, b)| days.and(Weekdays::between(*a, *b))).to_string()
        };
        use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};

        assert_eq!(days(&[(Sat, Mon)]), "Mon,Sat,Sun");
        assert_eq!(days(&[(Fri, Mon)]), "Mon,Fri..Sun");
        assert_eq!(days(&[(Mon, Thu), (Sat, Sun)]), "Mon..Thu,Sat,Sun");
        assert_eq!(days(&[(Tue, Tue), (Wed, Wed)]), "Tue,Wed");
        assert_eq!(Weekdays::between(Mon, Sun), Weekdays::ALL);
        assert_eq!(Weekdays::between(Sun, Sat), Weekdays::ALL);
    }
}
