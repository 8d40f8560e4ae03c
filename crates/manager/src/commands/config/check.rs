//! `config check`.

use anyhow::Result;
use config::check::{Finding, Severity};
use serde::Serialize;

use crate::context::Context;
use crate::human;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Fail only for what keeps the services from starting, as their units do before they start
    #[arg(long)]
    start: bool,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    /// `ok`, `warnings` or `error`.
    result: &'static str,
    findings: Vec<Finding>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let findings = config::check::check(&ctx.paths);
        let worst = findings.iter().map(|finding| finding.severity).max();
        if ctx.out.is_text() {
            for finding in &findings {
                let severity = match finding.severity {
                    Severity::Warning => "warning",
                    Severity::Error => "error",
                    Severity::Fatal => "fatal",
                };
                ctx.out.line(&format!("{severity}: {finding}"))?;
            }
            if !self.start {
                ctx.out.line(&summary(&ctx.paths, &findings))?;
            }
        } else {
            let result = match worst {
                None => "ok",
                Some(Severity::Warning) => "warnings",
                Some(Severity::Error | Severity::Fatal) => "error",
            };
            ctx.out.json(&Answer { result, findings })?;
        }
        Ok(outcome(worst, self.start))
    }
}

fn outcome(worst: Option<Severity>, start: bool) -> Outcome {
    match worst {
        Some(Severity::Fatal) => Outcome::Failed,
        _ if start => Outcome::Done,
        Some(Severity::Error) => Outcome::Failed,
        Some(Severity::Warning) => Outcome::Warnings,
        None => Outcome::Done,
    }
}

fn summary(paths: &config::Paths, findings: &[Finding]) -> String {
    let etc = paths.etc().display();
    let count =
        |wanted: fn(Severity) -> bool| findings.iter().filter(|finding| wanted(finding.severity)).count() as u64;
    match (count(|severity| severity > Severity::Warning), count(|severity| severity == Severity::Warning)) {
        (0, 0) => format!("{etc}: nothing to complain about"),
        (errors, warnings) => {
            format!("{etc}: {}, {}", human::count(errors, "error"), human::count(warnings, "warning"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_starts_unless_the_service_could_not() {
        let codes = |start| {
            [None, Some(Severity::Warning), Some(Severity::Error), Some(Severity::Fatal)]
                .map(|worst| outcome(worst, start).code())
        };
        assert_eq!(codes(false), [0, 3, 1, 1]);
        assert_eq!(codes(true), [0, 0, 0, 1]);
    }
}
