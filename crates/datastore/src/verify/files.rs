//! Checking the files of a snapshot, but for the chunks that its indexes name.

use formats::{
    ArchiveKind, CryptMode, DataBlob, FileInfo, Index, MAX_BLOB_PLAIN, Namespace, RSA_KEY_NAME, SnapshotId, sha256,
};

use super::Wrong;
use crate::store::Datastore;

/// Checks one file of a snapshot but for its chunks; returns it when it is an index.
pub(super) fn check_file(
    store: &Datastore,
    ns: &Namespace,
    snapshot: &SnapshotId,
    file: &FileInfo,
) -> std::result::Result<Option<Index>, Wrong> {
    let bytes = store.read_file(ns, snapshot, &file.filename)?;
    let checked = match file.filename.kind() {
        ArchiveKind::Blob => check_blob(bytes, file).map(|()| None),
        kind => check_index(kind, bytes, file).map(Some),
    };
    checked.map_err(Wrong::damage)
}

fn check_index(kind: ArchiveKind, bytes: Vec<u8>, file: &FileInfo) -> std::result::Result<Index, String> {
    let index = Index::parse(kind, bytes).map_err(|e| e.to_string())?;
    if index.csum() != file.csum {
        return Err("its checksum is not the manifest's".to_owned());
    }
    if index.size() != file.size {
        return Err(format!("it describes {} bytes, the manifest says {}", index.size(), file.size));
    }
    Ok(index)
}

fn check_blob(bytes: Vec<u8>, file: &FileInfo) -> std::result::Result<(), String> {
    if bytes.len() as u64 != file.size {
        return Err(format!("it has {} bytes, the manifest says {}", bytes.len(), file.size));
    }
    if sha256(&bytes) != file.csum {
        return Err("its checksum is not the manifest's".to_owned());
    }
    let blob = DataBlob::parse(bytes).map_err(|e| e.to_string())?;
    let encrypted = blob.kind().is_encrypted();
    // Encrypted with a public key inside a plain blob, although the manifest says "encrypt".
    let exempt = file.filename.as_str() == RSA_KEY_NAME;
    if encrypted != (file.crypt_mode == CryptMode::Encrypt) && !exempt {
        let kind = if encrypted { "encrypted" } else { "not encrypted" };
        return Err(format!("it is {kind}, against its crypt mode in the manifest"));
    }
    if encrypted {
        return blob.verify_crc().map_err(|e| e.to_string());
    }
    blob.decode(None, MAX_BLOB_PLAIN).map(drop).map_err(|e| e.to_string())
}
