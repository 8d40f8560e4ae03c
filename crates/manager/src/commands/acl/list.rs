//! `acl list`.

use anyhow::Result;
use config::acl::AclEntry;
use serde_json::{Value, json};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

const COLUMNS: [Column; 4] =
    [Column::new("ugid"), Column::new("path"), Column::flag("propagate"), Column::new("roleid")];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let (acl, _) = config::acl::load(&ctx.paths)?;
        let mut entries = acl.entries();
        entries.sort_by(|a, b| (&a.ugid, &a.path).cmp(&(&b.ugid, &b.path)));
        let rows: Vec<Value> = entries.iter().map(row).collect();
        ctx.out.list(&COLUMNS, &rows)?;
        Ok(Outcome::Done)
    }
}

fn row(entry: &AclEntry) -> Value {
    json!({
        "ugid": entry.ugid,
        "ugid_type": if entry.is_group { "group" } else { "user" },
        "path": entry.path.to_string(),
        "propagate": entry.propagate,
        "roleid": entry.role.name(),
    })
}
