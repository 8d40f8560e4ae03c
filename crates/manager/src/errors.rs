//! How a failure looks on standard error: `Error: ...` with its causes, then `hint: ...` where there is advice.

use std::fmt;

use calendar::BadSchedule;
use client::ClientError;
use config::ConfigError;
use jobs::{BackupError, JobError, RestoreError};
use replication::EndError;

/// A message of the command line itself, with advice on what to do.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: Option<String>,
}

impl Hinted {
    /// Starts a message; one sentence without a full stop.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// Says that `id` is not there, and what is: the answer to most typing errors.
pub(crate) fn unknown<T: fmt::Display>(
    what: &str,
    id: &T,
    known: impl IntoIterator<Item = impl fmt::Display>,
) -> Hinted {
    let mut known: Vec<String> = known.into_iter().map(|name| name.to_string()).collect();
    known.sort();
    let error = Hinted::new(format!("there is no {what} '{id}'"));
    if known.is_empty() {
        error.hint(format!("there is no {what} at all yet"))
    } else {
        error.hint(format!("there is: {}", known.join(", ")))
    }
}

/// Prints `error` and its causes, one line, and the hint on a second one.
pub(crate) fn print(error: &anyhow::Error) {
    eprintln!("Error: {}", one_line(error));
    if let Some(hint) = hint_of(error) {
        eprintln!("hint: {hint}");
    }
}

/// The chain of causes on one line, leaving out a cause whose text the message before it already carries.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.trim_end().replace('\n', " ")
}

/// Whether the command line itself is at fault: a value that does not fit its property, a text that is no schedule.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<ConfigError>(), Some(ConfigError::Invalid { .. })) || error.is::<BadSchedule>()
}

/// The first piece of advice found on the way down the chain.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Hinted>()
            .and_then(|error| error.hint.clone())
            .or_else(|| cause.downcast_ref::<BadSchedule>().and_then(BadSchedule::hint))
            .or_else(|| cause.downcast_ref::<JobError>().and_then(JobError::hint))
            .or_else(|| cause.downcast_ref::<RestoreError>().and_then(RestoreError::hint))
            .or_else(|| cause.downcast_ref::<BackupError>().and_then(BackupError::hint))
            .or_else(|| cause.downcast_ref::<ClientError>().and_then(ClientError::hint))
            .or_else(|| cause.downcast_ref::<EndError>().and_then(|error| error.hint().map(str::to_owned)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_the_same_line_and_are_not_doubled() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("cannot start");
        assert_eq!(one_line(&error), "cannot start: cannot read x: no such file");
    }

    #[test]
    fn an_unknown_name_lists_what_exists_in_order() {
        let error: anyhow::Error = unknown("remote", &"pbs9", ["pbs2", "pbs1"]).into();
        assert_eq!(one_line(&error), "there is no remote 'pbs9'");
        assert_eq!(hint_of(&error).unwrap(), "there is: pbs1, pbs2");
    }
}
