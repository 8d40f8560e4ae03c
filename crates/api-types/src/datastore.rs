use formats::StoreName;
use serde::{Deserialize, Serialize};

/// Whether a datastore's medium is there. The set is closed at peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountStatus {
    /// A removable datastore that is mounted.
    Mounted,
    /// A removable datastore that is not mounted.
    NotMounted,
    /// A datastore on a fixed file system.
    NonRemovable,
}

/// Where a datastore's chunks live. The set is closed at peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendType {
    /// In a directory.
    Filesystem,
    /// In an object store.
    S3,
}

/// One datastore of `GET /admin/datastore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataStoreListItem {
    /// Name of the datastore.
    pub store: StoreName,
    /// One line for people; `null` when unset.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether its medium is there. Older servers leave it out.
    #[serde(default = "non_removable")]
    pub mount_status: MountStatus,
    /// Maintenance mode, such as `read-only,message=...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
    /// Where its chunks live. Older servers leave it out.
    #[serde(default = "filesystem")]
    pub backend_type: BackendType,
}

fn non_removable() -> MountStatus {
    MountStatus::NonRemovable
}

fn filesystem() -> BackendType {
    BackendType::Filesystem
}

/// Groups and snapshots of one backup type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCounts {
    /// Number of groups.
    pub groups: u64,
    /// Number of finished snapshots.
    pub snapshots: u64,
}

/// Groups and snapshots per backup type; a type without groups is `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Containers.
    pub ct: Option<TypeCounts>,
    /// Hosts.
    pub host: Option<TypeCounts>,
    /// Virtual machines.
    pub vm: Option<TypeCounts>,
    /// Anything else.
    pub other: Option<TypeCounts>,
}

/// Cache statistics of a garbage collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcCacheStats {
    /// Chunks not touched again.
    pub hits: u64,
    /// Chunks touched.
    pub misses: u64,
}

/// Result of the last garbage collection, all zero before the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct GcStatus {
    /// Task that ran it; `null` before the first.
    pub upid: Option<String>,
    /// Index files read.
    pub index_file_count: u64,
    /// Sum of the lengths the indexes stand for.
    pub index_data_bytes: u64,
    /// Bytes of all chunks in use.
    pub disk_bytes: u64,
    /// Chunks in use.
    pub disk_chunks: u64,
    /// Bytes freed.
    pub removed_bytes: u64,
    /// Chunks removed.
    pub removed_chunks: u64,
    /// Bytes of chunks too young to be removed.
    pub pending_bytes: u64,
    /// Chunks too young to be removed.
    pub pending_chunks: u64,
    /// Corrupt chunks removed.
    pub removed_bad: u64,
    /// Corrupt chunks still there.
    pub still_bad: u64,
    /// Cache statistics, absent before the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_stats: Option<GcCacheStats>,
}

/// Answer of `GET .../gc`: the last result and the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GarbageCollectionReport {
    /// Name of the datastore.
    pub store: StoreName,
    /// Calendar event it runs at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Next run by that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<i64>,
    /// The counters.
    #[serde(flatten)]
    pub status: GcStatus,
}

/// Answer of `GET .../status`. Sizes are zero for callers who may not see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataStoreStatus {
    /// Bytes of the file system.
    pub total: u64,
    /// Bytes used.
    pub used: u64,
    /// Bytes free to this process.
    pub avail: u64,
    /// Where its chunks live.
    #[serde(default = "filesystem")]
    pub backend_type: BackendType,
    /// Only with `verbose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Only with `verbose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_status: Option<GcStatus>,
}

/// One datastore of `GET /status/datastore-usage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataStoreUsage {
    /// Name of the datastore.
    pub store: StoreName,
    /// Bytes of the file system; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Bytes free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avail: Option<u64>,
    /// Whether its medium is there.
    #[serde(default = "non_removable")]
    pub mount_status: MountStatus,
    /// Where its chunks live.
    #[serde(default = "filesystem")]
    pub backend_type: BackendType,
    /// Used share of the file system, 0 to 1, one value per `history-delta` seconds; `null` where none was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<Option<f64>>>,
    /// Time of the first value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_start: Option<i64>,
    /// Seconds between two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_delta: Option<u64>,
    /// Why the sizes could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Result of the last garbage collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_status: Option<GcStatus>,
}

/// Answer of `GET .../active-operations`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveOperations {
    /// Operations that read.
    pub read: u64,
    /// Operations that write.
    pub write: u64,
}
