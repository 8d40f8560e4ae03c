use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Success envelope of `/api2/json` and of the upgraded sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The result; `null` for calls that return nothing, never absent.
    pub data: T,
}

/// Success envelope of `/api2/extjs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtjsEnvelope<T> {
    /// The result, `null` for calls that return nothing.
    pub data: T,
    /// Always true.
    pub success: bool,
    /// Always 200.
    pub status: u16,
}

/// Error envelope of `/api2/extjs`; its HTTP status is 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtjsError {
    /// Always false.
    pub success: bool,
    /// The status `/api2/json` would have answered.
    pub status: u16,
    /// One line for people.
    pub message: String,
    /// Per parameter what is wrong with it.
    pub errors: BTreeMap<String, String>,
}
