//! What makes the server a well-behaved service: its certificate can change, and the service manager knows how it is.

pub(crate) mod certificate;
pub(crate) mod service_manager;
