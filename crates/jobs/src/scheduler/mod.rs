//! Running jobs by themselves: what is due, why the rest waits, and the tick that starts processes.
//!
//! [`decide`] is the heart, and pure. Around it, an [`Agenda`] is everything the files say at one moment, and a [`Tick`]
//! starts what is due. No state is in memory: any number of ticks in any number of processes come to the same.

mod agenda;
mod due;
mod error;
mod memory;
mod notes;
mod start;
#[cfg(test)]
mod tests;
mod tick;

pub use agenda::{Agenda, BrokenJob};
pub use due::{Conditions, Decision, JobFacts, Reason, Verdict, Wait, decide};
pub use error::SchedulerError;
pub use memory::Memory;
pub use start::{Children, Starter, Systemctl};
pub use tick::{Tick, TickReport};
