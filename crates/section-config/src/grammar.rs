//! One line of a section file, without its line ending.
//!
//! The grammar is line based: a line alone says what it is, and only "inside or outside a section" decides what it
//! means. There are no quotes, escapes or continuation lines.

use nom::{
    IResult, Parser,
    bytes::complete::{take_till1, take_while1},
    character::complete::char,
    combinator::{rest, verify},
};

/// What a line is by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Nothing but white space.
    Blank,
    /// First visible character is `#` or `;`. Kept, but no stock server reads a file that has one.
    Comment,
    /// `kind: id`, both trimmed; the id may turn out to be empty.
    Header { kind: &'a str, id: &'a str },
    /// White space, a key, and what follows it, trimmed. `None`: nothing follows, not even a blank.
    Property { key: &'a str, value: Option<&'a str> },
    /// None of the above.
    Other,
}

impl<'a> Line<'a> {
    pub(crate) fn classify(line: &'a str) -> Self {
        let visible = line.trim();
        if visible.is_empty() {
            return Self::Blank;
        }
        if visible.starts_with(['#', ';']) {
            return Self::Comment;
        }
        if let Ok((_, found)) = header(line) {
            return found;
        }
        if let Ok((_, found)) = property(line) {
            return found;
        }
        Self::Other
    }
}

/// Starts with a letter and has a colon: text before the first one is the kind, the rest the id.
fn header(line: &str) -> IResult<&str, Line<'_>> {
    (verify(take_till1(|c| c == ':'), |kind: &str| kind.starts_with(char::is_alphabetic)), char(':'), rest)
        .map(|(kind, _, id): (&str, char, &str)| Line::Header { kind: kind.trim(), id: id.trim() })
        .parse(line)
}

/// Starts with white space; the key ends at the next white space.
fn property(line: &str) -> IResult<&str, Line<'_>> {
    (take_while1(char::is_whitespace), take_till1(char::is_whitespace), rest)
        .map(|(_, key, value): (&str, &str, &str)| Line::Property {
            key,
            value: (!value.is_empty()).then(|| value.trim()),
        })
        .parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_told_apart() {
        let header = |kind, id| Line::Header { kind, id };
        let property = |key, value| Line::Property { key, value };
        for (line, expected) in [
            ("", Line::Blank),
            (" \t ", Line::Blank),
            ("\u{3000}", Line::Blank),
            ("# note", Line::Comment),
            ("; note", Line::Comment),
            ("\t# note", Line::Comment),
            ("sync: a", header("sync", "a")),
            ("sync:a", header("sync", "a")),
            ("sync :  a b ", header("sync", "a b")),
            ("sync: a:b", header("sync", "a:b")),
            ("sync:", header("sync", "")),
            ("äpfel: x", header("äpfel", "x")),
            ("1sync: a", Line::Other),
            (":a", Line::Other),
            ("sync a", Line::Other),
            ("\tns", property("ns", None)),
            ("\tns ", property("ns", Some(""))),
            (" store  x ", property("store", Some("x"))),
            ("\tcomment a  b:c # d", property("comment", Some("a  b:c # d"))),
            ("\u{a0}key\u{a0}value", property("key", Some("value"))),
            ("\tkey: value", property("key:", Some("value"))),
        ] {
            assert_eq!(Line::classify(line), expected, "{line:?}");
        }
    }
}
