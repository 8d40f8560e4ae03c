use formats::{BackupId, BackupTime, BackupType, Namespace};
use serde::{Deserialize, Serialize};

/// How many snapshots of each period a prune keeps; none set keeps all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeepCounts {
    /// The newest N.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// One per hour, for N hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u64>,
    /// One per day, for N days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u64>,
    /// One per week, for N weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u64>,
    /// One per month, for N months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u64>,
    /// One per year, for N years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u64>,
}

/// One snapshot of a group prune and its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneItem {
    /// Type of the group.
    pub backup_type: BackupType,
    /// Id of the group.
    pub backup_id: BackupId,
    /// Time of the snapshot.
    pub backup_time: BackupTime,
    /// Whether it stays.
    pub keep: bool,
    /// Whether it stays because it is protected.
    pub protected: bool,
    /// Namespace, absent for the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<Namespace>,
}
