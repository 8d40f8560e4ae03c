//! What a command came to, and the exit code that says so.

use std::process::ExitCode;

/// How a command that did not fail outright ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Everything possible was done, and there is something to look at.
    Warnings,
    /// Work failed, in part or as a whole; what and why has been said.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// Whatever another program that calls this one expects.
    Code(u8),
}

impl Outcome {
    /// The exit code scripts rely on: 0 all done, 1 failed, 2 usage, 3 done with warnings.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Warnings => 3,
            Self::Code(code) => code,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome.code())
    }
}
