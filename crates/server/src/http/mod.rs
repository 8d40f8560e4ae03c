//! What REST calls and upgraded sessions share: bodies, parameters, errors, envelopes, route matching.

pub(crate) mod body;
pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod params;
pub(crate) mod path;
pub(crate) mod reply;
pub(crate) mod route;
