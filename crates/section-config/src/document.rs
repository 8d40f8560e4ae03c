//! A whole file: sections, and every byte between them.

use crate::{
    grammar::Line,
    problem::{Problem, ProblemKind},
    section::{Property, Section},
    ser::WriteError,
};

/// A section file in memory. Writing it back unchanged gives the same bytes.
///
/// Parsing always succeeds: a broken section is left out of [`sections`](Self::sections), reported by
/// [`problems`](Self::problems), and kept in the bytes. An edit rewrites its own section and nothing else.
#[derive(Clone, Debug, Default)]
pub struct SectionConfig {
    blocks: Vec<Block>,
    problems: Vec<Problem>,
    kinds: Option<Vec<String>>,
}

/// A run of lines that belongs together, with its line endings.
#[derive(Clone, Debug)]
struct Block {
    text: Vec<u8>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// One line of white space.
    Blank,
    /// One line outside sections that means nothing.
    Loose,
    /// Header and body, without the blank line that ends it.
    Section { section: Section, broken: bool, comments: Vec<u8> },
}

impl SectionConfig {
    /// Parses a file whose section types are not known beforehand.
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        Self::parse_document(text.as_ref(), None)
    }

    /// Parses a file that knows only these section types.
    ///
    /// Sections of another type are kept and reported. It also makes recovery exact: a line at the left edge inside a
    /// section starts a new section only if it names one of these types, so a property that lost its indentation
    /// breaks its section instead of being taken for a header.
    pub fn parse_kinds(text: impl AsRef<[u8]>, kinds: &[&str]) -> Self {
        Self::parse_document(text.as_ref(), Some(kinds.iter().map(|&kind| kind.to_owned()).collect()))
    }

    fn parse_document(text: &[u8], kinds: Option<Vec<String>>) -> Self {
        let mut document = Self { blocks: Vec::new(), problems: Vec::new(), kinds };
        let mut inside = false;
        for (index, raw) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            inside = document.take_line(index + 1, raw, inside);
        }
        document.note_duplicates();
        document.problems.sort_by_key(|problem| problem.line);
        document
    }

    /// Adds one line; says whether the next one stands inside a section.
    fn take_line(&mut self, number: usize, raw: &[u8], inside: bool) -> bool {
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = if raw.len() > line.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        let lossy = String::from_utf8_lossy(line);
        let parsed = Line::classify(&lossy);
        let valid = std::str::from_utf8(line).is_ok() || parsed == Line::Comment;

        match parsed {
            Line::Blank => {
                self.blocks.push(Block { text: raw.to_vec(), content: Content::Blank });
                return false;
            }
            Line::Header { kind, id } if !inside || self.knows(kind) => {
                self.open_section(number, raw, kind, id, inside);
                if !valid {
                    self.break_section(number, ProblemKind::NotUtf8);
                }
                return true;
            }
            _ => {}
        }
        if !inside {
            self.blocks.push(Block { text: raw.to_vec(), content: Content::Loose });
            let kind = match parsed {
                Line::Comment => ProblemKind::Comment,
                _ if !valid => ProblemKind::NotUtf8,
                _ => ProblemKind::HeaderExpected,
            };
            self.problems.push(Problem { line: number, section: None, kind });
            return false;
        }
        match parsed {
            Line::Comment => {
                let section = self.extend_section(raw, |_, comments| {
                    comments.extend_from_slice(raw);
                    if !raw.ends_with(b"\n") {
                        comments.push(b'\n');
                    }
                });
                self.problems.push(Problem { line: number, section, kind: ProblemKind::Comment });
            }
            Line::Property { key, value } if valid => {
                let property =
                    Property { key: key.to_owned(), value: value.unwrap_or_default().to_owned(), line: number };
                let section = self.extend_section(raw, |section, _| section.properties.push(property));
                if value.is_none() {
                    self.problems.push(Problem { line: number, section, kind: ProblemKind::BareKey(key.to_owned()) });
                }
            }
            _ => {
                self.extend_section(raw, |_, _| {});
                self.break_section(number, if valid { ProblemKind::PropertyExpected } else { ProblemKind::NotUtf8 });
            }
        }
        true
    }

    fn knows(&self, kind: &str) -> bool {
        match &self.kinds {
            Some(kinds) => kinds.iter().any(|known| known == kind),
            None => !kind.contains(char::is_whitespace),
        }
    }

    fn open_section(&mut self, number: usize, raw: &[u8], kind: &str, id: &str, glued: bool) {
        let section = Section { kind: kind.to_owned(), id: id.to_owned(), line: number, properties: Vec::new() };
        let content = Content::Section { section, broken: false, comments: Vec::new() };
        self.blocks.push(Block { text: raw.to_vec(), content });
        if glued {
            let section = Some(format!("{kind}: {id}"));
            self.problems.push(Problem { line: number, section, kind: ProblemKind::NoBlankLine });
        }
        if !self.knows(kind) {
            self.break_section(number, ProblemKind::UnknownKind(kind.to_owned()));
        } else if id.is_empty() {
            self.break_section(number, ProblemKind::MissingId);
        }
    }

    /// Appends a line to the section being read; returns the section's name.
    fn extend_section(&mut self, raw: &[u8], add: impl FnOnce(&mut Section, &mut Vec<u8>)) -> Option<String> {
        let Some(Block { text, content: Content::Section { section, comments, .. } }) = self.blocks.last_mut() else {
            return None;
        };
        text.extend_from_slice(raw);
        add(section, comments);
        Some(format!("{}: {}", section.kind, section.id))
    }

    fn break_section(&mut self, line: usize, kind: ProblemKind) {
        if let Some(Block { content: Content::Section { section, broken, .. }, .. }) = self.blocks.last_mut() {
            *broken = true;
            let section = Some(format!("{}: {}", section.kind, section.id));
            self.problems.push(Problem { line, section, kind });
        }
    }

    fn note_duplicates(&mut self) {
        let mut seen = std::collections::HashMap::new();
        for block in &self.blocks {
            let Content::Section { section, .. } = &block.content else { continue };
            if section.id.is_empty() {
                continue;
            }
            if let Some(first_line) = seen.insert(section.id.as_str(), section.line) {
                self.problems.push(Problem {
                    line: section.line,
                    section: Some(format!("{}: {}", section.kind, section.id)),
                    kind: ProblemKind::DuplicateId { first_line },
                });
            }
        }
    }

    /// What is wrong with the file, by line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The usable sections in file order, one per id; of several with one id the last counts, broken or not.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        let mut seen = std::collections::HashSet::new();
        let mut kept: Vec<&Section> = self
            .all()
            .rev()
            .filter(|(section, _)| seen.insert(section.id.as_str()))
            .filter(|(_, broken)| !broken)
            .map(|(section, _)| section)
            .collect();
        kept.reverse();
        kept.into_iter()
    }

    /// The sections left out of [`sections`](Self::sections) because something in them is broken, as far as they could
    /// be read. To be asked only for what they mention, never to be acted on.
    pub fn broken_sections(&self) -> impl Iterator<Item = &Section> {
        self.all().filter(|(_, broken)| *broken).map(|(section, _)| section)
    }

    /// The usable section with this id.
    pub fn get(&self, id: &str) -> Option<&Section> {
        self.all().rev().find(|(section, _)| section.id == id).filter(|(_, broken)| !broken).map(|(section, _)| section)
    }

    /// Line of the last section with this id, usable or broken.
    pub fn line_of(&self, id: &str) -> Option<usize> {
        self.all().rev().find(|(section, _)| section.id == id).map(|(section, _)| section.line)
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = (&Section, bool)> {
        self.blocks.iter().filter_map(|block| match &block.content {
            Content::Section { section, broken, .. } => Some((section, *broken)),
            Content::Blank | Content::Loose => None,
        })
    }

    /// Writes `section` in place of the last one with its id, or as a new one at the end after one empty line.
    ///
    /// The section is written canonically; comments that stood in its body follow its properties. Every byte
    /// outside of it stays, except that a missing line end before a new section is added.
    ///
    /// # Errors
    /// Text that could not be read back; the file is unchanged then.
    pub fn set(&mut self, section: &Section) -> Result<(), WriteError> {
        let mut text = section.to_text()?.into_bytes();
        if !self.knows(&section.kind) {
            return Err(WriteError::Name { what: "section type", text: section.kind.clone() });
        }
        let place = self
            .blocks
            .iter()
            .rposition(|block| matches!(&block.content, Content::Section { section: old, .. } if old.id == section.id));
        match place {
            Some(index) => {
                if let Content::Section { comments, .. } = &self.blocks[index].content {
                    text.extend_from_slice(comments);
                }
                self.blocks[index].text = text;
            }
            None => {
                let mut gap = Vec::new();
                if let Some(last) = self.blocks.last() {
                    if !last.text.ends_with(b"\n") {
                        gap.push(b'\n');
                    }
                    // A last line of white space without its line end becomes the separator by getting one.
                    if !matches!(last.content, Content::Blank) {
                        gap.push(b'\n');
                    }
                }
                gap.extend_from_slice(&text);
                self.blocks.push(Block { text: gap, content: Content::Loose });
            }
        }
        self.reparse();
        Ok(())
    }

    /// Removes every section with this id and, for each, one of the empty lines that set it apart.
    ///
    /// Says whether there was one.
    pub fn remove(&mut self, id: &str) -> bool {
        let mut found = false;
        while let Some(index) = self
            .blocks
            .iter()
            .position(|block| matches!(&block.content, Content::Section { section, .. } if section.id == id))
        {
            found = true;
            self.blocks.remove(index);
            let is_blank = |at: usize| matches!(self.blocks.get(at), Some(Block { content: Content::Blank, .. }));
            let open_before = index == 0 || is_blank(index - 1);
            if open_before && is_blank(index) {
                self.blocks.remove(index);
            } else if index > 0 && index == self.blocks.len() && is_blank(index - 1) {
                self.blocks.remove(index - 1);
            }
        }
        if found {
            self.reparse();
        }
        found
    }

    fn reparse(&mut self) {
        *self = Self::parse_document(&self.to_bytes(), self.kinds.take());
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.text.iter().copied()).collect()
    }
}
