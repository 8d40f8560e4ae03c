//! `/config/sync`: the jobs as they are configured.

use config::{ConfigDigest, ConfigError, Loaded, SyncDirection, SyncJobConfig, TransferMode};
use formats::JobId;
use serde_json::{Map, Value};

use super::call::Call;
use super::sync_access::{check_modify, check_seen, sees};
use crate::http::error::{ApiError, chain};
use crate::http::reply::Reply;

/// Settings that name commands, or are about them. They run as the service user, so the API neither shows nor takes them.
pub(crate) const COMMANDS: [&str; 5] = ["pre-script", "post-script", "failure-script", "script-timeout", "run-when"];

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        let text = chain(&error);
        match &error {
            ConfigError::NotFound { .. } => Self::not_found(text),
            ConfigError::Invalid { property, reason } => Self::parameter(property, reason),
            error if error.is_callers_fault() => Self::bad_request(text),
            _ => Self::internal(text),
        }
    }
}

/// Which directions a list shows: pulls unless asked otherwise.
pub(crate) fn directions(call: &Call) -> Result<&'static [SyncDirection], ApiError> {
    Ok(match call.params.opt_text("sync-direction") {
        None | Some("pull") => &[SyncDirection::Pull],
        Some("push") => &[SyncDirection::Push],
        Some("all") => &[SyncDirection::Pull, SyncDirection::Push],
        Some(_) => return Err(ApiError::parameter("sync-direction", "must be pull, push or all")),
    })
}

/// Loads the jobs of these directions that the caller may see, and the digest of the file.
pub(crate) async fn visible(
    call: &Call,
    directions: &[SyncDirection],
) -> Result<(Vec<SyncJobConfig>, ConfigDigest), ApiError> {
    let paths = call.state.paths.clone();
    let loaded: Loaded<SyncJobConfig> = call.state.blocking(move || config::sync_jobs::load(&paths)).await??;
    for problem in &loaded.problems {
        tracing::warn!(%problem, "sync job configuration");
    }
    let mut jobs = Vec::new();
    for job in loaded.entries {
        if directions.contains(&job.direction()) && sees(call, &job)? {
            jobs.push(job);
        }
    }
    Ok((jobs, loaded.digest))
}

/// A job as the API shows it: what is set, without commands. A reader that does not know `transfer-mode` sees in
/// `remove-vanished` what the job does.
pub(crate) fn shown(job: &SyncJobConfig) -> Result<Map<String, Value>, ApiError> {
    let mut job = job.clone();
    if job.mode() == TransferMode::Sync {
        job.remove_vanished = Some(true);
    }
    match serde_json::to_value(&job) {
        Ok(Value::Object(mut object)) => {
            object.retain(|key, _| !COMMANDS.contains(&key.as_str()));
            Ok(object)
        }
        _ => Err(ApiError::internal(format!("cannot show sync job '{}'", job.id))),
    }
}

/// `GET /config/sync`.
pub(crate) async fn list(call: Call) -> Result<Reply, ApiError> {
    let (jobs, digest) = visible(&call, directions(&call)?).await?;
    let shown: Vec<_> = jobs.iter().map(shown).collect::<Result<_, _>>()?;
    Reply::json(&shown)?.with("digest", digest)
}

/// `GET /config/sync/{id}`.
pub(crate) async fn get(call: Call) -> Result<Reply, ApiError> {
    let (job, digest) = find(&call, &call.params.parse("id")?).await?;
    check_seen(&call, &job)?;
    Reply::json(&shown(&job)?)?.with("digest", digest)
}

/// Finds a job.
///
/// # Errors
/// 404 when there is none of that id, 400 when its section is broken.
pub(crate) async fn find(call: &Call, id: &JobId) -> Result<(SyncJobConfig, ConfigDigest), ApiError> {
    let (paths, id) = (call.state.paths.clone(), id.clone());
    call.state
        .blocking(move || {
            let loaded = config::sync_jobs::load(&paths)?;
            match loaded.find(&id) {
                Some(job) => Ok((job.clone(), loaded.digest)),
                // Says where and why it is broken, or that there is none.
                None => config::sync_jobs::get(&paths, &id).map(|job| (job, loaded.digest)),
            }
        })
        .await?
        .map_err(ApiError::from)
}

/// `POST /config/sync`: adds a job.
pub(crate) async fn create(call: Call) -> Result<Reply, ApiError> {
    let id: JobId = call.params.parse("id")?;
    let job: SyncJobConfig = config::from_pairs(id.as_str(), &call.params.pairs(&["id"]))?;
    check_modify(&call, &job)?;
    let paths = call.state.paths.clone();
    call.state.blocking(move || config::sync_jobs::create(&paths, &job)).await??;
    Ok(Reply::null())
}

/// `PUT /config/sync/{id}`: changes a job that the caller may change, into one that the caller may make.
pub(crate) async fn update(call: Call) -> Result<Reply, ApiError> {
    let id: JobId = call.params.parse("id")?;
    let delete = call.params.texts("delete").to_vec();
    if let Some(key) = delete.iter().find(|key| COMMANDS.contains(&key.as_str())) {
        return Err(ApiError::parameter("delete", format!("'{key}' can only be changed on the host")));
    }
    let (before, seen) = find(&call, &id).await?;
    check_modify(&call, &before)?;
    let after = config::patch(&before, &call.params.pairs(&["id", "delete", "digest"]), &delete)?;
    check_modify(&call, &after)?;
    // What was checked is what is written: a change in between is refused, as one since the caller's own look is.
    let expected: ConfigDigest = call.params.opt("digest")?.unwrap_or(seen);
    if expected != seen {
        return Err(ConfigError::DigestMismatch { path: call.state.paths.sync_cfg() }.into());
    }
    let paths = call.state.paths.clone();
    call.state
        .blocking(move || {
            config::sync_jobs::update(&paths, &id, Some(&seen), |job| {
                *job = after;
                Ok(())
            })
        })
        .await??;
    Ok(Reply::null())
}

/// `DELETE /config/sync/{id}`: removes a job, and what is remembered of it.
pub(crate) async fn remove(call: Call) -> Result<Reply, ApiError> {
    let id: JobId = call.params.parse("id")?;
    let (job, _) = find(&call, &id).await?;
    check_modify(&call, &job)?;
    let (paths, expected) = (call.state.paths.clone(), call.params.opt::<ConfigDigest>("digest")?);
    call.state
        .blocking(move || {
            config::sync_jobs::remove(&paths, &id, expected.as_ref())?;
            jobs::forget_job(&paths, &id)
        })
        .await??;
    Ok(Reply::null())
}
