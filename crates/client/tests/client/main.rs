//! The client against servers that follow a script: real sockets, real TLS, real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod connection;
mod login;
mod proxy;
mod reader;
mod rest;
mod server;
mod wire;
mod writer;
