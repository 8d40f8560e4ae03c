//! The upgrade to a writer session: all its checks, then the session's whole life.

use std::sync::{Arc, Mutex};

use api_types::protocol::WRITER_PROTOCOL;
use config::acl::Privileges;
use datastore::Datastore;
use formats::{AuthId, BackupType, GroupId, Namespace, SnapshotId, VerifyResult};
use hyper::upgrade::OnUpgrade;
use tasks::{TaskEnd, new_upid};
use tokio::sync::RwLock;

use super::known::KnownChunks;
use super::phase::{Phase, PhaseCell};
use super::{ROUTES, Staged, Statistics, Writer, index};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::rest::call::{Call, OwnerCheck};
use crate::rest::verify::{hex_time, verify_all};
use crate::running_task::RunningTask;
use crate::session::{h2, in_namespace, upgrade};
use crate::state::{SessionPlace, State};
use crate::stores::{Operation, Purpose};
use crate::vouch::Voucher;

/// `GET /backup`: checks everything, takes the locks, then answers 101 and serves the session.
pub(crate) async fn open(mut call: Call) -> Result<Reply, ApiError> {
    let (ns, snapshot) = (call.namespace()?, call.params.snapshot()?);
    let benchmark = call.params.bool("benchmark", false);
    let name = call.params.parse("store")?;
    call.require(&name, &ns, Privileges::DATASTORE_BACKUP)?;
    let caller = call.identity()?.clone();
    let store = call.datastore(Purpose::Write)?;
    let verify_after = call.state.stores.config(&name)?.verify_new.unwrap_or(false);
    upgrade::check(&call.headers, WRITER_PROTOCOL)?;
    let request = Opening {
        number: call.state.session_number(),
        operation: call.state.stores.operation(&name, Purpose::Write),
        place: call.state.session_place()?,
        voucher: call.state.vouchers.of(&store),
        store,
        ns,
        snapshot,
        caller,
        benchmark,
        verify_after,
    };
    let writer = call.state.blocking(move || request.open()).await??;
    let Some(connection) = call.upgrade.take() else {
        call.state.blocking(move || writer.end()).await?;
        return Err(ApiError::bad_request("this connection cannot be upgraded"));
    };
    let id = format!("{name}:{}", writer.snapshot.group);
    let task = RunningTask::begin(&call.state, new_upid("backup", Some(id), writer.caller.clone())).await?;
    task.log().info(format!("backup of {} into datastore '{name}'{}", writer.snapshot, in_namespace(&writer.ns)));
    tracing::info!(session = writer.number, snapshot = %writer.snapshot, store = %name, caller = %writer.caller, "backup session");
    let state = Arc::clone(&call.state);
    call.state.tracker.spawn(serve(state, task, Arc::new(writer), connection));
    Ok(Reply::Switch(WRITER_PROTOCOL))
}

/// Serves a session to its end, whatever that is, and verifies what it made if that is wanted.
async fn serve(state: Arc<State>, task: Arc<RunningTask>, writer: Arc<Writer>, connection: OnUpgrade) {
    let stopped = match connection.await {
        Ok(io) => task.unless_stopped(&state, h2::serve(&state, io, &writer, ROUTES)).await.err(),
        Err(error) => {
            tracing::debug!(%error, "peer left during the upgrade");
            None
        }
    };
    let ending = Arc::clone(&writer);
    let complete = state.blocking(move || ending.end()).await.unwrap_or(false);
    let finished = writer.phase.get() == Phase::Finished;
    tracing::info!(session = writer.number, complete, "backup session over");
    let end = match stopped {
        _ if finished => {
            task.log().info(writer.statistics().to_string());
            TaskEnd::Ok
        }
        Some(stopped) => stopped.end(),
        None => TaskEnd::Error("the client left before the backup was finished; nothing of it is kept".to_owned()),
    };
    task.finish(&state, end).await;
    drop(task);
    if complete && writer.verify_after {
        verify(&state, &writer).await;
    }
}

/// What a session is opened with.
struct Opening {
    number: u64,
    voucher: Arc<Voucher>,
    store: Datastore,
    ns: Namespace,
    snapshot: SnapshotId,
    caller: AuthId,
    benchmark: bool,
    verify_after: bool,
    operation: Operation,
    place: SessionPlace,
}

impl Opening {
    /// Makes group and snapshot under their locks. Whatever fails, nothing of it stays.
    fn open(self) -> Result<Writer, ApiError> {
        let Opening { number, voucher, store, ns, snapshot, caller, benchmark, verify_after, operation, place } = self;
        if !store.namespace_exists(&ns)? {
            return Err(ApiError::not_found(format!("namespace '{ns}' does not exist")));
        }
        if benchmark != is_benchmark(&snapshot.group) {
            return Err(ApiError::bad_request(
                "the benchmark flag goes with the group host/benchmark, and only with it",
            ));
        }
        let guard = store.begin_writing()?;
        let (group, owner, created) = store.lock_or_create_group(&ns, &snapshot.group, &caller)?;
        let prepared = (|| {
            if !benchmark && !OwnerCheck::always(&caller).passes(&owner) {
                return Err(ApiError::bad_request(format!(
                    "backup owner check failed ({caller} is not the owner {owner})"
                )));
            }
            let previous = previous(&store, &ns, &snapshot)?;
            let staged = store.stage(&ns, &snapshot, &group)?;
            Ok((previous, staged))
        })();
        let (previous, staged) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                drop(group);
                if created {
                    // The group was made a moment ago for nothing.
                    let _ = store.remove_group(&ns, &snapshot.group);
                }
                return Err(error);
            }
        };
        let staged = Staged { snapshot: staged, manifest: Mutex::new(None), _guard: guard };
        Ok(Writer {
            number,
            store,
            ns,
            snapshot,
            caller,
            benchmark,
            verify_after,
            previous,
            known: KnownChunks::default(),
            voucher,
            view: Mutex::default(),
            indexes: Mutex::new(index::Indexes::default()),
            phase: PhaseCell::new(),
            statistics: Mutex::new(Statistics::default()),
            staged: RwLock::new(Some(staged)),
            _operation: operation,
            _place: place,
        })
    }
}

fn is_benchmark(group: &GroupId) -> bool {
    group.backup_type == BackupType::Host && group.id.as_str() == "benchmark"
}

type Previous = Option<(SnapshotId, Mutex<Option<datastore::SnapshotLock>>)>;

/// Finds the newest finished snapshot and locks it, unless its verification failed: then there is none, and older ones
/// do not stand in for it.
fn previous(store: &Datastore, ns: &Namespace, snapshot: &SnapshotId) -> Result<Previous, ApiError> {
    let finished = store.snapshots(ns, &snapshot.group)?.into_iter().filter(|entry| entry.finished);
    let Some(newest) = finished.max_by_key(|entry| entry.id.time) else { return Ok(None) };
    let (manifest, _) = store.manifest(ns, &newest.id)?;
    if manifest.verify_state().is_some_and(|verified| verified.state == VerifyResult::Failed) {
        return Ok(None);
    }
    if snapshot.time <= newest.id.time {
        return Err(ApiError::bad_request("backup timestamp is older than last backup."));
    }
    let lock = store.lock_snapshot_shared(ns, &newest.id)?;
    Ok(Some((newest.id, Mutex::new(Some(lock)))))
}

/// Reads all of a new snapshot once more, as `verify-new` asks for.
async fn verify(state: &State, writer: &Writer) {
    let (store, group) = (writer.store.name(), &writer.snapshot.group);
    let id = format!("{store}:{group}/{}", hex_time(writer.snapshot.time));
    let task = match RunningTask::begin(state, new_upid("verify", Some(id), writer.caller.clone())).await {
        Ok(task) => task,
        Err(error) => {
            tracing::error!(snapshot = %writer.snapshot, %error, "cannot verify");
            return;
        }
    };
    let snapshots = vec![(writer.ns.clone(), writer.snapshot.clone())];
    let end = verify_all(state, &task, &writer.store, snapshots, task.upid()).await;
    tracing::info!(snapshot = %writer.snapshot, %end, "verified");
    task.finish(state, end).await;
}
