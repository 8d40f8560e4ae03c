//! What every name in this crate shares: the error, the safe-id alphabet and the serde bridge.

/// A text that is not the kind of name it was meant to be.
///
/// The text is kept, cut at 120 characters, so that a message can show it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad {what} {text:?}: {rule}")]
pub struct NameError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl NameError {
    /// Longest part of the refused text that is kept, in characters.
    const KEPT: usize = 120;

    pub(crate) fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(Self::KEPT).collect(), rule }
    }

    /// Kind of name that was expected, such as "namespace".
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The refused text, cut at 120 characters.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rule that the text breaks.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

/// Longest file name that Linux file systems take, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// Rule text of [`is_safe_id`], for messages.
pub(crate) const SAFE_ID_RULE: &str =
    "must start with a letter, digit or `_` and go on with letters, digits, `.`, `_` or `-`";

/// Tells whether `text` is a safe id: `[A-Za-z0-9_][A-Za-z0-9._-]*`.
///
/// Such a text is never empty, never hidden, and never a path (`docs/formats.md`, "Names").
pub fn is_safe_id(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match text.as_bytes() {
        [first, rest @ ..] => word(*first) && rest.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-')),
        [] => false,
    }
}

/// Gives a type with `FromStr` and `Display` the serde form of a string.
macro_rules! serde_as_text {
    ($($name:ty),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_ids_are_neither_empty_nor_hidden_nor_paths() {
        for good in ["a", "_", "0", "a.b-c_d", "A..", "x-"] {
            assert!(is_safe_id(good), "{good}");
        }
        for bad in ["", ".", "..", "-a", ".a", "a/b", "a b", "ä", "a\n", "a\0", "a:b"] {
            assert!(!is_safe_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_error_keeps_only_the_beginning_of_a_long_text() {
        let error = NameError::new("namespace", &"x".repeat(1 << 20), "is too long");

        assert_eq!(error.text().len(), NameError::KEPT);
        assert!(error.to_string().starts_with("bad namespace \"xxx"));
    }
}
