//! `remote scan`.

use anyhow::Result;
use api_types::GroupListItem;
use formats::{Namespace, RemoteName, StoreName};
use serde_json::{Value, json};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,

    /// List the namespaces and groups of this datastore there [default: list the datastores]
    #[arg(value_name = "REMOTE-STORE")]
    store: Option<StoreName>,

    /// List only what is in this namespace and below [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,
}

const STORES: [Column; 2] = [Column::new("store"), Column::new("comment")];
const GROUPS: [Column; 6] = [
    Column::new("ns"),
    Column::new("backup-type"),
    Column::new("backup-id"),
    Column::new("backup-count"),
    Column::time("last-backup"),
    Column::new("owner"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let (remote, _) = jobs::open_remote(&ctx.paths, &self.name)?;
        let Some(store) = self.store else {
            let stores = ctx.block_on(async { Ok(remote.datastores().await?) })?;
            ctx.out.list(&STORES, &stores)?;
            return Ok(Outcome::Done);
        };
        let rows = ctx.block_on(async {
            let mut rows = Vec::new();
            for ns in remote.namespaces(&store, &self.ns, None).await? {
                rows.extend(remote.groups(&store, &ns.ns).await?.iter().map(|group| row(&ns.ns, group)));
            }
            Ok(rows)
        })?;
        ctx.out.list(&GROUPS, &rows)?;
        Ok(Outcome::Done)
    }
}

fn row(ns: &Namespace, group: &GroupListItem) -> Value {
    json!({
        "ns": ns.as_str(),
        "backup-type": group.backup_type.to_string(),
        "backup-id": group.backup_id.as_str(),
        "backup-count": group.backup_count,
        "last-backup": group.last_backup,
        "owner": group.owner.as_ref().map(ToString::to_string),
        "comment": group.comment,
    })
}
