//! `datastore status`.

use anyhow::Result;
use datastore::Datastore;
use formats::{Namespace, StoreName};
use serde_json::{Value, json};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the datastore [default: all of them]
    #[arg(value_name = "NAME")]
    name: Option<StoreName>,
}

const COLUMNS: [Column; 8] = [
    Column::new("store"),
    Column::bytes("total"),
    Column::bytes("used"),
    Column::bytes("avail"),
    Column::new("namespaces"),
    Column::new("groups"),
    Column::new("snapshots"),
    Column::new("error"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let names = match self.name {
            Some(name) => vec![super::known(ctx, &name)?.name],
            None => config::datastores::load(&ctx.paths)?.entries.into_iter().map(|store| store.name).collect(),
        };
        let mut outcome = Outcome::Done;
        let mut rows = Vec::new();
        for name in names {
            rows.push(status(ctx, &name).unwrap_or_else(|error| {
                outcome = Outcome::Failed;
                json!({ "store": name.as_str(), "error": crate::errors::one_line(&error) })
            }));
        }
        ctx.out.list(&COLUMNS, &rows)?;
        Ok(outcome)
    }
}

fn status(ctx: &Context, name: &StoreName) -> Result<Value> {
    let store = jobs::open_store(&ctx.paths, name)?;
    let usage = store.status()?;
    let (namespaces, groups, snapshots) = count(&store)?;
    Ok(json!({
        "store": name.as_str(),
        "total": usage.total,
        "used": usage.used,
        "avail": usage.avail,
        "namespaces": namespaces,
        "groups": groups,
        "snapshots": snapshots,
    }))
}

/// Namespaces below the root, groups, finished snapshots.
fn count(store: &Datastore) -> Result<(usize, usize, usize)> {
    let namespaces = store.namespaces(&Namespace::root(), None)?;
    let (mut groups, mut snapshots) = (0, 0);
    for ns in &namespaces {
        for group in store.groups(ns)? {
            groups += 1;
            snapshots += store.snapshots(ns, &group)?.iter().filter(|entry| entry.finished).count();
        }
    }
    Ok((namespaces.len().saturating_sub(1), groups, snapshots))
}
