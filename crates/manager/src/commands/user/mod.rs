//! `user`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use config::users::Users;
use formats::UserId;
use serde_json::Value;

use crate::context::Context;
use crate::errors::unknown;
use crate::outcome::Outcome;

pub(crate) mod create;
pub(crate) mod generate_token;
pub(crate) mod list;
pub(crate) mod list_tokens;
pub(crate) mod passwd;
pub(crate) mod remove;

/// The commands below `user`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a user
    Create(create::Args),
    /// List the users
    List(list::Args),
    /// Change the password of a user
    Passwd(passwd::Args),
    /// Remove a user with tokens and permissions
    Remove(remove::Args),
    /// Make an API token and print its secret, this once
    GenerateToken(generate_token::Args),
    /// List the API tokens of a user
    ListTokens(list_tokens::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Passwd(args) => args.run(ctx),
            Self::Remove(args) => args.run(ctx),
            Self::GenerateToken(args) => args.run(ctx),
            Self::ListTokens(args) => args.run(ctx),
        }
    }
}

/// All users, if this one is among them; an error that names the users there are.
fn known(ctx: &Context, userid: &UserId) -> Result<Users> {
    let loaded = config::users::load(&ctx.paths)?;
    if loaded.user(userid).is_some() {
        return Ok(loaded);
    }
    crate::problems::tell(&loaded.problems);
    Err(unknown("user", userid, loaded.users.iter().map(|user| &user.userid)).into())
}

/// A missing `enable` means yes.
fn enabled(value: &Value) -> String {
    u8::from(value.as_bool().unwrap_or(true)).to_string()
}

/// A missing or zero `expire` means never.
fn expiry(value: &Value) -> String {
    match value.as_i64() {
        None | Some(0) => "never".to_owned(),
        Some(epoch) => crate::human::local_time(epoch),
    }
}
