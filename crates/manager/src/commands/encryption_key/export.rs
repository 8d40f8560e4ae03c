//! `encryption-key export`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use config::encryption_keys::KeyUse;
use formats::{JobId, KeyFile, Protection};

use crate::args::SecretSource;
use crate::context::Context;
use crate::errors::Hinted;
use crate::options::comment;
use crate::outcome::Outcome;
use crate::output::write_stdout;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key
    #[arg(value_name = "ID")]
    id: JobId,

    /// File to make, which must not exist, or - for standard output
    #[arg(value_name = "FILE|-")]
    file: PathBuf,

    /// Protect the file by the password in this file, or on standard input for -, of at least 5 bytes
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<SecretSource>,

    /// Derive the protection from the password this way
    #[arg(long, value_name = "KDF", value_enum, default_value_t, requires = "password_file")]
    kdf: Kdf,

    /// Text in the file that helps to remember the password
    #[arg(long, value_name = "TEXT", value_parser = comment, requires = "password_file")]
    hint: Option<String>,
}

/// Ways from a password to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kdf {
    /// Takes 64 MiB of memory, which makes guessing dear.
    #[default]
    Scrypt,
    /// Takes next to no memory.
    Pbkdf2,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let entry = super::known(ctx, &self.id)?;
        let key = config::encryption_keys::open(&ctx.paths, &self.id, KeyUse::Decrypt)?;
        let password = self.password_file.as_ref().map(SecretSource::read).transpose()?;
        let protection = match (&password, self.kdf) {
            (None, _) => Protection::None,
            (Some(password), Kdf::Scrypt) => Protection::Scrypt(password),
            (Some(password), Kdf::Pbkdf2) => Protection::Pbkdf2(password),
        };
        let mut file = KeyFile::new(&key, protection, entry.created).context("cannot write the key")?;
        file.set_hint(self.hint);
        let json = file.to_json().context("cannot write the key")?;
        if self.file == Path::new("-") {
            write_stdout(format!("{}\n", *json).as_bytes())?;
        } else {
            write_new(&self.file, json.as_bytes())?;
        }
        if password.is_none() {
            eprintln!("warning: the exported key is not protected by a password; whoever reads it can decrypt");
        }
        Ok(Outcome::Done)
    }
}

/// Makes a file that only its owner can read.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let place = path.display();
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::Error::from(
                Hinted::new(format!("{place} exists already")).hint("choose another name, or - for standard output"),
            ),
            _ => anyhow::Error::from(error).context(format!("cannot make {place}")),
        }
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}
