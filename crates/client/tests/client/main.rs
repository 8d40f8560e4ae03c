//! The client against servers that follow a script: real sockets, real TLS, real HTTP.

mod connection;
mod login;
mod reader;
mod rest;
mod server;
mod wire;
mod writer;
