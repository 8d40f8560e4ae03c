use formats::{Upid, UserId};
use serde::{Deserialize, Serialize};

/// A task in the list of a node. Keys have underscores here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskListItem {
    /// Its name.
    pub upid: Upid,
    /// Always `localhost`.
    pub node: String,
    /// Process that runs it, or did.
    pub pid: u32,
    /// Start of that process in kernel ticks.
    pub pstart: u64,
    /// When it began.
    pub starttime: i64,
    /// What kind of task.
    pub worker_type: String,
    /// What it works on; `null` when there is nothing to say.
    pub worker_id: Option<String>,
    /// Who started it, user or token.
    pub user: String,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endtime: Option<i64>,
    /// How it ended: `OK`, `WARNINGS: n`, `unknown` or the text of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl TaskListItem {
    /// The item for a task; `ended` is when and how, if it did.
    pub fn new(upid: Upid, ended: Option<(i64, String)>) -> Self {
        let (endtime, status) = ended.unzip();
        Self {
            node: "localhost".to_owned(),
            pid: upid.pid,
            pstart: upid.pstart,
            starttime: upid.start_time,
            worker_type: upid.worker_type.clone(),
            worker_id: upid.worker_id.clone(),
            user: upid.auth_id.to_string(),
            endtime,
            status,
            upid,
        }
    }
}

/// How one task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its name.
    pub upid: Upid,
    /// The node in its name.
    pub node: String,
    /// Process that runs it, or did.
    pub pid: u32,
    /// Start of that process in kernel ticks.
    pub pstart: u64,
    /// When it began.
    pub starttime: i64,
    /// What kind of task.
    #[serde(rename = "type")]
    pub worker_type: String,
    /// What it works on; `null` when there is nothing to say.
    pub id: Option<String>,
    /// Who started it, without token.
    pub user: UserId,
    /// With which token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenid: Option<String>,
    /// `running` or `stopped`.
    pub status: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitstatus: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endtime: Option<i64>,
}

impl TaskStatus {
    /// The status of a task; `ended` is when, as far as known, and how, if it did.
    pub fn new(upid: Upid, ended: Option<(Option<i64>, String)>) -> Self {
        let (endtime, exitstatus) = ended.unzip();
        Self {
            node: upid.node.clone(),
            pid: upid.pid,
            pstart: upid.pstart,
            starttime: upid.start_time,
            worker_type: upid.worker_type.clone(),
            id: upid.worker_id.clone(),
            user: upid.auth_id.user().clone(),
            tokenid: upid.auth_id.token().map(ToString::to_string),
            status: if exitstatus.is_some() { "stopped" } else { "running" }.to_owned(),
            exitstatus,
            endtime: endtime.flatten(),
            upid,
        }
    }
}

/// Lines of a task's log, as the whole answer: it has no envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLogPage {
    /// The lines.
    pub data: Vec<TaskLogLine>,
    /// How many there are in all.
    pub total: u64,
    /// Always 1.
    pub success: u8,
    /// Whether the task runs; present when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLogLine {
    /// Its number, from 1.
    pub n: u64,
    /// Its text, without a line break.
    pub t: String,
}
