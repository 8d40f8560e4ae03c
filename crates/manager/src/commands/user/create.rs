//! `user create`.

use anyhow::Result;
use config::UserConfig;
use formats::UserId;

use crate::args::{SecretSource, parse_bool};
use crate::context::Context;
use crate::options::{Pairs, comment};
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the user, for example sync@pbs
    #[arg(value_name = "USERID")]
    userid: UserId,

    /// Read the password from this file, or from standard input for - [default: none, tokens only]
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<SecretSource>,

    /// Let the user log in [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    enable: Option<bool>,

    /// Let the user log in until this time, in seconds since the epoch; 0 is for ever [default: 0]
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(i64).range(0..))]
    expire: Option<i64>,

    /// First name
    #[arg(long, value_name = "NAME")]
    firstname: Option<String>,

    /// Last name
    #[arg(long, value_name = "NAME")]
    lastname: Option<String>,

    /// Mail address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,

    /// Remark of at most 128 characters
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("enable", self.enable);
        pairs.put("expire", self.expire);
        pairs.put("firstname", self.firstname.as_ref());
        pairs.put("lastname", self.lastname.as_ref());
        pairs.put("email", self.email.as_ref());
        pairs.put("comment", self.comment.as_ref());
        let user: UserConfig = config::from_pairs(self.userid.as_str(), pairs.as_slice())?;
        let password = self.password_file.as_ref().map(SecretSource::read).transpose()?;
        config::users::create(&ctx.paths, &user, password.as_deref())?;
        Ok(Outcome::Done)
    }
}
