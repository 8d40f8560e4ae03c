//! `job status`.

use anyhow::Result;
use serde_json::Value;
use tasks::control::Request;

use super::Which;
use crate::context::Context;
use crate::human;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

const KINDS: [Column; 6] = [
    Column::bytes("bytes-transferred"),
    Column::bytes("bytes-on-wire-in"),
    Column::bytes("bytes-on-wire-out"),
    Column::with("rate-in", rate),
    Column::with("rate-out", rate),
    Column::with("elapsed-seconds", span),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let status = self.which.ask(ctx, &Request::Status)?;
        ctx.out.record(&KINDS, &status)?;
        Ok(Outcome::Done)
    }
}

/// A rate in bytes per second, as a column shows it.
pub(super) fn rate(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |rate| format!("{}/s", human::bytes(rate)))
}

/// A number of seconds, as a column shows it.
pub(super) fn span(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, human::span)
}
