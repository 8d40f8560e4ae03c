//! Properties of the search and of the grammar, against a naive scan.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use calendar::{CalendarEvent, Schedule};
use chrono::{DateTime, Datelike, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;

/// A list of one field, from `low` to `high`: its text, and the values that match.
fn field(low: u32, high: u32) -> impl Strategy<Value = (String, Vec<u32>)> {
    (0..5u8, low..=high, 1..=(high - low)).prop_map(move |(kind, value, step)| match kind {
        0 => ("*".to_owned(), (low..=high).collect()),
        1 => (value.to_string(), vec![value]),
        2 => (format!("*/{step}"), (low..=high).filter(|v| (v - low).is_multiple_of(step)).collect()),
        3 => (format!("{value}..{high}"), (value..=high).collect()),
        _ => (format!("{value},{low}"), vec![value, low]),
    })
}

fn zone() -> impl Strategy<Value = Tz> {
    prop_oneof![
        Just(Tz::UTC),
        Just(Tz::Europe__Vienna),
        Just(Tz::America__New_York),
        Just(Tz::Australia__Lord_Howe),
        Just(Tz::Asia__Kathmandu)
    ]
}

/// Around the changes of 2026, and anywhere else.
fn base() -> impl Strategy<Value = i64> {
    prop_oneof![
        1_774_738_800..1_774_760_400i64,
        1_792_879_200..1_792_900_800i64,
        1_793_491_200..1_793_530_000i64,
        1_767_225_600..1_900_000_000i64
    ]
}

fn wall(time: i64, zone: Tz) -> NaiveDateTime {
    DateTime::from_timestamp(time, 0).unwrap().with_timezone(&zone).naive_local()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_next_time_is_what_a_scan_of_every_second_finds(
        month in field(1, 12), day in field(1, 31), hour in field(0, 23), minute in field(0, 59), second in field(0, 59),
        zone in zone(), base in base(),
    ) {
        let text = format!("{}-{} {}:{}:{}", month.0, day.0, hour.0, minute.0, second.0);
        let event: CalendarEvent = text.parse().unwrap();
        let matches = |time: i64| {
            let at = wall(time, zone);
            month.1.contains(&at.month()) && day.1.contains(&at.day()) && hour.1.contains(&at.hour())
                && minute.1.contains(&at.minute()) && second.1.contains(&at.second())
                // What comes twice counts once.
                && zone.from_local_datetime(&at).earliest().unwrap().timestamp() == time
        };

        let next = event.next_after(base, zone);

        if let Some(next) = next {
            prop_assert!(next > base && matches(next), "{text}: {next}");
        }
        let window = 6 * 3600;
        let found = (base + 1..=base + window).find(|time| matches(*time));
        prop_assert_eq!(found, next.filter(|next| *next <= base + window), "{}", text);
    }

    #[test]
    fn a_canonical_form_is_read_as_the_same_event_by_systemds_grammar(
        text in "(mon|sat,sun|fri\\.\\.mon|tue-thu)? ?(\\*|26|2026/2)-(\\*/5|2|1\\.\\.7/3)[-~](\\*|3|7/2|1,9\\.\\.20) (\\*/7|5\\.\\.9|3,1):(\\*|0/25|5/0)(:(\\*|1\\.5/20|0))?( UTC| CET)?"
    ) {
        let Ok(event) = text.parse::<CalendarEvent>() else { return Ok(()) };
        let again: CalendarEvent = event.to_string().parse().unwrap();
        prop_assert_eq!(&again, &event);
        prop_assert_eq!(again.to_string(), event.to_string());
        prop_assert_eq!(again.reading(), calendar::Reading::Systemd);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-zA-Z0-9*/.,:~@ µ-]{0,24}", other in any::<String>()) {
        for text in [&text, &other] {
            match text.parse::<Schedule>() {
                Ok(schedule) => {
                    schedule.next_after(1_767_225_600, Tz::Europe__Vienna);
                    schedule.canonical();
                }
                Err(error) => {
                    error.hint();
                    if let calendar::BadSchedule::Event(error) = error {
                        prop_assert!(error.at <= text.len());
                    }
                }
            }
        }
    }
}
