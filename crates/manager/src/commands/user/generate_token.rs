//! `user generate-token`.

use anyhow::Result;
use config::{ConfigDigest, TokenConfig};
use formats::{TokenName, UserId};

use crate::args::parse_bool;
use crate::context::Context;
use crate::options::comment;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the user
    #[arg(value_name = "USERID")]
    userid: UserId,

    /// Name of the token, without the user
    #[arg(value_name = "TOKEN-NAME")]
    token: TokenName,

    /// Give an existing token a new secret, as after an import; the old one is void
    #[arg(long, conflicts_with_all = ["enable", "expire", "comment"])]
    regenerate: bool,

    /// Accept the token [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    enable: Option<bool>,

    /// Accept the token until this time, in seconds since the epoch; 0 is for ever [default: 0]
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(i64).range(0..))]
    expire: Option<i64>,

    /// Remark of at most 128 characters
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.userid)?;
        let token = TokenConfig {
            enable: self.enable,
            expire: self.expire,
            comment: self.comment.filter(|text| !text.is_empty()),
            ..TokenConfig::new(&self.userid, &self.token)?
        };
        let generated = if self.regenerate {
            config::users::regenerate_token(&ctx.paths, &token.tokenid)?
        } else {
            config::users::generate_token(&ctx.paths, &token, self.digest.as_ref())?
        };
        if ctx.out.is_text() {
            ctx.out.line("Result:")?;
        }
        ctx.out.json(&generated)?;
        Ok(Outcome::Done)
    }
}
