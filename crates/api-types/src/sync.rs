use formats::Upid;
use serde::{Deserialize, Serialize};

/// What a list of jobs says beside the configuration of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobScheduleStatus {
    /// When it runs next by its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<i64>,
    /// How its last run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_state: Option<String>,
    /// Name of its last run, or of the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_upid: Option<Upid>,
    /// When its last run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_endtime: Option<i64>,
}
