//! `snapshot forget`.

use anyhow::Result;
use formats::{Namespace, SnapshotId, StoreName};

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Snapshot to remove, TYPE/ID/TIME; a protected one stays
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        jobs::open_store(&ctx.paths, &self.store)?.remove_snapshot(&self.ns, &self.snapshot, false)?;
        Ok(Outcome::Done)
    }
}
