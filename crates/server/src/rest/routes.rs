//! All REST calls: method, path, parameters, what the caller needs, handler.

use config::acl::Privileges;
use futures_util::future::BoxFuture;
use http::Method;

use super::access::Access;
use super::call::Call;
use super::{
    datastores, downloads, fingerprint, groups, known_chunks, login, namespaces, node, notes, owner, protection, prune,
    snapshots, status, sync_jobs, sync_params, sync_runs, tasks, verify,
};
use crate::http::error::ApiError;
use crate::http::input::Input;
use crate::http::params::{Kind, Param, TEXT, optional, required};
use crate::http::reply::Reply;
use crate::http::route::Routed;
use crate::session::{reader, writer};

/// What a call runs as.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, ApiError>>;

/// One REST call.
pub(crate) struct Route {
    method: Method,
    pattern: &'static str,
    /// Parameters it allows.
    pub(crate) params: &'static [Param],
    /// Where they come from.
    pub(crate) input: Input,
    /// What the caller needs.
    pub(crate) access: Access,
    /// What it does.
    pub(crate) handler: Handler,
}

impl Routed for Route {
    fn method(&self) -> &Method {
        &self.method
    }

    fn pattern(&self) -> &'static str {
        self.pattern
    }
}

const STORE: Param = required("store", TEXT);
const NS: Param = optional("ns", TEXT);
const TYPE: Param = required("backup-type", TEXT);
const ID: Param = required("backup-id", TEXT);
const TIME: Param = required("backup-time", Kind::Int(1, i64::MAX));
const NODE: Param = required("node", TEXT);
const NOTES: Param = required("notes", Kind::Text(512 * 1024));
const KEEP: Kind = Kind::Int(1, i64::MAX);
const COUNT: Kind = Kind::Int(0, i64::MAX);

const UPID: Param = required("upid", TEXT);
const JOB: Param = required("id", TEXT);
const DIGEST: Param = optional("digest", TEXT);
const DIRECTION: Param = optional("sync-direction", TEXT);
const THREADS: Kind = Kind::Int(1, 32);

const NOTHING: &[Param] = &[];
const GROUP: &[Param] = &[STORE, NS, TYPE, ID];
const SNAPSHOT: &[Param] = &[STORE, NS, TYPE, ID, TIME];
const FILE: &[Param] = &[STORE, NS, TYPE, ID, TIME, required("file-name", TEXT)];

const AUDIT: Privileges = Privileges::DATASTORE_AUDIT;
const BACKUP: Privileges = Privileges::DATASTORE_BACKUP;
const MODIFY: Privileges = Privileges::DATASTORE_MODIFY;
const PRUNE: Privileges = Privileges::DATASTORE_PRUNE;
const READ: Privileges = Privileges::DATASTORE_READ;
const VERIFY: Privileges = Privileges::DATASTORE_VERIFY;
const NONE: Privileges = Privileges::NONE;

const fn content(full: Privileges, limited: Privileges) -> Access {
    Access::Content { full, limited }
}

const fn route(
    method: Method,
    pattern: &'static str,
    params: &'static [Param],
    access: Access,
    handler: Handler,
) -> Route {
    Route { method, pattern, params, input: Input::Parsed, access, handler }
}

const fn raw(
    method: Method,
    pattern: &'static str,
    params: &'static [Param],
    access: Access,
    handler: Handler,
) -> Route {
    Route { method, pattern, params, input: Input::Stream, access, handler }
}

/// All REST calls.
pub(crate) static ROUTES: &[Route] = &[
    route(Method::GET, "version", NOTHING, Access::Anyone, |call| Box::pin(node::version(call))),
    route(Method::GET, "ping", NOTHING, Access::Nobody, |call| Box::pin(node::ping(call))),
    route(Method::GET, "nodes", NOTHING, Access::Superuser, |call| Box::pin(node::list(call))),
    route(Method::GET, "nodes/{node}/identity", &[NODE], Access::Anyone, |call| Box::pin(node::identity(call))),
    route(
        Method::GET,
        "nodes/{node}/tasks",
        &[
            NODE,
            optional("start", COUNT),
            optional("limit", COUNT),
            optional("running", Kind::Bool),
            optional("errors", Kind::Bool),
            optional("store", TEXT),
            optional("userfilter", TEXT),
            optional("typefilter", TEXT),
            optional("since", Kind::Int(i64::MIN, i64::MAX)),
            optional("until", Kind::Int(i64::MIN, i64::MAX)),
            optional("statusfilter", Kind::Texts),
        ],
        Access::Anyone,
        |call| Box::pin(tasks::list(call)),
    ),
    route(Method::DELETE, "nodes/{node}/tasks/{upid}", &[NODE, UPID], Access::Anyone, |call| {
        Box::pin(tasks::stop(call))
    }),
    route(Method::GET, "nodes/{node}/tasks/{upid}/status", &[NODE, UPID], Access::Anyone, |call| {
        Box::pin(tasks::status(call))
    }),
    raw(
        Method::GET,
        "nodes/{node}/tasks/{upid}/log",
        &[
            NODE,
            UPID,
            optional("start", COUNT),
            optional("limit", COUNT),
            optional("test-status", Kind::Bool),
            optional("download", Kind::Bool),
        ],
        Access::Anyone,
        |call| Box::pin(tasks::log(call)),
    ),
    route(Method::GET, "config/sync", &[DIRECTION], Access::Anyone, |call| Box::pin(sync_jobs::list(call))),
    route(Method::POST, "config/sync", sync_params::CREATE, Access::Anyone, |call| Box::pin(sync_jobs::create(call))),
    route(Method::GET, "config/sync/{id}", &[JOB], Access::Anyone, |call| Box::pin(sync_jobs::get(call))),
    route(Method::PUT, "config/sync/{id}", sync_params::UPDATE, Access::Anyone, |call| {
        Box::pin(sync_jobs::update(call))
    }),
    route(Method::DELETE, "config/sync/{id}", &[JOB, DIGEST], Access::Anyone, |call| Box::pin(sync_jobs::remove(call))),
    route(Method::GET, "admin/sync", &[optional("store", TEXT), DIRECTION], Access::Anyone, |call| {
        Box::pin(sync_runs::list(call))
    }),
    route(Method::POST, "admin/sync/{id}/run", &[JOB], Access::Anyone, |call| Box::pin(sync_runs::run(call))),
    route(Method::GET, "access/domains", NOTHING, Access::Nobody, |call| Box::pin(login::domains(call))),
    route(
        Method::GET,
        "access/permissions",
        &[optional("auth-id", TEXT), optional("path", TEXT)],
        Access::Anyone,
        |call| Box::pin(login::permissions(call)),
    ),
    route(
        Method::POST,
        "access/ticket",
        &[
            required("username", TEXT),
            optional("password", Kind::Text(4096)),
            optional("tfa-challenge", Kind::Text(4096)),
            optional("http-only", Kind::Bool),
            optional("path", TEXT),
            optional("privs", TEXT),
            optional("port", Kind::Int(0, 65535)),
        ],
        Access::Nobody,
        |call| Box::pin(login::login(call)),
    ),
    route(Method::DELETE, "access/ticket", NOTHING, Access::Nobody, |call| Box::pin(login::logout(call))),
    route(Method::GET, "status/datastore-usage", NOTHING, Access::Anyone, |call| Box::pin(datastores::usage(call))),
    route(Method::GET, "admin/datastore", NOTHING, Access::Anyone, |call| Box::pin(datastores::list(call))),
    route(
        Method::GET,
        "admin/datastore/{store}/status",
        &[STORE, optional("verbose", Kind::Bool)],
        Access::Anyone,
        |call| Box::pin(status::status(call)),
    ),
    route(Method::GET, "admin/datastore/{store}/gc", &[STORE], Access::Store(AUDIT), |call| {
        Box::pin(status::garbage_collection(call))
    }),
    route(Method::GET, "admin/datastore/{store}/active-operations", &[STORE], Access::Store(AUDIT), |call| {
        Box::pin(status::active_operations(call))
    }),
    route(Method::GET, "admin/datastore/{store}/groups", &[STORE, NS], content(AUDIT, BACKUP), |call| {
        Box::pin(groups::list(call))
    }),
    route(
        Method::DELETE,
        "admin/datastore/{store}/groups",
        &[STORE, NS, TYPE, ID, optional("error-on-protected", Kind::Bool)],
        content(MODIFY, PRUNE),
        |call| Box::pin(groups::remove(call)),
    ),
    route(
        Method::GET,
        "admin/datastore/{store}/snapshots",
        &[STORE, NS, optional("backup-type", TEXT), optional("backup-id", TEXT)],
        content(AUDIT, BACKUP),
        |call| Box::pin(snapshots::list(call)),
    ),
    route(Method::DELETE, "admin/datastore/{store}/snapshots", SNAPSHOT, content(MODIFY, PRUNE), |call| {
        Box::pin(snapshots::remove(call))
    }),
    route(Method::GET, "admin/datastore/{store}/files", SNAPSHOT, content(AUDIT.union(READ), BACKUP), |call| {
        Box::pin(snapshots::files(call))
    }),
    route(
        Method::GET,
        "admin/datastore/{store}/namespace",
        &[STORE, optional("parent", TEXT), optional("max-depth", Kind::Int(0, 7))],
        Access::Anyone,
        |call| Box::pin(namespaces::list(call)),
    ),
    route(
        Method::GET,
        "admin/datastore/{store}/listing-fingerprint",
        &[STORE, NS, optional("max-depth", Kind::Int(0, 7))],
        Access::Anyone,
        |call| Box::pin(fingerprint::fingerprint(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/known-chunks",
        &[STORE, required("digest-list", Kind::Texts)],
        Access::Anyone,
        |call| Box::pin(known_chunks::known_chunks(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/namespace",
        &[STORE, required("name", Kind::Text(32)), optional("parent", TEXT)],
        Access::Anyone,
        |call| Box::pin(namespaces::create(call)),
    ),
    route(
        Method::DELETE,
        "admin/datastore/{store}/namespace",
        &[
            STORE,
            required("ns", TEXT),
            optional("delete-groups", Kind::Bool),
            optional("error-on-protected", Kind::Bool),
        ],
        Access::Anyone,
        |call| Box::pin(namespaces::remove(call)),
    ),
    route(Method::GET, "admin/datastore/{store}/notes", SNAPSHOT, content(AUDIT, BACKUP), |call| {
        Box::pin(notes::snapshot_notes(call))
    }),
    route(
        Method::PUT,
        "admin/datastore/{store}/notes",
        &[STORE, NS, TYPE, ID, TIME, NOTES],
        content(MODIFY, BACKUP),
        |call| Box::pin(notes::set_snapshot_notes(call)),
    ),
    route(Method::GET, "admin/datastore/{store}/group-notes", GROUP, content(AUDIT, BACKUP), |call| {
        Box::pin(notes::group_notes(call))
    }),
    route(
        Method::PUT,
        "admin/datastore/{store}/group-notes",
        &[STORE, NS, TYPE, ID, NOTES],
        content(MODIFY, BACKUP),
        |call| Box::pin(notes::set_group_notes(call)),
    ),
    route(Method::GET, "admin/datastore/{store}/protected", SNAPSHOT, content(AUDIT, BACKUP), |call| {
        Box::pin(protection::get(call))
    }),
    route(
        Method::PUT,
        "admin/datastore/{store}/protected",
        &[STORE, NS, TYPE, ID, TIME, required("protected", Kind::Bool)],
        content(MODIFY, BACKUP),
        |call| Box::pin(protection::set(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/change-owner",
        &[STORE, NS, TYPE, ID, required("new-owner", TEXT)],
        content(MODIFY, BACKUP),
        |call| Box::pin(owner::change(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/prune",
        &[
            STORE,
            NS,
            TYPE,
            ID,
            optional("keep-last", KEEP),
            optional("keep-hourly", KEEP),
            optional("keep-daily", KEEP),
            optional("keep-weekly", KEEP),
            optional("keep-monthly", KEEP),
            optional("keep-yearly", KEEP),
            optional("dry-run", Kind::Bool),
            optional("use-task", Kind::Bool),
        ],
        content(MODIFY, PRUNE),
        |call| Box::pin(prune::prune(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/prune-datastore",
        &[
            STORE,
            NS,
            optional("max-depth", Kind::Int(0, 7)),
            optional("keep-last", KEEP),
            optional("keep-hourly", KEEP),
            optional("keep-daily", KEEP),
            optional("keep-weekly", KEEP),
            optional("keep-monthly", KEEP),
            optional("keep-yearly", KEEP),
            optional("dry-run", Kind::Bool),
        ],
        content(MODIFY, PRUNE),
        |call| Box::pin(prune::prune_datastore(call)),
    ),
    route(
        Method::POST,
        "admin/datastore/{store}/verify",
        &[
            STORE,
            NS,
            optional("backup-type", TEXT),
            optional("backup-id", TEXT),
            optional("backup-time", Kind::Int(1, i64::MAX)),
            optional("max-depth", Kind::Int(0, 7)),
            optional("ignore-verified", Kind::Bool),
            optional("outdated-after", Kind::Int(0, i64::MAX)),
            optional("read-threads", THREADS),
            optional("verify-threads", THREADS),
        ],
        content(VERIFY, BACKUP),
        |call| Box::pin(verify::verify(call)),
    ),
    raw(Method::GET, "admin/datastore/{store}/download", FILE, content(READ, BACKUP), |call| {
        Box::pin(downloads::download(call))
    }),
    raw(Method::GET, "admin/datastore/{store}/download-decoded", FILE, content(READ, BACKUP), |call| {
        Box::pin(downloads::download_decoded(call))
    }),
    raw(Method::POST, "admin/datastore/{store}/upload-backup-log", SNAPSHOT, content(NONE, BACKUP), |call| {
        Box::pin(downloads::upload_log(call))
    }),
    raw(
        Method::GET,
        "backup",
        &[
            STORE,
            NS,
            TYPE,
            ID,
            TIME,
            optional("debug", Kind::Bool),
            optional("benchmark", Kind::Bool),
            optional("no-cache", Kind::Bool),
        ],
        Access::Anyone,
        |call| Box::pin(writer::open::open(call)),
    ),
    raw(Method::GET, "reader", &[STORE, NS, TYPE, ID, TIME, optional("debug", Kind::Bool)], Access::Anyone, |call| {
        Box::pin(reader::open(call))
    }),
];
