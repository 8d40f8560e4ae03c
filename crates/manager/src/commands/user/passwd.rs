//! `user passwd`.

use anyhow::Result;
use formats::UserId;

use crate::args::SecretSource;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the user
    #[arg(value_name = "USERID")]
    userid: UserId,

    /// Read the new password from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-")]
    password_file: SecretSource,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.userid)?;
        config::users::set_password(&ctx.paths, &self.userid, &self.password_file.read()?)?;
        Ok(Outcome::Done)
    }
}
