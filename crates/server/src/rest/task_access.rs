//! Whose tasks a caller may see and stop.

use config::acl::Privileges;
use formats::{AuthId, Namespace, Upid};

use super::call::Call;
use crate::auth::directory::Rights;
use crate::http::error::ApiError;

/// Which tasks one caller sees.
#[derive(Clone)]
pub(crate) struct TaskSight {
    caller: AuthId,
    rights: Rights,
    all: bool,
}

impl TaskSight {
    /// What the caller of `call` sees.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let (caller, rights) = (call.identity()?.clone(), call.rights().clone());
        let all = rights.on_tasks(&caller).intersects(Privileges::SYS_AUDIT);
        Ok(Self { caller, rights, all })
    }

    /// Whether a task is to be seen: one's own, with the right to all of them, or with that to start such a job.
    pub(crate) fn sees(&self, upid: &Upid) -> bool {
        self.all || self.caller.owns(&upid.auth_id) || self.may_start(upid).unwrap_or(false)
    }

    /// Whether the caller could start the job that this task is a run of; `None` when it is none.
    fn may_start(&self, upid: &Upid) -> Option<bool> {
        let mut fields = upid.worker_id.as_deref()?.split(':');
        let root = Namespace::root();
        let needs = match upid.worker_type.as_str() {
            "syncjob" => {
                let remote = fields.next()?;
                let (other, store) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
                let ns: Namespace = fields.next()?.parse().ok()?;
                let there = match remote {
                    "-" => self.rights.on_datastore(&self.caller, &other, &root).intersects(Privileges::DATASTORE_READ),
                    remote => self
                        .rights
                        .on_remote_store(&self.caller, &remote.parse().ok()?, &other, &root)
                        .intersects(Privileges::REMOTE_READ),
                };
                let here = self.rights.on_datastore(&self.caller, &store, &ns);
                return Some(there && here.intersects(Privileges::DATASTORE_BACKUP));
            }
            "verificationjob" => Privileges::DATASTORE_VERIFY,
            "garbage_collection" | "prunejob" => Privileges::DATASTORE_MODIFY,
            _ => return None,
        };
        let store = fields.next()?.parse().ok()?;
        Some(self.rights.on_datastore(&self.caller, &store, &root).intersects(needs))
    }

    /// Asks for the right to see a task.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check(&self, upid: &Upid) -> Result<(), ApiError> {
        if self.sees(upid) { Ok(()) } else { Err(ApiError::forbidden("permission check failed")) }
    }

    /// Asks for the right to stop a task: it is one's own, exactly, or one may stop all.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check_stop(&self, upid: &Upid) -> Result<(), ApiError> {
        let all = self.rights.on_tasks(&self.caller).intersects(Privileges::SYS_MODIFY);
        if all || self.caller == upid.auth_id {
            return Ok(());
        }
        Err(ApiError::forbidden("permission check failed"))
    }
}
