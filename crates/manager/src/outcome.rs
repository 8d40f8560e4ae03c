//! What a command came to, and the exit code that says so.

use std::process::ExitCode;

/// How a command that did not fail outright ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Everything possible was done, and there is something to look at.
    Warnings,
    /// Part of the work failed; the command has already said what.
    Failed,
}

impl Outcome {
    /// The exit code scripts rely on: 0 all done, 1 failed, 3 done with warnings. (2, usage, is given by the parser.)
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Warnings => 3,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome.code())
    }
}
