//! `job list`.

use anyhow::Result;
use formats::Upid;
use serde_json::{Map, Value};
use tasks::control::Request;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

const COLUMNS: [Column; 10] = [
    Column::new("job"),
    Column::new("state"),
    Column::new("snapshots-done"),
    Column::new("snapshots"),
    Column::bytes("bytes-transferred"),
    Column::with("elapsed-seconds", super::status::span),
    Column::with("rate-in", super::status::rate),
    Column::with("rate-out", super::status::rate),
    Column::new("why"),
    Column::new("upid"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let rows: Vec<Value> = super::running(ctx)?.iter().map(|upid| row(ctx, upid)).collect();
        ctx.out.list(&COLUMNS, &rows)?;
        Ok(Outcome::Done)
    }
}

/// What a run says of itself; one that does not listen yet is about to start.
fn row(ctx: &Context, upid: &Upid) -> Value {
    let mut row: Map<String, Value> = COLUMNS.iter().map(|column| (column.key().to_owned(), Value::Null)).collect();
    row.insert("state".to_owned(), "starting".into());
    row.extend(super::ask(ctx, upid, &Request::Status).unwrap_or_default());
    row.insert("job".to_owned(), super::job_of(upid).into());
    row.insert("upid".to_owned(), upid.to_string().into());
    Value::Object(row)
}
