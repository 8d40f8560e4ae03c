//! When things happen: calendar events and time spans, parsed and computed. No clock is read here.
//!
//! A text goes through `grammar` (words and numbers), `field` (what a list of numbers matches) and `zone` (whose wall
//! clock counts) into a [`CalendarEvent`]; `next` finds the next second that matches.

mod difference;
mod event;
mod field;
mod grammar;
mod meaning;
mod next;
mod problem;
mod schedule;
mod seconds;
mod span;
mod weekdays;
mod zone;

pub use difference::{Difference, Reading};
pub use event::CalendarEvent;
pub use problem::{BadEvent, Problem, Unit};
pub use schedule::{BadSchedule, Schedule, When};
pub use span::{BadSpan, TimeSpan};
pub use weekdays::Weekdays;
