//! Encryption keys given on the command line.

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
        if keyfile.is_protected() && self.key_password_file.is_none() {
            return Err(Hinted::new(format!("the key in {path} is protected by a password"))
                .hint("give it with --key-password-file FILE, or - for standard input")
                .into());
        }
        let password = self.key_password_file.as_ref().map(SecretSource::read).transpose()?;
        let key = keyfile.unlock(password.as_deref()).with_context(|| format!("cannot open the key in {path}"))?;
        Ok(Some(key))
    }
}
