//! Amounts and rates as people write them: `20 MiB`, `1.5gb`, `1024`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes with the text it was given as.
///
/// The text is kept, so that writing a file again never rounds. Two sizes are equal when their bytes are.
#[derive(Clone, Debug)]
pub struct ByteSize {
    text: String,
    bytes: u64,
}

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no size: write a number with an optional unit, such as `20 MiB` or `1.5 GB`")]
pub struct BadByteSize {
    text: String,
}

impl ByteSize {
    /// Makes one of a number of bytes, written with the largest binary unit that shows it exactly.
    pub fn from_bytes(bytes: u64) -> Self {
        let (mut number, mut unit) = (bytes, "B");
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
            if number == 0 || number % 1024 != 0 {
                break;
            }
            (number, unit) = (number / 1024, next);
        }
        Self { text: format!("{number} {unit}"), bytes }
    }

    /// The number of bytes; fractions are rounded, what no 64 bits hold is the largest number.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As a rate: bytes per second, where 0 means no limit.
    pub fn as_bytes_per_second(&self) -> Option<u64> {
        (self.bytes > 0).then_some(self.bytes)
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ByteSize {
    type Err = BadByteSize;

    fn from_str(text: &str) -> Result<Self, BadByteSize> {
        let bad = || BadByteSize { text: text.chars().take(64).collect() };
        if text.is_empty() || text.len() > 64 {
            return Err(bad());
        }
        let (number, factor) = split_unit(text.trim());
        // Whole numbers stay exact where a float would not.
        if let (Ok(whole), Some(factor)) = (number.parse::<u64>(), exact(factor)) {
            return Ok(Self { text: text.to_owned(), bytes: whole.saturating_mul(factor) });
        }
        let number: f64 = number.parse().map_err(|_| bad())?;
        let bytes = number * factor;
        if bytes.is_nan() || bytes.is_sign_negative() {
            return Err(bad());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
        let bytes = bytes.round() as u64;
        Ok(Self { text: text.to_owned(), bytes })
    }
}

/// The number's text and the factor of its unit.
fn split_unit(text: &str) -> (&str, f64) {
    let text = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let (text, base) = match text.strip_suffix(['i', 'I']) {
        Some(text) if ends_with_unit(text) => (text, 1024.0_f64),
        _ => (text, 1000.0),
    };
    let power = match text.bytes().last().map(|byte| byte.to_ascii_lowercase()) {
        Some(b'k') => 1,
        Some(b'm') => 2,
        Some(b'g') => 3,
        Some(b't') => 4,
        Some(b'p') => 5,
        _ => return (text.trim_end(), 1.0),
    };
    (text[..text.len() - 1].trim_end(), base.powi(power))
}

fn ends_with_unit(text: &str) -> bool {
    text.ends_with(['k', 'm', 'g', 't', 'p', 'K', 'M', 'G', 'T', 'P'])
}

fn exact(factor: f64) -> Option<u64> {
    [1000_u64, 1024].into_iter().flat_map(|base| (0..=5).map(move |power| base.pow(power))).find(|&whole| {
        #[expect(clippy::cast_precision_loss, reason = "powers up to 1024^5 are exact in a float")]
        let as_float = whole as f64;
        as_float == factor
    })
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for ByteSize {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for ByteSize {}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_both_bases_in_any_letter_case() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("1024b", 1024),
            ("1 KB", 1000),
            ("1k", 1000),
            ("1Ki", 1024),
            ("1 kib", 1024),
            ("20 MiB", 20 << 20),
            ("1.5 GB", 1_500_000_000),
            ("1e3", 1000),
            ("0.5 MiB", 1 << 19),
            ("2TiB", 2 << 40),
            ("1 PiB", 1 << 50),
            ("9007199254740993", 9_007_199_254_740_993),
            ("20000 PiB", u64::MAX),
            ("inf", u64::MAX),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "MiB", "-1", "-1 KiB", "nan", "1 XB", "1 i", "1 KiBB", "one", &"1".repeat(65)] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_text_is_kept_as_it_was_given() {
        let text = "1.23456789 MiB";

        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }

    #[test]
    fn a_number_of_bytes_is_written_without_rounding() {
        for (bytes, text) in [(0, "0 B"), (1000, "1000 B"), (20 << 20, "20 MiB"), (1025 << 10, "1025 KiB")] {
            assert_eq!(ByteSize::from_bytes(bytes).to_string(), text);
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes);
        }
    }

    #[test]
    fn a_rate_of_zero_means_no_limit() {
        assert_eq!("0 MiB".parse::<ByteSize>().unwrap().as_bytes_per_second(), None);
        assert_eq!("1 KiB".parse::<ByteSize>().unwrap().as_bytes_per_second(), Some(1024));
    }
}
