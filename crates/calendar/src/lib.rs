//! When things happen: calendar events and time spans, parsed and computed. No clock is read here.

mod span;

pub use span::{BadSpan, TimeSpan};
