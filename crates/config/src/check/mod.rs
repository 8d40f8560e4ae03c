//! Looks the whole configuration over: every file by itself, what they say about each other, and who may read them.
//!
//! Reads files and asks the file system about them; writes nothing, asks no server and takes no lock.

mod access;
mod jobs;
mod modes;
mod overlap;
mod remotes;
mod server;
mod stores;

use std::fmt;
use std::path::{Path, PathBuf};

use section_config::SectionConfig;
use serde::Serialize;

use crate::{
    error::ConfigError,
    paths::Paths,
    store::{Problem, SectionFile},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, and should be looked at.
    Warning,
    /// An entry, or what needs it, does not work; the rest does.
    Error,
    /// A service cannot start.
    Fatal,
}

/// Something to tell about the configuration. Its text is `FILE:LINE: reason`, without a line if the whole file is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Line number from 1; 0 for the file as a whole.
    pub line: usize,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.reason),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
        }
    }
}

/// Checks everything below `paths`. Sorted by file and line.
pub fn check(paths: &Paths) -> Vec<Finding> {
    let mut findings = Findings::default();
    server::check(paths, &mut findings);
    stores::check(paths, &mut findings);
    remotes::check(paths, &mut findings);
    access::check(paths, &mut findings);
    jobs::check(paths, &mut findings);
    modes::check(paths, &mut findings);
    let mut all = findings.0;
    all.sort();
    all.dedup();
    all
}

/// Collects what is found.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, file: &Path, line: usize, reason: impl Into<String>) {
        self.0.push(Finding { file: file.to_owned(), line, severity, reason: reason.into() });
    }

    fn warn(&mut self, file: &Path, line: usize, reason: impl Into<String>) {
        self.add(Severity::Warning, file, line, reason);
    }

    fn error(&mut self, file: &Path, line: usize, reason: impl Into<String>) {
        self.add(Severity::Error, file, line, reason);
    }

    /// What reading a file noted.
    fn problems(&mut self, problems: Vec<Problem>) {
        for Problem { path, line, reason, breaks_section, .. } in problems {
            self.add(if breaks_section { Severity::Error } else { Severity::Warning }, &path, line, reason);
        }
    }

    /// A file that could not be read or used.
    fn failed(&mut self, severity: Severity, file: &Path, error: &ConfigError) {
        match error {
            ConfigError::Line { path, line, reason } => self.add(severity, path, *line, reason.clone()),
            ConfigError::Io { action, path, source } => {
                self.add(severity, path, 0, format!("cannot {action} it: {source}"));
            }
            other => self.add(severity, file, 0, other.to_string()),
        }
    }
}

/// A section file with its text, so that what is found has a line.
struct Lines {
    path: PathBuf,
    document: SectionConfig,
}

impl Lines {
    /// Reads the file; one that cannot be read is empty, as whoever loads its entries tells.
    fn of(file: &SectionFile) -> Self {
        let document = file.read().map(|(document, _)| document).unwrap_or_default();
        Self { path: file.path.clone(), document }
    }

    /// The line of a property, or of the section's header where it is not set.
    fn line(&self, id: impl fmt::Display, key: &str) -> usize {
        self.document.get(&id.to_string()).map_or(0, |section| section.line_of(key))
    }

    /// The line of one value of a list.
    fn line_of_value(&self, id: impl fmt::Display, key: &str, value: &str) -> usize {
        let Some(section) = self.document.get(&id.to_string()) else { return 0 };
        let found = section.properties().iter().find(|property| property.key == key && property.value == value);
        found.map_or_else(|| section.line_of(key), |property| property.line)
    }
}
