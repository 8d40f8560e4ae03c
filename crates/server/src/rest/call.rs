//! One REST call, after parameters and privileges were checked.

use std::sync::Arc;

use config::acl::Privileges;
use datastore::Datastore;
use formats::{AuthId, GroupId, Namespace, StoreName};
use http::HeaderMap;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::access::{Access, Scope};
use crate::auth::directory::Rights;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::state::State;
use crate::stores::Purpose;

/// One REST call.
pub(crate) struct Call {
    /// What all connections share.
    pub(crate) state: Arc<State>,
    /// Checked parameters, path variables included.
    pub(crate) params: Params,
    /// Request headers.
    pub(crate) headers: HeaderMap,
    /// The body of calls that read it themselves.
    pub(crate) body: Option<Incoming>,
    /// The connection of calls that take it over.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// How far the caller's privileges reach.
    pub(crate) scope: Scope,
    identity: Option<AuthId>,
    rights: Rights,
}

impl Call {
    /// Checks what the route asks of the caller. Privileges come before existence, so that names do not leak.
    pub(crate) fn new(
        state: Arc<State>,
        identity: Option<AuthId>,
        params: Params,
        headers: HeaderMap,
        body: Option<Incoming>,
        upgrade: Option<OnUpgrade>,
        access: Access,
    ) -> Result<Self, ApiError> {
        let rights = state.directory.rights();
        let mut call = Self { state, params, headers, body, upgrade, scope: Scope::Full, identity, rights };
        match access {
            Access::Nobody | Access::Anyone => {}
            Access::Superuser => {
                if !call.identity.as_ref().is_some_and(AuthId::is_root) {
                    return Err(ApiError::forbidden_by_route());
                }
            }
            Access::Store(privileges) => {
                let store: StoreName = call.params.parse("store")?;
                if !call.privileges(&store, &Namespace::root()).intersects(privileges) {
                    return Err(ApiError::forbidden_by_route());
                }
            }
            Access::Content { full, limited } => {
                let (store, ns) = (call.params.parse("store")?, call.params.namespace("ns")?);
                call.scope = call.scope_on(&store, &ns, full, limited)?;
            }
        }
        Ok(call)
    }

    /// Who calls.
    ///
    /// # Errors
    /// 401 on routes without authentication.
    pub(crate) fn identity(&self) -> Result<&AuthId, ApiError> {
        self.identity.as_ref().ok_or_else(ApiError::unauthenticated)
    }

    /// What the caller may do on a datastore or namespace.
    pub(crate) fn privileges(&self, store: &StoreName, ns: &Namespace) -> Privileges {
        self.identity.as_ref().map_or(Privileges::NONE, |id| self.rights.on_datastore(id, store, ns))
    }

    /// Whether the caller has any privilege on the content of a namespace or of those below it.
    pub(crate) fn sees_anything_in(&self, store: &StoreName, ns: &Namespace) -> bool {
        let any = Privileges::DATASTORE_ANY;
        self.identity.as_ref().is_some_and(|id| self.rights.anywhere_in(id, store, ns, any))
    }

    /// Users, tokens and privileges as of this call.
    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Finds how far the caller's privileges reach.
    ///
    /// # Errors
    /// 403 naming what is missing.
    pub(crate) fn scope_on(
        &self,
        store: &StoreName,
        ns: &Namespace,
        full: Privileges,
        limited: Privileges,
    ) -> Result<Scope, ApiError> {
        let held = self.privileges(store, ns);
        if held.intersects(full) {
            return Ok(Scope::Full);
        }
        if held.intersects(limited) {
            return Ok(Scope::Owned);
        }
        Err(missing(full | limited, store, ns))
    }

    /// Asks for any of these privileges.
    ///
    /// # Errors
    /// 403 naming what is missing.
    pub(crate) fn require(&self, store: &StoreName, ns: &Namespace, any: Privileges) -> Result<(), ApiError> {
        if self.privileges(store, ns).intersects(any) { Ok(()) } else { Err(missing(any, store, ns)) }
    }

    /// Opens the datastore the call names.
    ///
    /// # Errors
    /// 400 when there is none, or it is in maintenance.
    pub(crate) fn datastore(&self, purpose: Purpose) -> Result<Datastore, ApiError> {
        self.state.stores.open(&self.params.parse("store")?, purpose)
    }

    /// The namespace the call names.
    pub(crate) fn namespace(&self) -> Result<Namespace, ApiError> {
        self.params.namespace("ns")
    }

    /// The guard that later checks groups against their owner, where the caller has only the lesser privilege.
    pub(crate) fn owner_check(&self) -> Result<OwnerCheck, ApiError> {
        let only = (self.scope == Scope::Owned).then(|| self.identity().cloned()).transpose()?;
        Ok(OwnerCheck { only })
    }
}

fn missing(privileges: Privileges, store: &StoreName, ns: &Namespace) -> ApiError {
    let mut path = format!("/datastore/{store}");
    for component in ns.components() {
        path.push('/');
        path.push_str(component);
    }
    let names = privileges.names().collect::<Vec<_>>().join("|");
    ApiError::forbidden(format!("permission check failed - missing {names} on {path}"))
}

/// Checks the owner of groups for callers with only the lesser privilege.
#[derive(Debug, Clone)]
pub(crate) struct OwnerCheck {
    only: Option<AuthId>,
}

impl OwnerCheck {
    /// No check.
    pub(crate) fn none() -> Self {
        Self { only: None }
    }

    /// A check against that caller, whatever its privileges.
    pub(crate) fn always(caller: &AuthId) -> Self {
        Self { only: Some(caller.clone()) }
    }

    /// Whether the caller may go on with a group of that owner.
    pub(crate) fn passes(&self, owner: &AuthId) -> bool {
        self.only.as_ref().is_none_or(|caller| caller.owns(owner))
    }

    /// Reads the owner of a group and checks it; needs no owner file when the caller has the full privilege.
    ///
    /// # Errors
    /// 400 when the owner differs or there is none.
    pub(crate) fn check(&self, store: &Datastore, ns: &Namespace, group: &GroupId) -> Result<(), ApiError> {
        let Some(caller) = &self.only else { return Ok(()) };
        let owner = store.owner(ns, group)?;
        if caller.owns(&owner) {
            return Ok(());
        }
        Err(ApiError::bad_request(format!("backup owner check failed ({caller} is not the owner {owner})")))
    }
}

impl From<datastore::DatastoreError> for ApiError {
    /// 400 with the whole chain of causes. What is missing carries the words that peers look for.
    fn from(error: datastore::DatastoreError) -> Self {
        const MISSING: &str = "ENOENT: No such file or directory";
        let mut text = error.chain();
        if error.is_not_found() && !text.contains("ENOENT") {
            text.push_str(&format!(" - {MISSING}"));
        }
        Self::bad_request(text)
    }
}
