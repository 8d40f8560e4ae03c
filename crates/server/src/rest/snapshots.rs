//! Snapshots and their files.

use api_types::{SnapshotFile, SnapshotListItem, Verification};
use datastore::{Datastore, SnapshotEntry};
use formats::{
    AuthId, BackupId, BackupType, CryptMode, DataBlob, GroupId, MANIFEST_NAME, Manifest, Namespace, SnapshotId,
};

use super::call::{Call, OwnerCheck};
use super::groups::{first_line, readable_owner};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET snapshots`: of one namespace level, one type, one id or one group. An unknown group has none.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let (ns, check) = (call.namespace()?, call.owner_check()?);
    let backup_type = call.params.opt::<BackupType>("backup-type")?;
    let backup_id = call.params.opt::<BackupId>("backup-id")?;
    let store = call.datastore(Purpose::Read)?;
    let items = call.state.blocking(move || items(&store, &ns, backup_type, backup_id.as_ref(), &check)).await??;
    Reply::json(&items)
}

fn items(
    store: &Datastore,
    ns: &Namespace,
    backup_type: Option<BackupType>,
    backup_id: Option<&BackupId>,
    check: &OwnerCheck,
) -> Result<Vec<SnapshotListItem>, ApiError> {
    let mut items = Vec::new();
    for group in store.groups(ns)? {
        let asked = backup_type.is_none_or(|wanted| wanted == group.backup_type)
            && backup_id.is_none_or(|wanted| *wanted == group.id);
        if !asked {
            continue;
        }
        let Some(owner) = readable_owner(store, ns, &group)? else { continue };
        if !check.passes(&owner) {
            continue;
        }
        for snapshot in store.snapshots(ns, &group)? {
            if let Some(item) = item(store, ns, &group, &owner, &snapshot)? {
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// Describes a snapshot; `None` when it has gone since it was listed.
fn item(
    store: &Datastore,
    ns: &Namespace,
    group: &GroupId,
    owner: &AuthId,
    snapshot: &SnapshotEntry,
) -> Result<Option<SnapshotListItem>, ApiError> {
    let names = match store.snapshot_files(ns, &snapshot.id) {
        Ok(names) => names,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut item = SnapshotListItem {
        backup_type: group.backup_type,
        backup_id: group.id.clone(),
        backup_time: snapshot.id.time,
        comment: None,
        verification: None,
        fingerprint: None,
        files: Vec::new(),
        size: None,
        owner: Some(owner.clone()),
        protected: snapshot.protected,
    };
    match store.manifest(ns, &snapshot.id) {
        Ok((manifest, blob)) => {
            item.files = described(&manifest, &blob, &names);
            item.size = Some(item.files.iter().filter_map(|file| file.size).sum());
            item.comment = manifest.notes().and_then(first_line);
            item.verification =
                manifest.verify_state().map(|state| Verification { upid: state.upid, state: state.state });
            // A fingerprint that is none would break the whole list at the peer.
            item.fingerprint = manifest.key_fingerprint().ok().flatten();
        }
        Err(error) => {
            if !error.is_not_found() {
                tracing::warn!(snapshot = %snapshot.id, %error, "manifest is not readable");
            }
            item.files = names.into_iter().map(bare).collect();
        }
    }
    Ok(Some(item))
}

/// Files of a finished snapshot: the manifest's, the manifest itself, then what else is there.
fn described(manifest: &Manifest, blob: &DataBlob, names: &[String]) -> Vec<SnapshotFile> {
    let mut files: Vec<SnapshotFile> = manifest
        .files
        .iter()
        .map(|file| SnapshotFile {
            filename: file.filename.to_string(),
            crypt_mode: Some(file.crypt_mode),
            size: Some(file.size),
        })
        .collect();
    let crypt_mode = if manifest.signature.is_some() { CryptMode::SignOnly } else { CryptMode::None };
    files.push(SnapshotFile {
        filename: MANIFEST_NAME.to_owned(),
        crypt_mode: Some(crypt_mode),
        size: Some(blob.encoded_len()),
    });
    let more: Vec<SnapshotFile> =
        names.iter().filter(|name| files.iter().all(|file| file.filename != **name)).cloned().map(bare).collect();
    files.extend(more);
    files
}

fn bare(filename: String) -> SnapshotFile {
    SnapshotFile { filename, crypt_mode: None, size: None }
}

/// `GET files`.
pub(crate) async fn files(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let store = call.datastore(Purpose::Read)?;
    let files = call
        .state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            files_of(&store, &ns, &snapshot)
        })
        .await??;
    Reply::json(&files)
}

fn files_of(store: &Datastore, ns: &Namespace, snapshot: &SnapshotId) -> Result<Vec<SnapshotFile>, ApiError> {
    let (manifest, blob) = store.manifest(ns, snapshot)?;
    Ok(described(&manifest, &blob, &store.snapshot_files(ns, snapshot)?))
}

/// `DELETE snapshots`.
pub(crate) async fn remove(call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot, check) = (call.namespace()?, call.params.snapshot()?, call.owner_check()?);
    let store = call.datastore(Purpose::Write)?;
    call.state
        .blocking(move || {
            check.check(&store, &ns, &snapshot.group)?;
            Ok::<_, ApiError>(store.remove_snapshot(&ns, &snapshot, false)?)
        })
        .await??;
    Ok(Reply::null())
}
