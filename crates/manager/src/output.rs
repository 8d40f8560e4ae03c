//! Everything that goes to standard output: tables, records, JSON.
//!
//! A command hands over its rows as JSON objects; the text table shows chosen columns of exactly those objects, so that
//! text and JSON can never disagree. A reader that went away (`| head`) ends the program quietly.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use serde::Serialize;
use serde_json::Value;

use crate::human;

/// Lines as PBS draws them: solid between columns and rows, double below the header.
const UTF8_BORDERS: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('╞', '═', '╪', '╡'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .row_separator(LineStyle::new('├', '─', '┼', '┤'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// The same in ASCII.
const ASCII_BORDERS: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '=', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .row_separator(LineStyle::new('+', '-', '+', '+'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// Columns only.
const NO_BORDERS: TableStyle = TableStyle::new();

/// How a command prints its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and sentences for people.
    #[default]
    Text,
    /// JSON on one line.
    Json,
    /// JSON on several lines.
    JsonPretty,
}

/// How the text table renders a column.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Bytes,
    Time,
    Flag,
    With(fn(&Value) -> String),
}

/// One column of a text table: the key of the row objects, and how its values look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    key: &'static str,
    kind: Kind,
}

impl Column {
    /// A column of texts and numbers; numbers stand on the right.
    pub(crate) const fn new(key: &'static str) -> Self {
        Self { key, kind: Kind::Plain }
    }

    /// A column of amounts in bytes.
    pub(crate) const fn bytes(key: &'static str) -> Self {
        Self { key, kind: Kind::Bytes }
    }

    /// A column of seconds since the epoch.
    pub(crate) const fn time(key: &'static str) -> Self {
        Self { key, kind: Kind::Time }
    }

    /// A column of booleans, shown as 1 and 0.
    pub(crate) const fn flag(key: &'static str) -> Self {
        Self { key, kind: Kind::Flag }
    }

    /// A column whose text `show` makes of the value.
    pub(crate) const fn with(key: &'static str, show: fn(&Value) -> String) -> Self {
        Self { key, kind: Kind::With(show) }
    }

    /// The key of the row objects.
    pub(crate) fn key(&self) -> &'static str {
        self.key
    }

    fn render(self, value: &Value) -> (String, bool) {
        match (self.kind, value) {
            (Kind::With(show), value) => (show(value), false),
            (_, Value::Null) => (String::new(), false),
            (Kind::Bytes, Value::Number(n)) => (n.as_u64().map_or_else(|| n.to_string(), human::bytes), true),
            (Kind::Time, Value::Number(n)) => (n.as_i64().map_or_else(|| n.to_string(), human::local_time), false),
            (Kind::Flag, Value::Bool(flag)) => (u8::from(*flag).to_string(), true),
            (_, value) => plain(value),
        }
    }
}

/// A cell's text, and whether it stands on the right.
fn plain(value: &Value) -> (String, bool) {
    match value {
        Value::Null => (String::new(), false),
        Value::String(text) => (text.clone(), false),
        Value::Bool(flag) => (u8::from(*flag).to_string(), true),
        Value::Number(number) => (number.to_string(), true),
        Value::Array(_) | Value::Object(_) => (value.to_string(), false),
    }
}

/// The look of text tables, read from the environment once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    utf8: bool,
    header: bool,
    border: bool,
}

impl Look {
    fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some();
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let border = !set("PROXMOX_OUTPUT_NO_BORDER");
        Self { utf8: is_utf8(locale.as_deref()), border, header: border && !set("PROXMOX_OUTPUT_NO_HEADER") }
    }
}

fn is_utf8(locale: Option<&str>) -> bool {
    locale.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}

/// Standard output, with the format the user asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: OutputFormat,
    look: Look,
}

impl Output {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format, look: Look::from_environment() }
    }

    /// Whether people read it.
    pub(crate) fn is_text(&self) -> bool {
        self.format == OutputFormat::Text
    }

    /// Prints a list: a table of `columns`, nothing at all when it is empty; as JSON an array with every key.
    pub(crate) fn list<T: Serialize>(&self, columns: &[Column], rows: &[T]) -> Result<()> {
        let rows = serde_json::to_value(rows).context("cannot render the list")?;
        if !self.is_text() {
            return self.json(&rows);
        }
        let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = self.table();
        if self.look.header {
            table.set_header(columns.iter().map(|column| column.key));
        }
        for row in rows {
            table.add_row(columns.iter().map(|column| {
                let (text, right) = column.render(&row[column.key]);
                cell(text, right)
            }));
        }
        self.write_table(&table)
    }

    /// Prints one object: a table of names and values; as JSON the object itself.
    pub(crate) fn record<T: Serialize>(&self, kinds: &[Column], record: &T) -> Result<()> {
        let record = serde_json::to_value(record).context("cannot render the record")?;
        if !self.is_text() {
            return self.json(&record);
        }
        let mut table = self.table();
        if self.look.header {
            table.set_header(["Name", "Value"]);
        }
        for (key, value) in record.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let column = kinds.iter().find(|column| column.key == key.as_str());
            let (text, _) = column.map_or_else(|| plain(value), |column| column.render(value));
            table.add_row([cell(key.clone(), false), cell(text, false)]);
        }
        self.write_table(&table)
    }

    /// Prints a value as JSON (for text output: on several lines).
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<()> {
        let text = match self.format {
            OutputFormat::Json => serde_json::to_string(value),
            OutputFormat::Text | OutputFormat::JsonPretty => serde_json::to_string_pretty(value),
        };
        self.line(&text.context("cannot render JSON")?)
    }

    /// Prints one line of text.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        write_stdout(format!("{text}\n").as_bytes())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        let preset = match self.look {
            Look { border: false, .. } => NO_BORDERS,
            Look { utf8: true, .. } => UTF8_BORDERS,
            Look { utf8: false, .. } => ASCII_BORDERS,
        };
        table.load_style(preset).set_content_arrangement(ContentArrangement::Disabled);
        table
    }

    fn write_table(&self, table: &Table) -> Result<()> {
        self.line(&table.trim_fmt())
    }
}

fn cell(text: String, right: bool) -> comfy_table::Cell {
    // A control character in a remote's answer must not reach the terminal.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    comfy_table::Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

/// Writes to standard output; a reader that has gone away is no error.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output(utf8: bool) -> Output {
        Output { format: OutputFormat::Text, look: Look { utf8, header: true, border: true } }
    }

    fn drawn(utf8: bool) -> String {
        let mut table = output(utf8).table();
        table.set_header(["name", "size"]);
        table.add_row([cell("a".into(), false), cell("10".into(), true)]);
        table.add_row([cell("b".into(), false), cell("2".into(), true)]);
        table.trim_fmt()
    }

    #[test]
    fn a_utf8_table_has_box_lines_and_a_line_between_all_rows() {
        let lines = [
            "┌──────┬──────┐",
            "│ name │ size │",
            "╞══════╪══════╡",
            "│ a    │   10 │",
            "├──────┼──────┤",
            "│ b    │    2 │",
            "└──────┴──────┘",
        ];
        assert_eq!(drawn(true), lines.join("\n"));
    }

    #[test]
    fn a_table_is_plain_ascii_elsewhere() {
        assert!(drawn(false).is_ascii());
        assert!(drawn(false).contains("| a    |   10 |"));
    }

    #[test]
    fn the_locale_decides_between_the_two() {
        assert!(is_utf8(Some("de_AT.UTF-8")));
        assert!(is_utf8(Some("C.utf8")));
        assert!(!is_utf8(Some("C")));
        assert!(!is_utf8(None));
    }

    #[test]
    fn cells_show_flags_sizes_and_missing_values() {
        assert_eq!(Column::flag("x").render(&json!(true)), ("1".into(), true));
        assert_eq!(Column::bytes("x").render(&json!(1536)), ("1.5 KiB".into(), true));
        assert_eq!(Column::new("x").render(&Value::Null), (String::new(), false));
        assert_eq!(Column::new("x").render(&json!(["a"])), ("[\"a\"]".into(), false));
    }
}
