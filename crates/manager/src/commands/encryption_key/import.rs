//! `encryption-key import`.

use anyhow::{Context as _, Result};
use formats::{JobId, KeyFile};

use crate::args::{CallerFile, SecretSource};
use crate::context::Context;
use crate::keys::unlock;
use crate::options::comment;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key
    #[arg(value_name = "ID")]
    id: JobId,

    /// Key file to read
    #[arg(value_name = "FILE")]
    file: CallerFile,

    /// Read the password of the key from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-")]
    key_password_file: Option<SecretSource>,

    /// Text of at most 64 characters that helps to remember what the key is for [default: that of the file]
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    hint: Option<String>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let path = self.file.path().display();
        let file = KeyFile::parse(&self.file.read_small()?).with_context(|| format!("{path} is no key file"))?;
        let key = unlock(&file, &path, self.key_password_file.as_ref())?;
        // The hint of a protected file is one to its password, which is not needed any more.
        let hint = self.hint.or_else(|| file.hint().filter(|_| !file.is_protected()).map(str::to_owned));
        config::encryption_keys::add(&ctx.paths, &self.id, &key, hint, file.created(), tasks::now())?;
        Ok(Outcome::Done)
    }
}
