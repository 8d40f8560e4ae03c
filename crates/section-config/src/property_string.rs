//! Small records inside one value: `key=value,key="quoted, value"`.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    de::{self, ReadError},
    section::{Property, Read},
    ser::{self, WriteError},
};

/// A parsed property string. Keys are unique; order is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyString {
    pairs: Vec<(String, String)>,
}

/// Why a text is no property string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyStringError {
    /// A part without `=`, and no default key to give it to.
    #[error("`{0}` is no `key=value`")]
    NoKey(String),
    /// The key came before.
    #[error("key `{0}` is given more than once")]
    Duplicate(String),
    /// A quoted value that does not end.
    #[error("quoted value of `{0}` has no closing quote")]
    Unclosed(String),
    /// A backslash before something other than `"`, `\` or `n`.
    #[error("unknown escape in the value of `{0}`")]
    Escape(String),
    /// Something between a closing quote and the next comma.
    #[error("text after the closing quote of `{0}`")]
    AfterQuote(String),
}

impl PropertyString {
    /// Parses `text`. One part without `=` is the value of `default_key`, if there is one.
    ///
    /// # Errors
    /// See [`PropertyStringError`].
    pub fn parse(text: &str, default_key: Option<&str>) -> Result<Self, PropertyStringError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut left = text;
        while !left.is_empty() {
            let (key, rest) = take_key(left, default_key)?;
            let (value, rest) = take_value(&key, rest)?;
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(PropertyStringError::Duplicate(key));
            }
            pairs.push((key, value));
            left = rest;
        }
        Ok(Self { pairs })
    }

    /// Value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Sets `key`, in place if it is there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.into(),
            None => self.pairs.push((key.to_owned(), value.into())),
        }
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Reads the pairs into a struct, as a section's properties.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Read<T>, ReadError> {
        let properties: Vec<Property> = self
            .pairs
            .iter()
            .map(|(key, value)| Property { key: key.clone(), value: value.clone(), line: 0 })
            .collect();
        de::read(None, &properties)
    }

    /// Makes one of a struct's set fields.
    ///
    /// # Errors
    /// A field without a text form.
    pub fn from_value<T: Serialize>(value: &T) -> Result<Self, WriteError> {
        Ok(Self { pairs: ser::to_pairs(value)? })
    }

    /// Writes it; the value of `default_key` comes first and without its key.
    pub fn to_text(&self, default_key: Option<&str>) -> String {
        let is_default = |key: &str| Some(key) == default_key;
        let default = self.pairs().filter(|&(key, _)| is_default(key)).map(|(_, value)| match quoted(value) {
            text if text.contains('=') && !text.starts_with('"') => format!("\"{text}\""),
            text => text,
        });
        let others =
            self.pairs().filter(|&(key, _)| !is_default(key)).map(|(key, value)| format!("{key}={}", quoted(value)));
        default.chain(others).collect::<Vec<_>>().join(",")
    }
}

/// Takes `key=`, or nothing where the default key stands for it.
fn take_key<'a>(text: &'a str, default_key: Option<&str>) -> Result<(String, &'a str), PropertyStringError> {
    let end = text.find([',', '=', '"']).unwrap_or(text.len());
    match (text[end..].strip_prefix('='), default_key) {
        (Some(rest), _) if end > 0 => Ok((text[..end].to_owned(), rest)),
        (_, Some(key)) => Ok((key.to_owned(), text)),
        (_, None) => Err(PropertyStringError::NoKey(text[..end].to_owned())),
    }
}

/// Takes a value and the comma behind it.
fn take_value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), PropertyStringError> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), text.get(end + 1..).unwrap_or_default()));
    };
    let mut value = String::new();
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            None => return Err(PropertyStringError::Unclosed(key.to_owned())),
            Some('"') => break rest = chars.as_str(),
            Some('\\') => value.push(match chars.next() {
                Some(c @ ('"' | '\\')) => c,
                Some('n') => '\n',
                _ => return Err(PropertyStringError::Escape(key.to_owned())),
            }),
            Some(c) => value.push(c),
        }
        rest = chars.as_str();
    }
    match rest.strip_prefix(',') {
        Some(rest) => Ok((value, rest)),
        None if rest.is_empty() => Ok((value, rest)),
        None => Err(PropertyStringError::AfterQuote(key.to_owned())),
    }
}

fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains([',', '"', '\n', '\\']) {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_as_documented() {
        let pairs = |text: &str, default| {
            PropertyString::parse(text, default)
                .map(|parsed| parsed.pairs().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("|"))
                .map_err(|error| error.to_string())
        };
        assert_eq!(pairs("", None).unwrap(), "");
        assert_eq!(pairs("sync-level=file,chunk-order=none", None).unwrap(), "sync-level=file|chunk-order=none");
        assert_eq!(pairs("offline", Some("type")).unwrap(), "type=offline");
        assert_eq!(pairs("type=offline", Some("type")).unwrap(), "type=offline");
        assert_eq!(
            pairs(r#"offline,message="a, \"b\"\\\n""#, Some("type")).unwrap(),
            "type=offline|message=a, \"b\"\\\n"
        );
        assert_eq!(pairs("message= x ", None).unwrap(), "message= x ");
        assert_eq!(pairs("message=a=b", None).unwrap(), "message=a=b");
        assert!(pairs("offline", None).unwrap_err().contains("offline"));
        assert!(pairs("a=1,a=2", None).unwrap_err().contains("more than once"));
        assert!(pairs("offline,read-only", Some("type")).unwrap_err().contains("more than once"));
        assert!(pairs("a=\"x", None).unwrap_err().contains("closing quote"));
        assert!(pairs("a=\"x\"y", None).unwrap_err().contains("after the closing quote"));
        assert!(pairs(r#"a="\x""#, None).unwrap_err().contains("escape"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(first in any::<String>(), second in any::<String>()) {
            let mut original = PropertyString::default();
            original.set("type", first);
            original.set("message", second);
            for default in [None, Some("type")] {
                prop_assert_eq!(&PropertyString::parse(&original.to_text(default), default).unwrap(), &original);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = PropertyString::parse(&text, Some("type"));
        }
    }
}
