//! The commands as a person or a script uses them: the real binaries, a temporary root, nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup_restore;
mod completion;
mod configuration;
mod host;
mod keys;
mod monitoring;
mod relay;
mod rules;
mod schedule;
mod scheduler;
mod scheduler_run;
mod servers;
mod settings;
mod sync;
mod tasks;
mod usage;
