use formats::{
    AuthId, BackupId, BackupTime, BackupType, CryptMode, Fingerprint, GroupId, Namespace, SnapshotId, Upid,
    VerifyResult,
};
use serde::{Deserialize, Serialize};

/// One child of an inner node of the API tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subdirectory {
    /// Name of the child.
    pub subdir: String,
}

/// One namespace of `GET .../namespace`. The list includes the parent that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceListItem {
    /// The full namespace, empty for the root.
    pub ns: Namespace,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One group of `GET .../groups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupListItem {
    /// Type of the group.
    pub backup_type: BackupType,
    /// Id of the group.
    pub backup_id: BackupId,
    /// Time of the newest finished snapshot; 0 if there is none.
    pub last_backup: i64,
    /// Number of snapshots.
    pub backup_count: u64,
    /// File names of the newest finished snapshot.
    pub files: Vec<String>,
    /// Who owns the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AuthId>,
    /// First line of the group's notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl GroupListItem {
    /// Returns type and id as one value.
    pub fn group(&self) -> GroupId {
        GroupId { backup_type: self.backup_type, id: self.backup_id.clone() }
    }
}

/// One file of a snapshot; only the name when no manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotFile {
    /// Name with extension.
    pub filename: String,
    /// How it is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crypt_mode: Option<CryptMode>,
    /// Bytes of the plain stream (index) or of the encoded file (blob).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Result of a snapshot's last verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Task that verified.
    pub upid: Upid,
    /// Its result.
    pub state: VerifyResult,
}

/// One snapshot of `GET .../snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotListItem {
    /// Type of the group.
    pub backup_type: BackupType,
    /// Id of the group.
    pub backup_id: BackupId,
    /// Time of the snapshot.
    pub backup_time: BackupTime,
    /// First line of its notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Result of its last verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Fingerprint of the key it is encrypted or signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Its files.
    pub files: Vec<SnapshotFile>,
    /// Sum of the files' sizes; absent exactly when there is no readable manifest (backup in progress).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Who owns the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AuthId>,
    /// Whether it is protected from removal.
    #[serde(default)]
    pub protected: bool,
}

impl SnapshotListItem {
    /// Returns type, id and time as one value.
    pub fn snapshot(&self) -> SnapshotId {
        SnapshotId {
            group: GroupId { backup_type: self.backup_type, id: self.backup_id.clone() },
            time: self.backup_time,
        }
    }
}

/// What a removal of a group or a namespace did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeleteStats {
    /// Groups that are gone.
    pub removed_groups: u64,
    /// Snapshots that are gone.
    pub removed_snapshots: u64,
    /// Snapshots that stayed because they are protected.
    pub protected_snapshots: u64,
}
