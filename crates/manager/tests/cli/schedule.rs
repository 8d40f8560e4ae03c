//! `schedule check`.

use serde_json::json;

use crate::host::Host;

#[test]
fn a_schedule_is_checked_as_people_and_scripts_read_it() {
    let host = Host::new();
    let check =
        ["schedule", "check", "mon..fri */12:0", "--base-time", "2026-10-23 13:00", "--timezone", "Europe/Vienna"];

    let text = host.ok(&check);
    let answer = host.json(&[&check[..], &["--iterations", "3"]].concat());

    assert!(
        text.starts_with("  Original form: mon..fri */12:0\nNormalized form: Mon..Fri *-*-* 00/12:00:00\n"),
        "{text}"
    );
    assert!(text.contains("Reading: pbs\n           Note: systemd takes no step after `*`"), "{text}");
    assert!(
        text.contains("Next elapse: Mon 2026-10-26 00:00:00 CET\n       (in UTC): Sun 2026-10-25 23:00:00 UTC"),
        "{text}"
    );
    let next = ["2026-10-25T23:00:00Z", "2026-10-26T11:00:00Z", "2026-10-26T23:00:00Z"];
    assert_eq!(answer, json!({ "canonical": "Mon..Fri *-*-* 00/12:00:00", "reading": "pbs", "next": next }));
}

#[test]
fn the_zone_of_the_host_is_that_of_the_environment() {
    let host = Host::new();
    let words = ["schedule", "check", "02:30", "--base-time=@1774652400", "--output-format=json"];

    let output = host.command(&words).env("TZ", "Europe/Vienna").output().unwrap();

    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["next"], json!(["2026-03-28T01:30:00Z"]));
}

#[test]
fn intervals_and_events_that_never_come_are_schedules_too() {
    let host = Host::new();
    let json = |schedule| host.json(&["schedule", "check", schedule, "--base-time", "@0", "--iterations", "2"]);

    let next = ["1970-01-01T00:05:00Z", "1970-01-01T00:10:00Z"];
    assert_eq!(json("every 300s"), json!({ "canonical": "every 5min", "reading": "systemd", "next": next }));
    assert_eq!(json("02-30")["next"], json!([]));
}

#[test]
fn what_is_no_schedule_ends_with_2_and_says_why() {
    let host = Host::new();
    let answer = host.run(&["schedule", "check", "mon 24:00"]);

    assert_eq!((answer.code, answer.stdout.as_str()), (2, ""));
    assert_eq!(
        answer.stderr,
        "Error: `mon 24:00` is no calendar event: hour 24 is not within 0 to 23 (at byte 4)\n\
         hint: the day begins at 00:00; a stock server would read this as minute 24 of every hour\n"
    );
    for words in [
        &["schedule", "check", "every moon"][..],
        &["schedule", "check", "daily", "--base-time", "soon"],
        &["schedule", "check", "daily", "--base-time", "2026-03-29 02:30", "--timezone", "Europe/Vienna"],
        &["schedule", "check", "daily", "--timezone", "Mars/Phobos"],
    ] {
        assert_eq!(host.run(words).code, 2, "{words:?}");
    }
}
