//! `encryption-key list`.

use anyhow::Result;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

const COLUMNS: [Column; 5] = [
    Column::new("id"),
    Column::new("fingerprint"),
    Column::time("created"),
    Column::time("archived-at"),
    Column::new("hint"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let Self {} = self;
        let mut keys = config::encryption_keys::load(&ctx.paths)?;
        crate::problems::tell(&keys.problems);
        keys.entries.sort_by(|a, b| a.id.cmp(&b.id));
        ctx.out.list(&COLUMNS, &keys.entries)?;
        Ok(crate::problems::outcome(&keys.problems))
    }
}
