//! `snapshot files`.

use anyhow::Result;
use api_types::SnapshotFile;
use formats::{ArchiveName, CryptMode, Namespace, SnapshotId, StoreName};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Snapshot, TYPE/ID/TIME
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let store = jobs::open_store(&ctx.paths, &self.store)?;
        let (manifest, blob) = store.manifest(&self.ns, &self.snapshot)?;
        let mut files: Vec<SnapshotFile> = manifest
            .files
            .iter()
            .map(|file| SnapshotFile {
                filename: file.filename.to_string(),
                crypt_mode: Some(file.crypt_mode),
                size: Some(file.size),
            })
            .collect();
        files.push(SnapshotFile {
            filename: ArchiveName::manifest().to_string(),
            crypt_mode: Some(if manifest.signature.is_some() { CryptMode::SignOnly } else { CryptMode::None }),
            size: Some(blob.encoded_len()),
        });
        if store.snapshot_files(&self.ns, &self.snapshot)?.iter().any(|name| name == formats::CLIENT_LOG_NAME) {
            files.push(SnapshotFile { filename: formats::CLIENT_LOG_NAME.to_owned(), crypt_mode: None, size: None });
        }
        ctx.out.list(&[Column::new("filename"), Column::bytes("size"), Column::new("crypt-mode")], &files)?;
        Ok(Outcome::Done)
    }
}
