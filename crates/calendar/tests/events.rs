//! Every row of the calendar vectors, and what is said about texts that are no events.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use calendar::{CalendarEvent, Difference, Problem, Reading, Unit};
use chrono::DateTime;
use chrono_tz::Tz;

fn rows(name: &str) -> Vec<csv::StringRecord> {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    csv::Reader::from_path(path).unwrap().records().map(Result::unwrap).collect()
}

fn event(text: &str) -> CalendarEvent {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn epoch(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[test]
fn every_event_of_the_vectors_comes_when_systemd_or_else_the_stock_server_says() {
    let rows = rows("calendar.csv");
    for row in &rows {
        let (text, zone) = (&row[0], row[2].parse::<Tz>().unwrap());
        let event = event(text);
        let mut time = Some(epoch(&row[1]));
        for want in [&row[3], &row[4], &row[5]] {
            time = time.and_then(|time| event.next_after(time, zone));
            assert_eq!(time, (want != "never").then(|| epoch(want)), "{text:?} after {}", &row[1]);
        }
    }
    assert_eq!(rows.len(), 167);
}

#[test]
fn the_reading_of_the_vectors_is_the_stock_servers_only_where_systemd_refuses() {
    for row in rows("calendar.csv") {
        let event = event(&row[0]);
        let (verdict, summer_time) = (&row[10], &row[11] == "DST");
        assert_eq!(event.reading() == Reading::Pbs, verdict == "pbs-only", "{}", &row[0]);
        match verdict {
            // The two may part later than the rows look.
            "same" => assert!(
                event.differences().iter().all(|d| matches!(d, Difference::UnevenStep | Difference::ShortMonths)),
                "{}: {:?}",
                &row[0],
                event.differences()
            ),
            _ => assert!(summer_time || !event.differences().is_empty(), "{}", &row[0]),
        }
    }
}

#[test]
fn every_text_of_the_vectors_that_is_no_event_is_refused() {
    let rows = rows("calendar-invalid.csv");
    for row in &rows {
        let answer = row[0].parse::<CalendarEvent>();
        assert!(answer.is_err(), "{:?} is read as {answer:?}", &row[0]);
    }
    assert_eq!(rows.len(), 76);
}

#[test]
fn a_canonical_form_is_systemds_and_is_read_back_as_the_same_event() {
    for (text, canonical) in [
        ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
        ("fri..mon", "Mon,Fri..Sun *-*-* 00:00:00"),
        ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
        ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
        ("1..8/3,1,1:0", "*-*-* 01,01..07/3:00:00"),
        ("*:*:0/1", "*-*-* *:*:*"),
        ("*:*/15", "*-*-* *:00/15:00"),
        ("30", "*-*-* *:30:00"),
        ("*:5/0", "*-*-* *:05:00"),
        ("*-2~7/1", "*-02~07/1 00:00:00"),
        ("*-*~*", "*-*-* 00:00:00"),
        ("@1700000000", "2023-11-14 22:13:20 UTC"),
        ("weekly Pacific/Auckland", "Mon *-*-* 00:00:00 Pacific/Auckland"),
        ("12:00 cet", "*-*-* 12:00:00 CET"),
        ("dailyUTC", "*-*-* 00:00:00 UTC"),
        ("0-1-1", "2000-01-01 00:00:00"),
        // Rounded up, since nothing is started within a second.
        ("*:*:3.33/10.05", "*-*-* *:*:04,14,24,34,44,54"),
        ("*:*:0.5", "*-*-* *:*:01"),
    ] {
        assert_eq!(event(text).to_string(), canonical, "{text}");
        assert_eq!(event(canonical), event(text), "{text}");
    }
}

#[test]
fn an_error_says_what_is_wrong_where_and_what_to_write() {
    let hour = |value: &str| Problem::OutOfRange { unit: Unit::Hour, value: value.into() };
    for (text, at, problem, hint) in [
        ("24:00", 0, hour("24"), "the day begins at 00:00"),
        ("mon 25:00 UTC", 4, hour("25"), "minute 25 of every hour"),
        ("*-0-1", 2, Problem::OutOfRange { unit: Unit::Month, value: "0".into() }, "the first is 1"),
        ("1969-12-31", 0, Problem::OutOfRange { unit: Unit::Year, value: "1969".into() }, "`*`"),
        ("22..2:00", 4, Problem::Backwards { unit: Unit::Hour, first: 22, last: 2 }, "22..23,0..2"),
        ("5min", 0, Problem::Interval, "every 5min"),
        ("every 5 min", 0, Problem::Interval, "every 5min"),
        ("0 2 * * 1", 0, Problem::Crontab, "mon 12:00"),
        ("12.30", 0, Problem::Fraction, "12:30"),
        ("*:*:59.5", 4, Problem::RoundsOver, "next minute"),
        ("2026-01-01T12:00", 10, Problem::Unexpected("T12:00".into()), "2026-01-01 12:00"),
        ("12:00 +0200", 6, Problem::Unexpected("+0200".into()), "Europe/Vienna"),
        ("12:00 Mars/Phobos", 6, Problem::UnknownZone("Mars/Phobos".into()), "Europe/Vienna"),
        ("weekly mon", 0, Problem::ShorthandNotAlone("weekly".into()), "mon 12:00"),
        ("midnight", 0, Problem::UnknownWord("midnight".into()), "00:00"),
    ] {
        let error = text.parse::<CalendarEvent>().unwrap_err();
        assert_eq!((error.at, &error.problem), (at, &problem), "{text}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{text}: {:?}", error.hint());
    }
    for (text, at, problem) in [
        ("", 0, Problem::Empty),
        (" daily", 0, Problem::OuterBlank),
        ("12:00 ", 5, Problem::OuterBlank),
        ("12:00 mon", 6, Problem::LateWeekday("mon".into())),
        ("mon..", 5, Problem::Missing("a weekday")),
        ("12:", 3, Problem::Missing("a number")),
        ("*,5:00", 1, Problem::StarInList),
        ("*:*/0", 4, Problem::StarZeroStep),
        ("*-*~3/5", 6, Problem::LastDayStep(5)),
        ("mon 1/2/3:00", 7, Problem::Unexpected("/3:00".into())),
    ] {
        let error = text.parse::<CalendarEvent>().unwrap_err();
        assert_eq!((error.at, &error.problem), (at, &problem), "{text}: {error}");
    }
}

#[test]
fn an_abbreviation_means_the_zone_of_the_host_while_it_goes_by_it() {
    let noon = event("12:00 CET");
    let (june, october) = (epoch("2026-06-01T00:00:00Z"), epoch("2026-10-24T22:00:00Z"));

    assert_eq!(noon.next_after(june, Tz::Europe__Vienna), Some(epoch("2026-10-25T11:00:00Z")));
    assert_eq!(event("02:30 CET").next_after(october, Tz::Europe__Vienna), Some(epoch("2026-10-25T01:30:00Z")));
    assert_eq!(noon.next_after(june, Tz::UTC), Some(epoch("2026-06-01T10:00:00Z")), "the zone that has the name");
    assert_eq!(event("12:00 CEST").next_after(june, Tz::UTC), None, "never on a host that does not go by it");
}

#[test]
fn what_never_comes_is_known_quickly() {
    let start = std::time::Instant::now();
    let (base, zone) = (epoch("2026-01-01T00:00:00Z"), Tz::Europe__Vienna);
    for text in ["*-02-30", "*-02-30 *:*:*", "mon 2026-01-01", "2000..2025-*-* *:*:*", "1970/4-2-30", "12:00:00 CAT"] {
        assert_eq!(event(text).next_after(base, zone), None, "{text}");
    }
    // A day that a zone left out altogether, second by second.
    let samoa = event("2011-12-30 *:*:*");
    assert_eq!(samoa.next_after(epoch("2011-12-01T00:00:00Z"), Tz::Pacific__Apia), None);
    for edge in [i64::MIN, -1, 7_258_118_399, 7_258_118_400, i64::MAX] {
        event("*-*-* *:*:*").next_after(edge, Tz::UTC);
    }
    assert!(start.elapsed().as_secs() < 5, "the guard of a bounded search");
}
