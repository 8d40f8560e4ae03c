//! `user list-tokens`.

use anyhow::Result;
use config::TokenConfig;
use formats::UserId;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the user
    #[arg(value_name = "USERID")]
    userid: UserId,
}

const COLUMNS: [Column; 4] = [
    Column::new("tokenid"),
    Column::with("enable", super::enabled),
    Column::with("expire", super::expiry),
    Column::new("comment"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let loaded = super::known(ctx, &self.userid)?;
        let mut tokens: Vec<&TokenConfig> = loaded.tokens_of(&self.userid).collect();
        tokens.sort_by(|a, b| a.tokenid.cmp(&b.tokenid));
        ctx.out.list(&COLUMNS, &tokens)?;
        Ok(Outcome::Done)
    }
}
