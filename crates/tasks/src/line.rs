//! Lines of a log: local time with a numeric offset, `: `, text.

use chrono::{DateTime, Local, TimeZone};

use crate::end::TaskEnd;

/// Length of a time stamp; readers cut it off together with the `: ` behind it.
const STAMP: usize = 25;

/// Writes `text` as log lines of the moment `now`, one for each of its own lines, in the time zone of the host.
pub(crate) fn lines(now: i64, text: &str) -> String {
    let moment = Local.timestamp_opt(now, 0).single().unwrap_or_else(|| DateTime::UNIX_EPOCH.with_timezone(&Local));
    lines_at(&moment, text)
}

fn lines_at<Z: TimeZone<Offset: std::fmt::Display>>(moment: &DateTime<Z>, text: &str) -> String {
    let stamp = moment.format("%Y-%m-%dT%H:%M:%S%:z").to_string();
    let mut written = String::with_capacity(STAMP + text.len() + 3);
    for part in text.trim_end_matches(['\n', '\r']).split('\n') {
        let clean = part.trim_end_matches('\r').chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c });
        written.push_str(&stamp);
        written.push_str(": ");
        written.extend(clean);
        written.push('\n');
    }
    written
}

/// Splits a line into its moment and its text; `None` when it has no time.
pub(crate) fn split(line: &str) -> Option<(i64, &str)> {
    let (stamp, rest) = line.split_at_checked(STAMP)?;
    let moment = DateTime::parse_from_rfc3339(stamp).ok()?;
    Some((moment.timestamp(), rest.strip_prefix(": ")?))
}

/// Reads from the end of a log when its task ended and how. A log that breaks off says `unknown`, and the time of the last
/// line that has one; without any, `None`.
pub(crate) fn last_words(tail: &str) -> Option<(i64, TaskEnd)> {
    let mut lines = tail.lines().rev().filter_map(split);
    let (moment, text) = lines.next()?;
    // A torn line behind the end, or a time within a text, must not hide or make an end.
    let whole = tail.ends_with('\n') && tail.lines().next_back().and_then(split).is_some();
    let end = whole.then(|| TaskEnd::from_log(text)).flatten();
    Some((moment, end.unwrap_or(TaskEnd::Unknown)))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    fn moment() -> DateTime<FixedOffset> {
        FixedOffset::east_opt(3600).unwrap().with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
    }

    #[test]
    fn a_line_begins_with_the_local_time_and_a_numeric_offset() {
        assert_eq!(lines_at(&moment(), "hello"), "2026-01-02T03:04:05+01:00: hello\n");
        let utc = chrono::Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap().fixed_offset();
        assert_eq!(lines_at(&utc, ""), "2026-01-02T03:04:05+00:00: \n");
    }

    #[test]
    fn every_line_of_a_text_has_its_own_time_and_control_characters_are_blanks() {
        let written = lines_at(&moment(), "one\r\ntwo\u{1b}[31m\n");

        assert_eq!(written, "2026-01-02T03:04:05+01:00: one\n2026-01-02T03:04:05+01:00: two [31m\n");
    }

    #[test]
    fn the_last_line_tells_the_end_or_that_nobody_knows() {
        let at = moment().timestamp();
        let log = |text: &str| format!("2026-01-02T03:04:05+01:00: {text}\n");

        assert_eq!(last_words(&log("TASK OK")), Some((at, TaskEnd::Ok)));
        assert_eq!(last_words(&log("half way")), Some((at, TaskEnd::Unknown)));
        assert_eq!(last_words(&format!("{}torn", log("TASK OK"))), Some((at, TaskEnd::Unknown)));
        assert_eq!(last_words(log("TASK OK").trim_end()), Some((at, TaskEnd::Unknown)));
        assert_eq!(last_words(""), None);
        assert_eq!(last_words("no time here\n"), None);
    }
}
