//! `user list`.

use anyhow::Result;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

const COLUMNS: [Column; 7] = [
    Column::new("userid"),
    Column::with("enable", super::enabled),
    Column::with("expire", super::expiry),
    Column::new("firstname"),
    Column::new("lastname"),
    Column::new("email"),
    Column::new("comment"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut loaded = config::users::load(&ctx.paths)?;
        crate::problems::tell(&loaded.problems);
        loaded.users.sort_by(|a, b| a.userid.cmp(&b.userid));
        ctx.out.list(&COLUMNS, &loaded.users)?;
        Ok(crate::problems::outcome(&loaded.problems))
    }
}
