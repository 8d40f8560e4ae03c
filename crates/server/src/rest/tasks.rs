//! `/nodes/{node}/tasks`: what this host does and did, whoever started it.

use std::io::Read;

use api_types::{TaskListItem, TaskLogLine, TaskLogPage, TaskStatus};
use formats::Upid;
use tasks::{EndKind, Filter, TaskEnd, TaskEntry, TaskError};

use super::call::Call;
use super::node;
use super::task_access::TaskSight;
use crate::http::error::{ApiError, chain};
use crate::http::reply::{PLAIN_JSON, Reply, TEXT, to_json};

/// How many tasks, or lines of a log, an answer has unless asked otherwise.
const LIMIT: u64 = 50;

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Io { .. } | TaskError::Locked { .. } => Self::internal(chain(&error)),
            _ => Self::bad_request(error.to_string()),
        }
    }
}

/// `GET tasks`: those that run, the last one first, then the others by their end, the last one first.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    node::check_name(&call)?;
    let (sight, filter) = (TaskSight::of(&call)?, filter(&call)?);
    let (tasks, start, limit) = (call.state.tasks.clone(), filter.start, filter.limit);
    let entries = call.state.blocking(move || tasks.list(&filter, &|upid| sight.sees(upid))).await??;
    let more = usize::from(limit > 0 && entries.len() == limit);
    let total = start + entries.len() + more;
    let items: Vec<TaskListItem> = entries.into_iter().map(item).collect();
    Reply::json(&items)?.with("total", total)
}

fn filter(call: &Call) -> Result<Filter, ApiError> {
    let params = &call.params;
    let number = |name: &str, default| usize::try_from(params.opt_uint(name).unwrap_or(default)).unwrap_or(usize::MAX);
    let ends = params.texts("statusfilter").iter().map(|text| {
        Ok(match text.as_str() {
            "ok" => EndKind::Ok,
            "warning" => EndKind::Warning,
            "error" => EndKind::Error,
            "unknown" => EndKind::Unknown,
            _ => return Err(ApiError::parameter("statusfilter", "must be ok, warning, error or unknown")),
        })
    });
    Ok(Filter {
        running: params.bool("running", false),
        errors: params.bool("errors", false),
        store: params.opt("store")?,
        user: params.opt_text("userfilter").map(str::to_owned),
        worker_type: params.opt_text("typefilter").map(str::to_owned),
        since: params.opt_int("since"),
        until: params.opt_int("until"),
        ends: ends.collect::<Result<_, ApiError>>()?,
        start: number("start", 0),
        limit: number("limit", LIMIT),
    })
}

fn item(entry: TaskEntry) -> TaskListItem {
    TaskListItem::new(entry.upid, entry.end.map(|(endtime, end)| (endtime, end.to_string())))
}

/// The task that the call names, when the caller may see it.
fn seen(call: &Call) -> Result<Upid, ApiError> {
    node::check_name(call)?;
    let upid = call.params.parse("upid")?;
    TaskSight::of(call)?.check(&upid)?;
    Ok(upid)
}

/// `GET tasks/{upid}/status`. Of a task that never was, nobody knows how it ended.
pub(crate) async fn status(call: Call) -> Result<Reply, ApiError> {
    let upid = seen(&call)?;
    let (tasks, asked) = (call.state.tasks.clone(), upid.clone());
    let found = call.state.blocking(move || tasks.status(&asked)).await??;
    let ended = match found {
        Some(tasks::TaskStatus::Running) => None,
        Some(tasks::TaskStatus::Stopped { endtime, end }) => Some((endtime, end.to_string())),
        None => Some((None, TaskEnd::Unknown.to_string())),
    };
    Reply::json(&TaskStatus::new(upid, ended))
}

/// `GET tasks/{upid}/log`: some lines with their numbers, or all of it as a file.
pub(crate) async fn log(call: Call) -> Result<Reply, ApiError> {
    let upid = seen(&call)?;
    let tasks = call.state.tasks.clone();
    let (start, limit) = (call.params.opt_uint("start"), call.params.opt_uint("limit"));
    let test_status = call.params.opt_bool("test-status");
    if call.params.bool("download", false) {
        if start.is_some() || limit.is_some() || test_status.is_some() {
            return Err(ApiError::parameter("download", "goes with no other parameter"));
        }
        let file_name = Some(format!("task-{upid}.log").replace('\\', "_"));
        let bytes = call
            .state
            .blocking(move || {
                let mut bytes = Vec::new();
                let read = tasks.open_log(&upid)?.read_to_end(&mut bytes);
                read.map_err(|error| ApiError::internal(format!("cannot read the log of {upid}: {error}")))?;
                Ok::<_, ApiError>(bytes)
            })
            .await??;
        return Ok(Reply::Document { bytes: bytes.into(), content_type: TEXT, file_name });
    }
    let (start, limit) = (start.unwrap_or(0), limit.unwrap_or(LIMIT));
    let page = call.state.blocking(move || tasks.log_page(&upid, start, limit)).await??;
    let answer = TaskLogPage {
        data: page.lines.into_iter().map(|(n, t)| TaskLogLine { n, t }).collect(),
        total: page.total,
        success: 1,
        active: (test_status == Some(true)).then_some(page.active),
    };
    Ok(Reply::Document { bytes: to_json(&answer)?.into(), content_type: PLAIN_JSON, file_name: None })
}

/// `DELETE tasks/{upid}`: asks the task to end, and does not wait for that. One that has ended already needs nothing.
pub(crate) async fn stop(call: Call) -> Result<Reply, ApiError> {
    node::check_name(&call)?;
    let upid: Upid = call.params.parse("upid")?;
    TaskSight::of(&call)?.check_stop(&upid)?;
    let (tasks, caller) = (call.state.tasks.clone(), call.identity()?.to_string());
    call.state.blocking(move || tasks.stop(&upid, Some(&caller))).await??;
    Ok(Reply::null())
}
