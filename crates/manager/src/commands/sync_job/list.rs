//! `sync-job list`.

use anyhow::Result;
use config::SyncDirection;
use serde_json::Value;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// List only jobs of this direction
    #[arg(long, value_name = "DIRECTION", value_enum, default_value_t)]
    sync_direction: Which,
}

/// Directions to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Both.
    #[default]
    All,
    /// Into a datastore of this host.
    Pull,
    /// From a datastore of this host.
    Push,
}

const COLUMNS: [Column; 9] = [
    Column::new("id"),
    Column::with("sync-direction", direction),
    Column::new("store"),
    Column::new("remote"),
    Column::new("remote-store"),
    Column::new("schedule"),
    Column::with("group-filter", filters),
    Column::new("rate-in"),
    Column::new("comment"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut jobs = config::sync_jobs::load(&ctx.paths)?;
        crate::problems::tell(&jobs.problems);
        jobs.entries.retain(|job| match self.sync_direction {
            Which::All => true,
            Which::Pull => job.direction() == SyncDirection::Pull,
            Which::Push => job.direction() == SyncDirection::Push,
        });
        jobs.entries.sort_by(|a, b| a.id.cmp(&b.id));
        ctx.out.list(&COLUMNS, &jobs.entries)?;
        Ok(crate::problems::outcome(&jobs.problems))
    }
}

fn direction(value: &Value) -> String {
    value.as_str().unwrap_or("pull").to_owned()
}

fn filters(value: &Value) -> String {
    let filters: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if filters.is_empty() { "all".to_owned() } else { filters.join(" OR ") }
}
