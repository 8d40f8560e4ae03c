//! Amounts, times and spans as people read them.

use chrono::{Local, TimeZone};

/// An amount of bytes with base-2 units and up to three digits of precision: `0 B`, `1.5 KiB`, `20 MiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let mut value = amount as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", UNITS[unit])
}

/// A rate in bytes per second over `seconds`; nothing for a span too short to measure.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rounded rate"
)]
pub(crate) fn rate(amount: u64, seconds: f64) -> Option<String> {
    (seconds > 0.01).then(|| format!("{}/s", bytes((amount as f64 / seconds) as u64)))
}

/// A span of seconds: `0.4 s`, `12 s`, `3 m 05 s`, `2 h 07 m`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds of a run")]
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} m {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} m"),
    }
}

/// Seconds since the epoch in the local time zone.
pub(crate) fn local_time(epoch: i64) -> String {
    match Local.timestamp_opt(epoch, 0).single() {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => epoch.to_string(),
    }
}

/// `1 snapshot`, `2 snapshots`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_use_base_two_and_three_digits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (20 << 20, "20 MiB"),
            (1_234_567, "1.18 MiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (amount, text) in cases {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn spans_grow_their_units() {
        assert_eq!(span(0.42), "0.4 s");
        assert_eq!(span(59.6), "1 m 00 s");
        assert_eq!(span(7620.0), "2 h 07 m");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "snapshot"), "1 snapshot");
        assert_eq!(count(0, "chunk"), "0 chunks");
    }
}
