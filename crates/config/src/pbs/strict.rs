//! Reads a section file as a stock server does: one bad line refuses the whole file.
//!
//! Source: `docs/configuration.md`, "Sections", and what a stock server of version 4.2 was seen to refuse.

use std::collections::HashSet;

use super::schema::{FileSchema, KindSchema, schema_of};

/// Why a stock server would refuse a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct StrictError {
    /// Line number, from 1.
    pub line: usize,
    /// What it would not take.
    pub reason: String,
}

/// A section being read.
struct Open<'a> {
    kind: &'a KindSchema,
    seen: HashSet<String>,
}

/// Tells whether a stock server would read `text` as its file `name`, such as `sync.cfg`.
///
/// # Errors
/// The first line it would refuse. A file that is none of its section files is refused as a whole.
pub fn check_strictly(name: &str, text: &str) -> Result<(), StrictError> {
    let Some(schema) = schema_of(name) else {
        return Err(StrictError { line: 0, reason: format!("`{name}` is no section file") });
    };
    let mut open: Option<Open<'_>> = None;
    let mut number = 0;
    for line in text.lines() {
        number += 1;
        let at = |reason: String| StrictError { line: number, reason };
        open = match open {
            None if line.trim().is_empty() => None,
            None => Some(header(schema, line).map_err(at)?),
            Some(section) if line.trim().is_empty() => {
                section.close().map_err(at)?;
                None
            }
            Some(section) => Some(section.property(line).map_err(at)?),
        };
    }
    match open {
        Some(section) => section.close().map_err(|reason| StrictError { line: number, reason }),
        None => Ok(()),
    }
}

fn header<'a>(schema: &'a FileSchema, line: &str) -> Result<Open<'a>, String> {
    let (kind, id) =
        line.split_once(':').filter(|_| line.starts_with(char::is_alphabetic)).ok_or("a section header is expected")?;
    let (kind, id) = (kind.trim(), id.trim());
    let known = schema.kinds.iter().find(|known| known.kind == kind);
    let kind = known.ok_or_else(|| format!("unknown section type `{kind}`"))?;
    (kind.id)(id).map_err(|reason| format!("bad section identifier `{id}`: {reason}"))?;
    Ok(Open { kind, seen: HashSet::new() })
}

impl Open<'_> {
    fn property(mut self, line: &str) -> Result<Self, String> {
        if !line.starts_with(char::is_whitespace) {
            return Err("a property is expected; a blank line ends a section".to_owned());
        }
        let (key, value) =
            line.trim_start().split_once(char::is_whitespace).ok_or("a property without a blank behind its key")?;
        let property = self.kind.property(key).ok_or_else(|| format!("unknown property `{key}`"))?;
        if !self.seen.insert(key.to_owned()) && !property.list {
            return Err(format!("duplicate property `{key}`"));
        }
        (property.check)(value.trim()).map_err(|reason| format!("property `{key}`: {reason}"))?;
        Ok(self)
    }

    fn close(self) -> Result<(), String> {
        let missing = self.kind.properties.iter().find(|known| known.required && !self.seen.contains(known.key));
        missing.map_or(Ok(()), |property| Err(format!("property `{}` is missing", property.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match check_strictly("sync.cfg", text) {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    const GOOD: &str = "sync: one\n\tremote-store main\n\tstore tank\n";

    #[test]
    fn every_line_that_a_stock_server_refuses_is_refused() {
        assert_eq!(refused(""), "taken");
        assert_eq!(refused(GOOD), "taken");
        assert_eq!(refused(&format!("\n{GOOD}\n \nsync:two\n remote-store main\n\u{a0}store tank\n\tns \n")), "taken");
        for (text, reason) in [
            (format!("# note\n{GOOD}"), "line 1: a section header is expected"),
            (format!("; note\n{GOOD}"), "line 1: a section header is expected"),
            (format!("\tstore tank\n{GOOD}"), "line 1: a section header is expected"),
            (format!("{GOOD}# note\n"), "line 4: a property is expected"),
            (format!("{GOOD}\t# note\n"), "line 4: unknown property `#`"),
            (format!("{GOOD}{GOOD}"), "line 4: a property is expected; a blank line"),
            (format!("{GOOD}\tns\n"), "line 4: a property without a blank"),
            (format!("{GOOD}\tcolour blue\n"), "line 4: unknown property `colour`"),
            (format!("{GOOD}\tdisable true\n"), "line 4: unknown property `disable`"),
            (format!("{GOOD}\tstore tank\n"), "line 4: duplicate property `store`"),
            ("sink: one\n".to_owned(), "line 1: unknown section type `sink`"),
            ("sync: ab\n".to_owned(), "line 1: bad section identifier `ab`"),
            ("sync: one\n\tstore tank\n".to_owned(), "line 2: property `remote-store` is missing"),
            ("sync: one\n\tstore tank\n\nsync: two\n".to_owned(), "line 3: property `remote-store` is missing"),
        ] {
            let said = refused(&text);
            assert!(said.starts_with(reason), "{said}\n{text}");
        }
    }

    #[test]
    fn lists_may_repeat_and_be_interleaved() {
        let text = format!("{GOOD}\tgroup-filter type:vm\n\tcomment x\n\tgroup-filter exclude:group:vm/1\n");
        assert_eq!(refused(&text), "taken");
    }

    #[test]
    fn every_value_is_checked_by_the_rule_of_its_property() {
        for (line, fits) in [
            ("max-depth 7", true),
            ("max-depth 8", false),
            ("transfer-last 0", false),
            ("worker-threads 33", false),
            ("remove-vanished YES", true),
            ("remove-vanished maybe", false),
            ("group-filter type:lxc", false),
            ("ns a/b", true),
            ("ns a/b/c/d/e/f/g/h", false),
            ("rate-in 20 MiB", true),
            ("rate-in fast", false),
            ("schedule mon..fri 02:30", true),
            ("schedule every 5min", false),
            ("schedule Daily", false),
            ("schedule mon-fri", false),
            ("schedule 12:00 Europe/Vienna", false),
            ("schedule @1782864000", false),
            ("schedule *:0/25", true),
            ("sync-direction sideways", false),
            ("owner root", false),
            ("comment \u{7}", false),
            ("active-encryption-key k", false),
        ] {
            let said = refused(&format!("{GOOD}\t{line}\n"));
            assert_eq!(said == "taken", fits, "{line}: {said}");
        }
    }
}
