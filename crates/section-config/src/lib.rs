//! Section files: `type: id` headers with indented `key value` lines.
//!
//! ```text
//! sync: nightly
//!     remote office
//!     remote-store main
//!     store archive
//! ```
//!
//! (written with one tab where this text has four blanks.)
//!
//! [`SectionConfig`] keeps every byte of a file, finds its usable sections whatever else is wrong with it, and rewrites
//! only the section that an edit names. [`Section::read`] and [`Section::from_value`] turn sections into structs and
//! back by serde. [`PropertyString`] is the comma-separated record some values hold.
//!
//! This crate touches no files: text in, text out.

mod de;
mod document;
mod grammar;
mod problem;
mod property_string;
mod section;
mod ser;

pub use de::{ReadError, parse_bool};
pub use document::SectionConfig;
pub use problem::{Problem, ProblemKind};
pub use property_string::{PropertyString, PropertyStringError};
pub use section::{Property, Read, Section};
pub use ser::WriteError;
