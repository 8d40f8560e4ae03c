//! `backup-manager`: the command line of Backup Replicator.
//!
//! Thin by intention: parse, call one function of the crates below, print. The order of [`main`] matters: arguments are
//! parsed (files the caller named are opened then), root drops its rights, and only after that the first thread starts.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use logging::Prefix;

mod args;
mod cli;
mod commands;
mod completion;
mod context;
mod errors;
mod forecast_output;
mod human;
mod job_output;
mod keys;
mod moment;
mod options;
mod outcome;
mod output;
mod place;
mod privileges;
mod problems;
mod progress;

use cli::Cli;
use context::Context;
use outcome::Outcome;
use output::Output;

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn main() -> ExitCode {
    completion::answer();
    let words = args::join_boolean_values(std::env::args_os(), &Cli::command());
    let cli = Cli::parse_from(words);
    match run(cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            errors::print(&error);
            if errors::is_usage(&error) { Outcome::Usage.into() } else { Outcome::Failed.into() }
        }
    }
}

fn run(cli: Cli) -> Result<Outcome> {
    start_log();
    let ctx = Context::new(cli.global.root, Output::new(cli.global.output_format))?;
    let identity = privileges::identity(ctx.own_root, ctx.paths.etc())?;
    if !cli.command.keeps_root() {
        privileges::assume(identity)?;
    }
    cli.command.run(&ctx)
}

/// The whole command line: every command and option.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Starts the log; `BACKUP_MANAGER_LOG` chooses what goes there (default: warnings).
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BACKUP_MANAGER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second logger in one process is a mistake, but none that keeps a command from working.
    drop(logging::start(filter, Prefix::Level));
}
