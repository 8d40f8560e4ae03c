//! `encryption-key`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use config::EncryptionKeyConfig;
use formats::JobId;

use crate::context::Context;
use crate::errors::unknown;
use crate::outcome::Outcome;

pub(crate) mod archive;
pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod show;

/// The commands below `encryption-key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new random key
    Create(create::Args),
    /// List the keys
    List(list::Args),
    /// Show what is known of a key, but not the key
    Show(show::Args),
    /// Take the key of a key file in, as proxmox-backup-client makes it
    Import(import::Args),
    /// Write a key to a key file, for proxmox-backup-client or for safe keeping
    Export(export::Args),
    /// Encrypt nothing new with a key; it still decrypts
    Archive(archive::Args),
    /// Remove an archived key for good
    Remove(remove::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Show(args) => args.run(ctx),
            Self::Import(args) => args.run(ctx),
            Self::Export(args) => args.run(ctx),
            Self::Archive(args) => args.run(ctx),
            Self::Remove(args) => args.run(ctx),
        }
    }
}

/// The key of this name; an error that names the keys there are.
fn known(ctx: &Context, id: &JobId) -> Result<EncryptionKeyConfig> {
    let keys = config::encryption_keys::load(&ctx.paths)?;
    if let Some(key) = keys.find(id) {
        return Ok(key.clone());
    }
    crate::problems::tell(&keys.problems);
    Err(unknown("encryption key", id, keys.entries.iter().map(|key| &key.id)).into())
}
