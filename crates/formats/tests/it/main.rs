//! What `formats` promises, held against stock data, random values and hostile bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod golden_store;
mod hostile;
mod properties;
mod stock;
