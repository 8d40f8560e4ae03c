//! One section: a type, an id, and properties in the order they were read.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    de::{self, ReadError},
    ser::{self, WriteError},
};

/// One `key value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, without white space.
    pub key: String,
    /// The value, trimmed; may be empty.
    pub value: String,
    /// Line number in the file it was read from; 0 if it was made in memory.
    pub line: usize,
}

/// A section of a file, or one about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) line: usize,
    pub(crate) properties: Vec<Property>,
}

/// A value read from a section, with the properties its type has no field for.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// Properties that were not asked for, in file order.
    pub unknown: Vec<Property>,
}

impl Section {
    /// Makes an empty section. Type and id are checked when it is put into a file.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), line: 0, properties: Vec::new() }
    }

    /// Makes a section of `value`: one property per field that is set, several for a list.
    ///
    /// The field named `id_key` becomes the section's id instead of a property.
    ///
    /// # Errors
    /// A value that has no text form (a map, a float, bytes), or no field `id_key`.
    pub fn from_value<T: Serialize>(
        kind: impl Into<String>,
        id_key: &'static str,
        value: &T,
    ) -> Result<Self, WriteError> {
        let mut section = Self::new(kind, "");
        let mut id = None;
        for (key, value) in ser::to_pairs(value)? {
            if key == id_key {
                id = Some(value);
            } else {
                section.push(key, value);
            }
        }
        section.id = id.ok_or(WriteError::NoId { key: id_key })?;
        Ok(section)
    }

    /// Text before the colon of the header.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Text after the colon of the header.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Line of the header, counted from 1; 0 if the section was made in memory.
    pub fn line(&self) -> usize {
        self.line
    }

    /// All properties, in file order.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// First value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key).next()
    }

    /// Every value of `key`, in order.
    pub fn get_all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.properties.iter().filter(move |property| property.key == key).map(|property| property.value.as_str())
    }

    /// Line of the first property `key`, or of the header when there is none.
    pub fn line_of(&self, key: &str) -> usize {
        self.properties.iter().find(|property| property.key == key).map_or(self.line, |property| property.line)
    }

    /// Adds one more value for `key`.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.properties.push(Property { key: key.into(), value: value.into(), line: 0 });
    }

    /// Replaces every value of `key` by one.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.unset(key);
        self.push(key, value);
    }

    /// Removes every value of `key`; says whether there was one.
    pub fn unset(&mut self, key: &str) -> bool {
        let before = self.properties.len();
        self.properties.retain(|property| property.key != key);
        before != self.properties.len()
    }

    /// Reads the properties into `T`, whose fields are named like the keys; the id is offered as field `id_key`.
    ///
    /// A list field takes a repeated key, any other field a single one. Booleans are `1 on yes true` and
    /// `0 off no false` in any letter case.
    ///
    /// # Errors
    /// The first property that does not fit, with its line and key.
    pub fn read<T: DeserializeOwned>(&self, id_key: &str) -> Result<Read<T>, ReadError> {
        de::read(Some((id_key, self)), &self.properties)
    }

    /// The section as it is written: header, then properties in byte order of their keys, repeated keys in their order.
    ///
    /// # Errors
    /// Text that could not be read back: control characters, outer blanks, an empty or impossible key, type or id.
    pub fn to_text(&self) -> Result<String, WriteError> {
        check_name("section type", &self.kind, |kind| {
            kind.starts_with(char::is_alphabetic) && !kind.contains(|c: char| c == ':' || c.is_whitespace())
        })?;
        check_name("section id", &self.id, |id| !id.is_empty())?;
        let mut properties: Vec<&Property> = self.properties.iter().collect();
        properties.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));

        let mut text = format!("{}: {}\n", self.kind, self.id);
        for Property { key, value, .. } in properties {
            check_name("key", key, |key| {
                !key.is_empty() && !key.starts_with(['#', ';']) && !key.contains(char::is_whitespace)
            })?;
            check_name("value", value, |_| true).map_err(|_| WriteError::Value { key: key.clone() })?;
            text.push_str(&format!("\t{key} {value}\n"));
        }
        Ok(text)
    }
}

fn check_name(what: &'static str, text: &str, fits: impl Fn(&str) -> bool) -> Result<(), WriteError> {
    let clean = text.trim() == text && !text.contains(char::is_control) && fits(text);
    if clean { Ok(()) } else { Err(WriteError::Name { what, text: text.to_owned() }) }
}
