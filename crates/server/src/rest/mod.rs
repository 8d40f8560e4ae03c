//! The REST API: a table of routes, and one module per resource.

pub(crate) mod access;
pub(crate) mod call;
mod datastores;
mod downloads;
mod fingerprint;
mod groups;
mod known_chunks;
mod login;
mod namespaces;
mod node;
mod notes;
mod owner;
mod protection;
mod prune;
mod routes;
pub(crate) mod service;
mod snapshots;
mod status;
mod sync_access;
mod sync_jobs;
mod sync_params;
mod sync_runs;
mod task_access;
mod tasks;
pub(crate) mod verify;
