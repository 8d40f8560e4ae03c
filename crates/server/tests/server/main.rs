//! The real server on a loopback port with real TLS, real files and real clients.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod auth;
mod binary;
mod fingerprint;
mod golden_answers;
mod heartbeat;
mod known_chunks;
mod metrics;
mod permissions;
mod sessions;
mod shipped_unit;
mod shutdown;
mod support;
mod sync_jobs;
mod tasks;
mod transport;
