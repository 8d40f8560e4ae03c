//! A year with two changes of the clock, run by run.

use calendar::Schedule;
use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;

use crate::analyze::{self, Answer};

const SCHEDULES: [&str; 7] = ["hourly", "02:30", "*:0/30", "mon..fri 06:00", "*-*~1 23:00", "yearly", "every 6h"];
const ZONES: [&str; 2] = ["Europe/Vienna", "America/New_York"];

/// Local midnight at the start of a year.
fn new_year(year: i32, zone: Tz) -> i64 {
    zone.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp()
}

/// Every run of 2026.
fn runs(schedule: &Schedule, zone: Tz) -> Vec<i64> {
    let (start, end) = (new_year(2026, zone) - 1, new_year(2027, zone));
    let mut runs = Vec::new();
    while let Some(next) = schedule.next_after(runs.last().copied().unwrap_or(start), zone)
        && next < end
    {
        runs.push(next);
    }
    runs
}

/// Runs at equal distances on one line: the first of them, the distance, and how many there are.
fn written(runs: &[i64], zone: Tz) -> String {
    let mut text = String::new();
    let mut rest = runs;
    while let Some(first) = rest.first() {
        let gap = rest.get(1).map_or(0, |second| second - first);
        let mut count = 1;
        while rest.get(count).is_some_and(|next| next - rest[count - 1] == gap) {
            count += 1;
        }
        // The run after a longer gap begins a line of its own.
        let time = DateTime::from_timestamp(*first, 0).unwrap().with_timezone(&zone);
        let (hours, minutes) = (gap / 3600, gap / 60 % 60);
        let every =
            if count == 1 { String::new() } else { format!("  {count} times, each {hours}:{minutes:02} h after") };
        text += &format!("{}{every}\n", time.format("%a %m-%d %H:%M:%S %Z"));
        rest = &rest[count..];
    }
    text
}

#[test]
fn a_year_with_two_changes_of_the_clock_has_the_runs_of_the_list() {
    for zone_name in ZONES {
        let zone: Tz = zone_name.parse().unwrap();
        let mut year = String::new();
        for text in SCHEDULES {
            let runs = runs(&text.parse().unwrap(), zone);
            year += &format!("== {text}: {} runs\n{}\n", runs.len(), written(&runs, zone));
        }
        insta::assert_snapshot!(zone_name.replace('/', "_"), year);
    }
}

#[test]
fn systemd_has_the_same_year() {
    let events: Vec<String> =
        SCHEDULES.into_iter().filter(|text| !text.starts_with("every")).map(str::to_owned).collect();
    for zone_name in ZONES {
        let zone: Tz = zone_name.parse().unwrap();
        for event in &events {
            let runs = runs(&event.parse().unwrap(), zone);
            let start = new_year(2026, zone) - 1;
            let Some(mut answers) = analyze::ask(std::slice::from_ref(event), zone_name, start, runs.len()) else {
                return;
            };
            let Some(Answer::Read { times, .. }) = answers.pop() else { panic!("{event} is refused") };
            assert_eq!(times, runs, "{event} in {zone_name}");
        }
    }
}
