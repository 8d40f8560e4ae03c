//! The real program, asked for many events at once.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::process::Command;

use chrono::NaiveDateTime;

/// What systemd makes of an event.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing.
    Refused,
    /// It stopped looking for the next time, after a thousand steps.
    GaveUp,
    /// Its normalized form and the next times, in seconds since 1970; fewer than were asked for if there are no more.
    Read { normalized: String, times: Vec<i64> },
}

/// Asks for the next times of each event after `base`, in zone `zone`.
///
/// Nothing at all where the program is not installed, which is said aloud.
pub(crate) fn ask(events: &[String], zone: &str, base: i64, iterations: usize) -> Option<Vec<Answer>> {
    let base = chrono::DateTime::from_timestamp(base, 0).unwrap().format("%Y-%m-%d %H:%M:%S UTC");
    let mut command = Command::new("systemd-analyze");
    command.args(["calendar", &format!("--iterations={iterations}"), &format!("--base-time={base}"), "--"]);
    let output = match command.args(events).env("TZ", zone).env("LC_ALL", "C").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: systemd-analyze is not installed, so nothing is compared with it");
            return None;
        }
        output => output.unwrap(),
    };
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let named = |message: &str| -> HashSet<&str> {
        stderr.lines().filter_map(|line| Some(line.strip_prefix(message)?.rsplit_once("': ")?.0)).collect()
    };
    let refused = named("Failed to parse calendar specification '");
    let gave_up = named("Failed to determine next elapse for '");
    let mut lines = stdout.lines().peekable();
    let mut answers = Vec::new();
    for event in events {
        if refused.contains(event.as_str()) {
            answers.push(Answer::Refused);
            continue;
        }
        if gave_up.contains(event.as_str()) {
            answers.push(Answer::GaveUp);
            continue;
        }
        let normalized = lines.by_ref().find_map(|line| line.strip_prefix("Normalized form: "));
        let Some(normalized) = normalized else { panic!("no answer to {event:?}: {stderr}") };
        let mut times = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            // Where the zone is UTC, times are given once.
            let elapse = ["Next elapse", "(in UTC)"].contains(&name.trim()) || name.trim().starts_with("Iter. #");
            if elapse && let Some(time) = value.trim().strip_suffix(" UTC") {
                times.push(NaiveDateTime::parse_from_str(time, "%a %Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp());
            }
        }
        answers.push(Answer::Read { normalized: normalized.to_owned(), times });
    }
    Some(answers)
}
