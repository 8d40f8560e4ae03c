//! Encryption keys given on the command line.

use std::fmt::Display;

use anyhow::{Context as _, Result};
use clap::Args;
use formats::{CryptKey, KeyFile};

use crate::args::{CallerFile, SecretSource};
use crate::errors::Hinted;

/// `--keyfile` and what opens it.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// Encrypt or decrypt with the key in this file, as proxmox-backup-client makes it
    #[arg(long, value_name = "FILE")]
    keyfile: Option<CallerFile>,

    /// Read the password of the key from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-", requires = "keyfile")]
    key_password_file: Option<SecretSource>,
}

impl KeyArgs {
    /// Reads and opens the key, if one is given.
    pub(crate) fn unlock(&self) -> Result<Option<CryptKey>> {
        let Some(file) = &self.keyfile else { return Ok(None) };
        let path = file.path().display();
        let keyfile = KeyFile::parse(&file.read_small()?).with_context(|| format!("{path} is no key file"))?;
        unlock(&keyfile, &path, self.key_password_file.as_ref()).map(Some)
    }
}

/// Opens the key of the file at `path`, with the password from `source` where it needs one.
pub(crate) fn unlock(file: &KeyFile, path: &impl Display, source: Option<&SecretSource>) -> Result<CryptKey> {
    if file.is_protected() && source.is_none() {
        return Err(Hinted::new(format!("the key in {path} is protected by a password"))
            .hint("give it with --key-password-file FILE, or - for standard input")
            .into());
    }
    let password = source.map(SecretSource::read).transpose()?;
    file.unlock(password.as_deref()).with_context(|| format!("cannot open the key in {path}"))
}
