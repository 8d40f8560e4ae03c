//! `POST verify`: reading snapshots back, as a task.

use std::sync::Arc;

use config::acl::Privileges;
use datastore::Datastore;
use formats::{AuthId, BackupTime, GroupId, Namespace, SnapshotId, Upid};
use jobs::{Again, VerifyOutcome, VerifyRow};
use tasks::{TaskEnd, new_upid};

use super::call::{Call, OwnerCheck};
use crate::auth::directory::Rights;
use crate::http::error::{ApiError, chain};
use crate::http::reply::Reply;
use crate::running_task::RunningTask;
use crate::state::State;
use crate::stores::{Operation, Purpose};

/// What a verification is about.
enum Scope {
    /// A namespace and those below it.
    Namespace,
    Group(GroupId),
    Snapshot(SnapshotId),
}

/// A verification before it runs.
struct Verification {
    store: Datastore,
    ns: Namespace,
    max_depth: Option<usize>,
    scope: Scope,
    again: Again,
    caller: AuthId,
    rights: Rights,
}

/// `POST verify`: of a datastore, a namespace, a group or a snapshot. Answers with the name of the task.
pub(crate) async fn verify(call: Call) -> Result<Reply, ApiError> {
    let verification = Verification::of(&call)?;
    let upid = new_upid(verification.worker_type(), Some(verification.worker_id()), verification.caller.clone());
    let verification = call
        .state
        .blocking(move || {
            verification.check()?;
            Ok::<_, ApiError>(verification)
        })
        .await??;
    let operation = call.state.stores.operation(verification.store.name(), Purpose::Read);
    let task = RunningTask::begin(&call.state, upid).await?;
    let answer = Reply::json(task.upid())?;
    let threads = ["read-threads", "verify-threads"].iter().any(|name| call.params.opt_int(name).is_some());
    if threads {
        task.log().info("the numbers of threads that were asked for have no effect here");
    }
    let state = Arc::clone(&call.state);
    call.state.tracker.spawn(run(state, task, verification, operation));
    Ok(answer)
}

impl Verification {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let params = &call.params;
        let given = ["backup-type", "backup-id", "backup-time"];
        let given = given.map(|name| params.opt_text(name).is_some() || params.opt_int(name).is_some());
        let scope = match given {
            [false, false, false] => Scope::Namespace,
            [true, true, false] => Scope::Group(params.group()?),
            [true, true, true] => Scope::Snapshot(params.snapshot()?),
            _ => {
                return Err(ApiError::bad_request(
                    "a group has backup-type and backup-id, a snapshot backup-time as well",
                ));
            }
        };
        let again = match (params.bool("ignore-verified", true), params.opt_uint("outdated-after")) {
            (false, _) => Again::Always,
            (true, None) => Again::Never,
            (true, Some(days)) => Again::OlderThan(days),
        };
        Ok(Self {
            store: call.datastore(Purpose::Read)?,
            ns: call.namespace()?,
            max_depth: params.opt_uint("max-depth").and_then(|depth| usize::try_from(depth).ok()),
            scope,
            again,
            caller: call.identity()?.clone(),
            rights: call.rights().clone(),
        })
    }

    fn worker_type(&self) -> &'static str {
        match self.scope {
            Scope::Namespace => "verify",
            Scope::Group(_) => "verify_group",
            Scope::Snapshot(_) => "verify_snapshot",
        }
    }

    fn worker_id(&self) -> String {
        let (store, path) = (self.store.name(), self.ns.dir_path());
        let ns = path.display();
        match &self.scope {
            Scope::Namespace if self.ns.is_root() => store.to_string(),
            Scope::Namespace => format!("{store}:{ns}"),
            Scope::Group(group) => format!("{store}:{ns}/{group}"),
            Scope::Snapshot(SnapshotId { group, time }) => format!("{store}:{ns}/{group}/{}", hex_time(*time)),
        }
    }

    /// Checks what can be told before the task begins.
    fn check(&self) -> Result<(), ApiError> {
        if !self.store.namespace_exists(&self.ns)? {
            return Err(ApiError::bad_request(format!("namespace '{}' does not exist", self.ns)));
        }
        match &self.scope {
            Scope::Namespace => Ok(()),
            Scope::Group(group) | Scope::Snapshot(SnapshotId { group, .. }) => {
                match self.owner_check(&self.ns) {
                    Some(check) => check.check(&self.store, &self.ns, group)?,
                    None => return Err(ApiError::forbidden("permission check failed")),
                }
                // Without an owner there is no group.
                self.store.owner(&self.ns, group).map(drop).map_err(ApiError::from)
            }
        }
    }

    /// How the caller's rights reach in a namespace; `None` if not at all.
    fn owner_check(&self, ns: &Namespace) -> Option<OwnerCheck> {
        let held = self.rights.on_datastore(&self.caller, self.store.name(), ns);
        if held.intersects(Privileges::DATASTORE_VERIFY) {
            return Some(OwnerCheck::none());
        }
        held.intersects(Privileges::DATASTORE_BACKUP).then(|| OwnerCheck::always(&self.caller))
    }

    /// Lists what is to be verified, and says how many snapshots are left out.
    fn wanted(&self, now: i64) -> Result<(Vec<(Namespace, SnapshotId)>, usize), ApiError> {
        let (only, depth) = match &self.scope {
            Scope::Snapshot(snapshot) => (Some(snapshot.clone()), None),
            Scope::Group(_) => (None, Some(0)),
            Scope::Namespace => (None, self.max_depth),
        };
        let mut all = jobs::snapshots_to_verify(&self.store, &self.ns, only, depth)
            .map_err(|error| ApiError::bad_request(chain(&error)))?;
        if let Scope::Group(group) = &self.scope {
            all.retain(|(_, snapshot)| snapshot.group == *group);
        }
        let before = all.len();
        all.retain(|(ns, snapshot)| {
            let allowed =
                self.owner_check(ns).is_some_and(|check| check.check(&self.store, ns, &snapshot.group).is_ok());
            // What cannot be read is what verifying is for.
            let due = self.store.manifest(ns, snapshot).map_or(true, |(manifest, _)| self.again.wants(&manifest, now));
            allowed && due
        });
        let left_out = before - all.len();
        Ok((all, left_out))
    }
}

async fn run(state: Arc<State>, task: Arc<RunningTask>, verification: Verification, operation: Operation) {
    let store = verification.store.clone();
    let listed = state.blocking(move || verification.wanted(tasks::now())).await.and_then(|listed| listed);
    let end = match listed {
        Err(error) => TaskEnd::Error(error.message),
        Ok((snapshots, left_out)) => {
            let log = task.log();
            log.info(format!("verifying {} snapshots of datastore '{}'", snapshots.len(), store.name()));
            if left_out > 0 {
                log.info(format!("{left_out} snapshots are left out: verified before, or not the caller's"));
            }
            verify_all(&state, &task, &store, snapshots, task.upid()).await
        }
    };
    task.finish(&state, end).await;
    drop(operation);
}

/// Verifies snapshots within a task, and says how it ends.
pub(crate) async fn verify_all(
    state: &State,
    task: &RunningTask,
    store: &Datastore,
    snapshots: Vec<(Namespace, SnapshotId)>,
    upid: &Upid,
) -> TaskEnd {
    let mut tell = |row: &VerifyRow| tell(task, row);
    match task.unless_stopped(state, jobs::verify(store, snapshots, upid, Vec::new(), &mut tell)).await {
        Err(stopped) => stopped.end(),
        Ok(Err(error)) => TaskEnd::Error(chain(&error)),
        Ok(Ok(rows)) => {
            let failed: Vec<&VerifyRow> = rows.iter().filter(|row| row.state == VerifyOutcome::Failed).collect();
            match failed.first() {
                None => TaskEnd::Ok,
                Some(first) => TaskEnd::Error(format!(
                    "{} of {} snapshots are damaged, the first is {}",
                    failed.len(),
                    rows.len(),
                    place(&first.ns, &first.snapshot)
                )),
            }
        }
    }
}

fn tell(task: &RunningTask, row: &VerifyRow) {
    let (log, place) = (task.log(), place(&row.ns, &row.snapshot));
    match row.state {
        VerifyOutcome::Ok => log.info(format!("{place}: ok, {} chunks read", row.chunks)),
        VerifyOutcome::Skipped => log.info(format!("{place}: skipped: {}", row.errors.join("; "))),
        VerifyOutcome::Failed => {
            log.warn(format!("{place}: failed"));
            for error in &row.errors {
                log.info(format!("  {error}"));
            }
        }
    }
}

fn place(ns: &Namespace, snapshot: &SnapshotId) -> String {
    if ns.is_root() { snapshot.to_string() } else { format!("{ns}: {snapshot}") }
}

/// The time of a snapshot as ids of tasks have it.
pub(crate) fn hex_time(time: BackupTime) -> String {
    format!("{:08X}", time.unix())
}
