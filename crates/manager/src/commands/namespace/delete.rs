//! `namespace delete`.

use anyhow::Result;
use formats::{Namespace, StoreName};

use crate::args::parse_bool;
use crate::context::Context;
use crate::errors::Hinted;
use crate::human::count;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Namespace to delete
    #[arg(value_name = "NS")]
    ns: Namespace,

    /// Remove the backup groups in it too; protected snapshots stay [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    delete_groups: Option<bool>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        if self.ns.is_root() {
            return Err(Hinted::new("the root namespace cannot be deleted").into());
        }
        let store = jobs::open_store(&ctx.paths, &self.store)?;
        let removed = store.remove_namespace(&self.ns, self.delete_groups.unwrap_or(false))?;
        eprintln!(
            "removed {}, {}, {}",
            count(removed.namespaces, "namespace"),
            count(removed.groups, "group"),
            count(removed.snapshots, "snapshot")
        );
        if removed.protected_snapshots > 0 {
            eprintln!("{} stayed, and what holds them", count(removed.protected_snapshots, "protected snapshot"));
            return Ok(Outcome::Warnings);
        }
        Ok(Outcome::Done)
    }
}
