//! `snapshot list`.

use anyhow::Result;
use api_types::{SnapshotFile, SnapshotListItem, Verification};
use datastore::{Datastore, SnapshotEntry};
use formats::{ArchiveName, AuthId, CryptMode, GroupId, Namespace, StoreName};
use serde::Serialize;
use serde_json::Value;

use crate::args::parse_bool;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// List only this group, TYPE/ID [default: all]
    #[arg(value_name = "GROUP")]
    group: Option<GroupId>,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,

    /// List unfinished snapshots too: being written now, or left behind [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    all: Option<bool>,
}

/// One snapshot: what the REST API says of it, and its name.
#[derive(Debug, Serialize)]
struct Row {
    snapshot: String,
    #[serde(flatten)]
    item: SnapshotListItem,
    finished: bool,
    /// Why the manifest cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

const COLUMNS: [Column; 6] = [
    Column::new("snapshot"),
    Column::bytes("size"),
    Column::with("files", file_names),
    Column::with("verification", verified),
    Column::flag("protected"),
    Column::new("owner"),
];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let store = jobs::open_store(&ctx.paths, &self.store)?;
        let mut groups = store.groups(&self.ns)?;
        groups.retain(|group| self.group.as_ref().is_none_or(|only| only == group));
        groups.sort();
        let mut rows = Vec::new();
        for group in groups {
            let owner = store.owner(&self.ns, &group).ok();
            let mut snapshots = store.snapshots(&self.ns, &group)?;
            snapshots.retain(|entry| entry.finished || self.all == Some(true));
            snapshots.sort_by_key(|entry| entry.id.time);
            for entry in snapshots {
                rows.extend(row(&store, &self.ns, &entry, owner.clone())?);
            }
        }
        ctx.out.list(&COLUMNS, &rows)?;
        Ok(Outcome::Done)
    }
}

/// Describes a snapshot; nothing if it is gone by now.
fn row(store: &Datastore, ns: &Namespace, entry: &SnapshotEntry, owner: Option<AuthId>) -> Result<Option<Row>> {
    let mut row = Row {
        snapshot: entry.id.to_string(),
        item: SnapshotListItem {
            backup_type: entry.id.group.backup_type,
            backup_id: entry.id.group.id.clone(),
            backup_time: entry.id.time,
            comment: None,
            verification: None,
            fingerprint: None,
            files: Vec::new(),
            size: None,
            owner,
            protected: entry.protected,
        },
        finished: entry.finished,
        error: None,
    };
    if !entry.finished {
        return Ok(Some(row));
    }
    match store.manifest(ns, &entry.id) {
        Ok((manifest, blob)) => {
            let files = manifest.files.iter().map(|file| SnapshotFile {
                filename: file.filename.to_string(),
                crypt_mode: Some(file.crypt_mode),
                size: Some(file.size),
            });
            row.item.files = files.collect();
            row.item.files.push(SnapshotFile {
                filename: ArchiveName::manifest().to_string(),
                crypt_mode: Some(if manifest.signature.is_some() { CryptMode::SignOnly } else { CryptMode::None }),
                size: Some(blob.encoded_len()),
            });
            row.item.size = Some(row.item.files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add));
            row.item.comment = manifest.notes().map(str::to_owned);
            row.item.fingerprint = manifest.key_fingerprint().ok().flatten();
            row.item.verification =
                manifest.verify_state().map(|state| Verification { upid: state.upid, state: state.state });
        }
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => row.error = Some(error.chain()),
    }
    Ok(Some(row))
}

fn file_names(files: &Value) -> String {
    let names = files.as_array().into_iter().flatten().filter_map(|file| file["filename"].as_str());
    names.filter(|name| *name != formats::MANIFEST_NAME).collect::<Vec<_>>().join(", ")
}

fn verified(verification: &Value) -> String {
    verification["state"].as_str().unwrap_or_default().to_owned()
}
