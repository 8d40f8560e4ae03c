//! How a task ended, as its log and the archive say it.

use std::fmt;

/// Longest text of an error that is kept, in bytes, so that the last line of a log is found in its last 8 KiB.
const MAX_TEXT: usize = 4096;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// Well.
    Ok,
    /// Well, with so many warnings in its log.
    Warnings(u64),
    /// Not well: why, on one line.
    Error(String),
    /// Nobody knows: it died before it could say.
    Unknown,
}

/// A [`TaskEnd`] without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndKind {
    /// Well.
    Ok,
    /// With warnings.
    Warning,
    /// Failed.
    Error,
    /// Not known.
    Unknown,
}

impl TaskEnd {
    /// Reads the status of an archive line or an API answer: `OK`, `WARNINGS: n`, `unknown`, or the text of an error.
    pub fn from_status(text: &str) -> Self {
        match text {
            "OK" => Self::Ok,
            "unknown" => Self::Unknown,
            text => match text.strip_prefix("WARNINGS: ").and_then(|count| count.parse().ok()) {
                Some(count) => Self::Warnings(count),
                None => Self::Error(text.to_owned()),
            },
        }
    }

    /// Reads the last line of a log, without its time; `None` when it says nothing about an end.
    pub(crate) fn from_log(text: &str) -> Option<Self> {
        let text = text.strip_prefix("TASK ")?;
        match text.strip_prefix("ERROR: ") {
            Some(error) => Some(Self::Error(error.to_owned())),
            None => match Self::from_status(text) {
                Self::Error(_) => None,
                end => Some(end),
            },
        }
    }

    /// The last line of the log, without its time.
    pub(crate) fn log_line(&self) -> String {
        match self {
            Self::Error(_) => format!("TASK ERROR: {self}"),
            _ => format!("TASK {self}"),
        }
    }

    /// What kind of end it is.
    pub fn kind(&self) -> EndKind {
        match self {
            Self::Ok => EndKind::Ok,
            Self::Warnings(_) => EndKind::Warning,
            Self::Error(_) => EndKind::Error,
            Self::Unknown => EndKind::Unknown,
        }
    }

    /// Whether what was to be done is done; warnings do not spoil it.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Ok | Self::Warnings(_))
    }
}

impl fmt::Display for TaskEnd {
    /// Prints the status string of archive and API, always one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Warnings(count) => write!(f, "WARNINGS: {count}"),
            Self::Unknown => f.write_str("unknown"),
            Self::Error(text) => f.write_str(&error_text(text)),
        }
    }
}

/// One line that reads back as an error, whatever the text.
fn error_text(text: &str) -> String {
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut line: String = words.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(MAX_TEXT));
    if line.is_empty() {
        return "failed without a reason".to_owned();
    }
    match TaskEnd::from_status(&line) {
        TaskEnd::Error(_) => line,
        _ => format!("failed: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_written_as_a_stock_server_writes_them_and_read_back() {
        for (end, status, line) in [
            (TaskEnd::Ok, "OK", "TASK OK"),
            (TaskEnd::Warnings(2), "WARNINGS: 2", "TASK WARNINGS: 2"),
            (TaskEnd::Unknown, "unknown", "TASK unknown"),
            (TaskEnd::Error("no way".to_owned()), "no way", "TASK ERROR: no way"),
        ] {
            assert_eq!((end.to_string().as_str(), end.log_line().as_str()), (status, line));
            assert_eq!(TaskEnd::from_status(status), end);
            assert_eq!(TaskEnd::from_log(line), Some(end));
        }
    }

    #[test]
    fn an_error_is_one_line_that_reads_back_as_an_error() {
        for (text, line) in [
            ("one\n  two\r\n\nthree", "one; two; three"),
            ("OK", "failed: OK"),
            ("WARNINGS: 3", "failed: WARNINGS: 3"),
            ("unknown", "failed: unknown"),
            ("\n", "failed without a reason"),
            ("bell\u{7}", "bell "),
        ] {
            let end = TaskEnd::Error(text.to_owned());
            assert_eq!(end.to_string(), line);
            assert_eq!(TaskEnd::from_log(&end.log_line()), Some(TaskEnd::Error(line.to_owned())));
        }
        assert!(TaskEnd::Error("ä".repeat(10_000)).to_string().len() <= MAX_TEXT);
    }

    #[test]
    fn a_line_that_only_mentions_a_task_is_no_end() {
        for text in ["TASK", "TASK WARNINGS: many", "TASK force OK", "all OK", ""] {
            assert_eq!(TaskEnd::from_log(text), None, "{text}");
        }
    }
}
