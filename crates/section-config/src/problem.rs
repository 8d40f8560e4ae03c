//! What is wrong with a file, line by line.

use std::fmt;

/// Something in a file that its writer should know about.
///
/// Reading never fails as a whole: a problem either makes one section unusable ([`Problem::breaks_section`]) or only
/// says that a stock server would refuse the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line number, counted from 1.
    pub line: usize,
    /// `kind: id` of the section the line stands in; `None` outside sections.
    pub section: Option<String>,
    /// What it is.
    pub kind: ProblemKind,
}

/// The ways a line can be out of order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A line outside any section that starts none.
    #[error("a section header (`type: id`) is expected here; the line is ignored")]
    HeaderExpected,
    /// A line inside a section that is no property.
    #[error("a property (indented `key value`) is expected here; the whole section is ignored")]
    PropertyExpected,
    /// A header with nothing after its colon.
    #[error("the section has no id; it is ignored")]
    MissingId,
    /// A section type this file does not know.
    #[error("unknown section type `{0}`; the section is ignored")]
    UnknownKind(String),
    /// Bytes that are no UTF-8.
    #[error("the line is not valid UTF-8")]
    NotUtf8,
    /// The id came before, on the given line; the last section counts.
    #[error("the id appeared before, on line {first_line}; the last section with it counts")]
    DuplicateId {
        /// Line of the header that is overruled.
        first_line: usize,
    },
    /// A header directly below a section.
    #[error("no blank line before this section: a stock server refuses the whole file")]
    NoBlankLine,
    /// A comment.
    #[error("a comment: kept here, but a stock server refuses the whole file")]
    Comment,
    /// A key without even a blank behind it, read as an empty value.
    #[error("key `{0}` without a value, read as empty: a stock server refuses the whole file")]
    BareKey(String),
}

impl Problem {
    /// Says whether the section the line stands in is left out of [`sections`](crate::SectionConfig::sections).
    pub fn breaks_section(&self) -> bool {
        match self.kind {
            ProblemKind::PropertyExpected | ProblemKind::MissingId | ProblemKind::UnknownKind(_) => true,
            ProblemKind::NotUtf8 => self.section.is_some(),
            ProblemKind::HeaderExpected
            | ProblemKind::DuplicateId { .. }
            | ProblemKind::NoBlankLine
            | ProblemKind::Comment
            | ProblemKind::BareKey(_) => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(section) = &self.section {
            write!(f, " (section `{section}`)")?;
        }
        write!(f, ": {}", self.kind)
    }
}
