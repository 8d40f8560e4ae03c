//! `encryption-key create`.

use anyhow::{Context as _, Result};
use formats::{CryptKey, JobId};

use crate::context::Context;
use crate::options::comment;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key
    #[arg(value_name = "ID")]
    id: JobId,

    /// Text of at most 64 characters that helps to remember what the key is for
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    hint: Option<String>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let key = CryptKey::generate().context("cannot make a key")?;
        let now = tasks::now();
        config::encryption_keys::add(&ctx.paths, &self.id, &key, self.hint, now, now)?;
        eprintln!("keep a copy elsewhere, or nothing can be read when this host is lost:");
        eprintln!("  backup-manager encryption-key export {} FILE", self.id);
        Ok(Outcome::Done)
    }
}
