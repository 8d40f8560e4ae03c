//! Whole-system scenarios: the shipped binaries, real TLS on loopback, real files.
//!
//! Each module is one promise of the README, told as stories. They need both binaries: run them with
//! `cargo nextest run --workspace` (or `make test`).

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod cut;
mod encryption;
mod failures;
mod golden_store;
mod hostile;
mod kill;
mod line;
mod plan;
mod runs;
mod site;
mod trust;
mod wire;
