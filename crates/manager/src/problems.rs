//! Broken lines in configuration files: said aloud on standard error, without stopping what still works.

use config::Problem;

use crate::outcome::Outcome;

/// Prints every problem of a file.
pub(crate) fn tell(problems: &[Problem]) {
    for problem in problems {
        eprintln!("warning: {problem}");
    }
}

/// A list that left broken sections out is a list with warnings.
pub(crate) fn outcome(problems: &[Problem]) -> Outcome {
    if problems.iter().any(|problem| problem.breaks_section) { Outcome::Warnings } else { Outcome::Done }
}
