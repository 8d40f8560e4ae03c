//! Running jobs by themselves: what is due, and why the rest waits.

mod chain;
mod due;
mod memory;
#[cfg(test)]
mod tests;

pub use chain::circles;
pub use due::{Conditions, Decision, JobFacts, Reason, Verdict, Wait, decide};
pub use memory::Memory;
