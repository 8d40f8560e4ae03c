//! `datastore list`.

use anyhow::Result;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut stores = config::datastores::load(&ctx.paths)?;
        crate::problems::tell(&stores.problems);
        stores.entries.sort_by(|a, b| a.name.cmp(&b.name));
        ctx.out.list(&[Column::new("name"), Column::new("path"), Column::new("comment")], &stores.entries)?;
        Ok(crate::problems::outcome(&stores.problems))
    }
}
