//! `/admin/sync`: how the jobs are, and running one now.

use std::collections::HashMap;

use api_types::JobScheduleStatus;
use config::{Paths, SyncJobConfig};
use formats::{JobId, StoreName, Upid};
use jobs::scheduler::Agenda;
use jobs::{EndState, JobState, JobStates};
use serde_json::{Map, Value};
use tasks::{RunRequest, TaskEnd, TaskStatus, TaskStore};

use super::call::Call;
use super::sync_access::check_modify;
use super::sync_jobs::{directions, find, shown, visible};
use crate::http::error::ApiError;
use crate::http::reply::Reply;

/// `GET /admin/sync`: the jobs the caller may see, with their last and their next run.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let (mut jobs, digest) = visible(&call, directions(&call)?).await?;
    if let Some(store) = call.params.opt::<StoreName>("store")? {
        jobs.retain(|job| job.store == store);
    }
    let (paths, tasks) = (call.state.paths.clone(), call.state.tasks.clone());
    let shown = call
        .state
        .blocking(move || {
            let (states, next) = (JobStates::new(&paths), next_runs(&paths));
            let described = jobs.iter().map(|job| described(job, next.get(&job.id).copied(), &states, &tasks));
            described.collect::<Result<Vec<_>, ApiError>>()
        })
        .await??;
    Reply::json(&shown)?.with("digest", digest)
}

fn described(
    job: &SyncJobConfig,
    next_run: Option<i64>,
    states: &JobStates,
    tasks: &TaskStore,
) -> Result<Map<String, Value>, ApiError> {
    let state = states.load(&job.id).unwrap_or_else(|error| {
        tracing::warn!(%error, "the state of a job is not readable");
        None
    });
    let status = JobScheduleStatus { next_run, ..last_run(state.as_ref(), tasks)? };
    let mut object = shown(job)?;
    if let Ok(Value::Object(more)) = serde_json::to_value(&status) {
        object.extend(more);
    }
    Ok(object)
}

/// The last run. One that died is told as what its log says.
fn last_run(state: Option<&JobState>, tasks: &TaskStore) -> Result<JobScheduleStatus, ApiError> {
    let mut status = JobScheduleStatus::default();
    let (upid, ended) = match state {
        None | Some(JobState::Created { .. } | JobState::Unknown) => return Ok(status),
        Some(JobState::Finished { upid, state, .. }) => (upid, Some((state.endtime(), text(state)))),
        Some(JobState::Started { upid }) => match tasks.status(upid)? {
            Some(TaskStatus::Running) => (upid, None),
            Some(TaskStatus::Stopped { endtime, end }) => {
                (upid, Some((endtime.unwrap_or(upid.start_time), end.to_string())))
            }
            None => (upid, Some((upid.start_time, TaskEnd::Unknown.to_string()))),
        },
    };
    status.last_run_upid = Some(upid.clone());
    (status.last_run_endtime, status.last_run_state) = ended.unzip();
    Ok(status)
}

fn text(state: &EndState) -> String {
    match state {
        EndState::Ok { .. } => TaskEnd::Ok,
        EndState::Warning { count, .. } => TaskEnd::Warnings(*count),
        EndState::Error { message, .. } => TaskEnd::Error(message.clone()),
        EndState::Unknown { .. } => TaskEnd::Unknown,
    }
    .to_string()
}

/// When each job runs next by itself, as the scheduler sees it.
fn next_runs(paths: &Paths) -> HashMap<JobId, i64> {
    let zone = jobs::host_zone(std::env::var("TZ").ok().as_deref()).zone;
    match Agenda::load(paths, tasks::now(), zone) {
        Ok(agenda) => agenda.decide().into_iter().filter_map(|decision| Some((decision.id, decision.next?))).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot tell when jobs run next");
            HashMap::new()
        }
    }
}

/// `POST /admin/sync/{id}/run`: asks the scheduler for a run, and answers with the name it is going to have.
pub(crate) async fn run(call: Call) -> Result<Reply, ApiError> {
    let id: JobId = call.params.parse("id")?;
    let (job, _) = find(&call, &id).await?;
    check_modify(&call, &job)?;
    let auth_id = call.identity()?.clone();
    let upid = tasks::new_upid("syncjob", Some(jobs::job_worker_id(&job)), auth_id.clone());
    let request = RunRequest { upid: upid.clone(), auth_id };
    let (states, tasks) = (JobStates::new(&call.state.paths), call.state.tasks.clone());
    call.state.blocking(move || ask(&id, &request, &states, &tasks)).await??;
    if let Some(command) = &call.state.scheduler
        && let Err(error) = command.start()
    {
        let why = format!("cannot start the scheduler: {error}");
        let (tasks, upid, reason) = (call.state.tasks.clone(), upid.clone(), why.clone());
        call.state.blocking(move || tasks.withdraw(&upid, &reason)).await??;
        return Err(ApiError::internal(why));
    }
    Reply::json(&upid)
}

fn ask(id: &JobId, request: &RunRequest, states: &JobStates, tasks: &TaskStore) -> Result<(), ApiError> {
    let last: Option<Upid> = states.load(id)?.and_then(|state| state.upid().cloned());
    if let Some(upid) = last
        && tasks.status(&upid)? == Some(TaskStatus::Running)
    {
        return Err(ApiError::bad_request(format!("sync job '{id}' is already running")));
    }
    Ok(tasks.request(id, request, "waiting for the scheduler to start this run")?)
}
