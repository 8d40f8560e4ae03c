//! `remote list`.

use anyhow::Result;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

const COLUMNS: [Column; 5] = [
    Column::new("name"),
    Column::new("host"),
    Column::new("auth-id"),
    Column::new("fingerprint"),
    Column::new("comment"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut remotes = config::remotes::load(&ctx.paths)?;
        crate::problems::tell(&remotes.problems);
        remotes.entries.sort_by(|a, b| a.name.cmp(&b.name));
        ctx.out.list(&COLUMNS, &remotes.entries)?;
        Ok(crate::problems::outcome(&remotes.problems))
    }
}
