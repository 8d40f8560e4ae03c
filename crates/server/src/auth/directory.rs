//! Users, tokens and privileges, from the configuration files and never older than they are.

use std::sync::Arc;

use api_types::PermissionMap;
use config::acl::{AclPath, Privileges};
use config::{AccessCache, AccessControl, Paths};
use formats::{AuthId, Namespace, RemoteName, StoreName, UserId};

use crate::http::error::ApiError;

/// Users, tokens and privileges.
pub(crate) struct Directory {
    paths: Paths,
    cache: AccessCache,
}

/// Users, tokens and privileges at one moment.
#[derive(Clone)]
pub(crate) struct Rights(Arc<AccessControl>);

impl Directory {
    /// What is configured below `paths`.
    pub(crate) fn new(paths: Paths) -> Self {
        Self { cache: AccessCache::new(paths.clone()), paths }
    }

    /// The present state.
    pub(crate) fn rights(&self) -> Rights {
        Rights(self.cache.current())
    }

    /// Whether that is the user's password. Slow on purpose.
    pub(crate) fn verify_password(&self, user: &UserId, password: &str) -> Result<bool, ApiError> {
        config::users::verify_password(&self.paths, user, password)
            .map_err(|error| ApiError::internal(format!("cannot check a password: {error}")))
    }

    /// Whether that is the token's secret.
    pub(crate) fn verify_token(&self, id: &AuthId, secret: &str) -> Result<bool, ApiError> {
        config::users::verify_token(&self.paths, id, secret)
            .map_err(|error| ApiError::internal(format!("cannot check a token: {error}")))
    }
}

impl Rights {
    /// What an identity may do on a datastore or a namespace in it.
    pub(crate) fn on_datastore(&self, id: &AuthId, store: &StoreName, ns: &Namespace) -> Privileges {
        self.0.privileges(id, &AclPath::datastore(store, ns))
    }

    /// Whether an identity has any of these privileges on a datastore or anywhere in it.
    pub(crate) fn anywhere_in(&self, id: &AuthId, store: &StoreName, ns: &Namespace, any: Privileges) -> bool {
        self.0.has_any_below(id, &AclPath::datastore(store, ns), any)
    }

    /// What an identity may do with a remote.
    pub(crate) fn on_remote(&self, id: &AuthId, remote: &RemoteName) -> Privileges {
        self.0.privileges(id, &AclPath::remote(remote))
    }

    /// What an identity may do with a datastore or namespace of a remote.
    pub(crate) fn on_remote_store(
        &self,
        id: &AuthId,
        remote: &RemoteName,
        store: &StoreName,
        ns: &Namespace,
    ) -> Privileges {
        self.0.privileges(id, &AclPath::remote_store(remote, store, ns))
    }

    /// What an identity may do with the tasks of others.
    pub(crate) fn on_tasks(&self, id: &AuthId) -> Privileges {
        self.0.privileges(id, &AclPath::of(["system", "tasks"]))
    }

    /// Whether an identity may see the permissions of others.
    pub(crate) fn may_audit_access(&self, id: &AuthId) -> bool {
        self.0.privileges(id, &AclPath::of(["access"])).intersects(Privileges::SYS_AUDIT)
    }

    /// Whether an identity exists, is enabled and has not expired; for a token, its user too.
    pub(crate) fn is_active(&self, id: &AuthId, now: i64) -> bool {
        self.0.is_active(id, now)
    }

    /// What an identity may do, by path, with the mark whether it reaches below the path.
    pub(crate) fn permissions(&self, id: &AuthId, only: Option<&AclPath>) -> PermissionMap {
        let entries = match only {
            None => self.0.permissions(id),
            Some(path) => {
                let (all, propagated) = self.0.privileges_and_propagated(id, path);
                vec![(path.clone(), all, propagated)]
            }
        };
        entries
            .into_iter()
            .filter(|(_, all, _)| !all.is_empty())
            .map(|(path, all, propagated)| {
                let reaches: Vec<&str> = propagated.names().collect();
                (path.to_string(), all.names().map(|name| (name.to_owned(), reaches.contains(&name))).collect())
            })
            .collect()
    }
}
