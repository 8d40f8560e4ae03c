//! `namespace create`.

use anyhow::Result;
use formats::{Namespace, StoreName};

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Namespace to make; one that exists is fine
    #[arg(value_name = "NS")]
    ns: Namespace,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        jobs::open_store(&ctx.paths, &self.store)?.create_namespace_path(&self.ns)?;
        Ok(Outcome::Done)
    }
}
