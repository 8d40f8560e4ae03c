//! Our events against the real `systemd-analyze calendar`, which is asked where it is installed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod analyze;
mod random;
mod year;
