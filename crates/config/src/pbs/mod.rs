//! A stock server's configuration: taking it over, and writing one that a stock server reads.
//!
//! Its files have our grammar, but strictly: `strict` refuses what it would refuse.

mod export;
mod import;
mod kept;
mod schema;
mod strict;

use serde::Serialize;

pub use self::export::{Export, Exported, export};
pub use self::import::{ImportOptions, import};
pub use self::strict::{StrictError, check_strictly};

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is taken over.
    Taken,
    /// It is there already, and stays as it is.
    Exists,
    /// It is not taken over.
    Skipped,
    /// A file that is kept and has no effect here.
    Kept,
}

/// One entry of a file, and what is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// The file.
    pub file: &'static str,
    /// The entry; nothing for the file as a whole.
    pub entry: String,
    /// What became of it.
    pub fate: Fate,
    /// What differs, or why it was not taken over: clauses.
    pub notes: Vec<String>,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Imported {
    /// Entry by entry.
    pub entries: Vec<Line>,
    /// What is left to do, as sentences.
    pub to_do: Vec<String>,
}

impl Imported {
    fn add(&mut self, file: &'static str, entry: impl ToString, fate: Fate, notes: Vec<String>) {
        self.entries.push(Line { file, entry: entry.to_string(), fate, notes });
    }

    fn remind(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.to_do.contains(&what) {
            self.to_do.push(what);
        }
    }
}
