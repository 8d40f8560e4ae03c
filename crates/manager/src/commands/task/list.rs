//! `task list`.

use anyhow::Result;
use api_types::TaskListItem;
use formats::StoreName;
use serde_json::Value;
use tasks::{Filter, TaskStore};

use crate::context::Context;
use crate::moment::Moment;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// List only tasks that run
    #[arg(long)]
    running: bool,

    /// List only tasks that failed, or died
    #[arg(long, conflicts_with = "running")]
    errors: bool,

    /// List so many tasks at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// List all tasks there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    /// List only tasks whose type contains this, such as `sync`
    #[arg(long, value_name = "TEXT")]
    typefilter: Option<String>,

    /// List only tasks that began then or later: RFC 3339, `YYYY-MM-DD [HH:MM[:SS]]` or @SECONDS
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,

    /// List only tasks that began then or earlier
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// List only tasks of this datastore
    #[arg(long, value_name = "STORE")]
    store: Option<StoreName>,
}

const COLUMNS: [Column; 5] = [
    Column::time("starttime"),
    Column::time("endtime"),
    Column::new("user"),
    Column::with("status", status),
    Column::new("upid"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let zone = jobs::host_zone(std::env::var("TZ").ok().as_deref()).zone;
        let filter = Filter {
            running: self.running,
            errors: self.errors,
            store: self.store,
            worker_type: self.typefilter,
            since: self.since.map(|time| time.seconds("since", zone)).transpose()?,
            until: self.until.map(|time| time.seconds("until", zone)).transpose()?,
            limit: if self.all { 0 } else { usize::try_from(self.limit)? },
            ..Filter::default()
        };
        let found = TaskStore::new(&ctx.paths).list(&filter, &|_| true)?;
        let rows: Vec<TaskListItem> = found
            .into_iter()
            .map(|entry| TaskListItem::new(entry.upid, entry.end.map(|(endtime, end)| (endtime, end.to_string()))))
            .collect();
        ctx.out.list(&COLUMNS, &rows)?;
        Ok(Outcome::Done)
    }
}

fn status(value: &Value) -> String {
    value.as_str().unwrap_or("running").to_owned()
}
