//! `snapshot verify`.

use anyhow::Result;
use config::encryption_keys::KeyUse;
use formats::{CryptKey, JobId, Namespace, SnapshotId, StoreName};
use jobs::{VerifyOutcome, VerifyRow};

use crate::context::Context;
use crate::human::count;
use crate::keys::KeyArgs;
use crate::outcome::Outcome;
use crate::output::Column;
use crate::progress::Progress;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Verify only this snapshot, TYPE/ID/TIME [default: all of the namespace and below]
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<SnapshotId>,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,

    /// Go down at most this many levels of namespaces [default: all]
    #[arg(long, value_name = "0..7", value_parser = clap::value_parser!(u8).range(0..=7))]
    max_depth: Option<u8>,

    /// Check what is under this key of `encryption-key list` by what it holds, not by its checksum alone (repeatable)
    #[arg(long, value_name = "KEY")]
    key: Vec<JobId>,

    #[command(flatten)]
    file: KeyArgs,
}

const COLUMNS: [Column; 6] = [
    Column::new("ns"),
    Column::new("snapshot"),
    Column::new("state"),
    Column::new("chunks"),
    Column::new("errors"),
    Column::new("notes"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let keys = self.keys(ctx)?;
        let store = jobs::open_store(&ctx.paths, &self.store)?;
        let progress = Progress::new();
        let rows: Vec<VerifyRow> = ctx.block_on(async {
            let wanted = jobs::snapshots_to_verify(&store, &self.ns, self.snapshot, self.max_depth.map(usize::from))?;
            let upid = tasks::new_upid("verify", Some(self.store.to_string()), tasks::superuser());
            Ok(jobs::verify(&store, wanted, &upid, keys, &mut |row| progress.say(&line(row))).await?)
        })?;
        progress.finish();
        let failed = rows.iter().filter(|row| row.state == VerifyOutcome::Failed).count();
        if ctx.out.is_text() {
            let total = count(rows.len() as u64, "snapshot");
            ctx.out.line(&format!("verified {total}: {} ok, {failed} failed", rows.len() - failed))?;
        } else {
            ctx.out.list(&COLUMNS, &rows)?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::Failed })
    }
}

impl Args {
    fn keys(&self, ctx: &Context) -> Result<Vec<CryptKey>> {
        let mut keys: Vec<CryptKey> = self.file.unlock()?.into_iter().collect();
        for id in &self.key {
            keys.push(config::encryption_keys::open(&ctx.paths, id, KeyUse::Decrypt)?);
        }
        Ok(keys)
    }
}

fn line(row: &VerifyRow) -> String {
    let place = crate::progress::place(&row.ns, &row.snapshot);
    match row.errors.first() {
        None => {
            let notes: Vec<String> = row.notes.iter().map(|note| format!(" ({note})")).collect();
            format!("{place}: ok, {}{}", count(row.chunks, "chunk"), notes.concat())
        }
        Some(first) => format!(
            "{place}: failed: {first}{}",
            if row.errors.len() > 1 { format!(" (and {} more)", row.errors.len() - 1) } else { String::new() }
        ),
    }
}
