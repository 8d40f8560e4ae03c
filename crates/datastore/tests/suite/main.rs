//! The datastore through its public door: real stores in temporary directories, real processes, the golden datastore.

#![expect(clippy::unwrap_used, reason = "a failure in a test's helper is a failed test")]
#![allow(clippy::print_stdout, reason = "helper processes talk to their parent")]

mod crash;
mod create;
mod durability;
mod helper;
mod leftovers;
mod modes;
mod processes;
mod prune;
mod removal;
mod snapshots;
mod verify;
