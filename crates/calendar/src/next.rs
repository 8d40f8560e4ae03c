//! The search for the next second that matches.
//!
//! Exact and bounded: days that cannot match are stepped over by year, month and day, and within a day only times that
//! match are looked at.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use chrono_tz::Tz;

use crate::event::Moments;
use crate::problem::Unit;
use crate::zone::WallClock;

/// The last year there is; the first is 1970.
const LAST_YEAR: i32 = 2199;

/// How far a clock that leaves out a time is asked again. Nowhere does one leave out less.
const LEAP: TimeDelta = TimeDelta::minutes(15);

impl Moments {
    /// The smallest second after `after` that matches on a host in zone `local`.
    pub(crate) fn next_after(&self, after: i64, local: Tz) -> Option<i64> {
        let after = after.max(-1);
        let from = DateTime::from_timestamp(after.checked_add(1)?, 0)?;
        let clock = self.zone.clock(local, from)?;
        let mut wall = clock.shows(from);
        loop {
            let date = self.date_from(wall.date())?;
            if date != wall.date() {
                wall = date.and_time(NaiveTime::MIN);
            }
            if let Some(time) = self.on_date(wall, clock, after) {
                return Some(time);
            }
            wall = date.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN);
        }
    }

    /// The first date from `date` on that matches.
    fn date_from(&self, mut date: NaiveDate) -> Option<NaiveDate> {
        while date.year() <= LAST_YEAR {
            if !self.years.contains(date.year().unsigned_abs()) {
                date = NaiveDate::from_ymd_opt(date.year() + 1, 1, 1)?;
            } else if !self.months.contains(date.month()) {
                date = date.with_day(1)?.checked_add_months(Months::new(1))?;
            } else if self.has_day(date) && self.weekdays.contains(date.weekday()) {
                return Some(date);
            } else {
                date = date.checked_add_days(Days::new(1))?;
            }
        }
        None
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        if self.from_end {
            self.days.contains_from_end(u32::from(date.num_days_in_month()) - date.day() + 1)
        } else {
            self.days.contains(date.day())
        }
    }

    /// The first time after `after` at which the clock shows a time that matches, from `wall` to the end of that day.
    fn on_date(&self, wall: NaiveDateTime, clock: WallClock<'_>, after: i64) -> Option<i64> {
        let date = wall.date();
        let later = |wall: NaiveDateTime| clock.time_of(wall).filter(|time| *time > after);
        let mut from = wall;
        while from.date() == date {
            let shown = date.and_time(self.time_from(from.time())?);
            if let Some(time) = later(shown) {
                return Some(time);
            }
            // Left out by summer time, or its first time was before `after`.
            let leap = shown + LEAP;
            from = if later(leap).is_none() { leap } else { shown + TimeDelta::seconds(1) };
        }
        None
    }

    /// The first time of the day from `from` on that matches.
    fn time_from(&self, from: NaiveTime) -> Option<NaiveTime> {
        for hour in self.hours.values(Unit::Hour, from.hour()) {
            let same_hour = hour == from.hour();
            for minute in self.minutes.values(Unit::Minute, if same_hour { from.minute() } else { 0 }) {
                let same_minute = same_hour && minute == from.minute();
                let mut seconds = self.seconds.values(Unit::Second, if same_minute { from.second() } else { 0 });
                if let Some(second) = seconds.next() {
                    return NaiveTime::from_hms_opt(hour, minute, second);
                }
            }
        }
        None
    }
}
