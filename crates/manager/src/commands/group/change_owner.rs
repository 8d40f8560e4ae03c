//! `group change-owner`.

use anyhow::Result;
use formats::{AuthId, GroupId, Namespace, StoreName};

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Group to give away, TYPE/ID
    #[arg(value_name = "GROUP")]
    group: GroupId,

    /// User or token that owns it from now on
    #[arg(value_name = "AUTH-ID")]
    owner: AuthId,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        jobs::open_store(&ctx.paths, &self.store)?.set_owner(&self.ns, &self.group, &self.owner)?;
        Ok(Outcome::Done)
    }
}
