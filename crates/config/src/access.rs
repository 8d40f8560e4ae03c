//! Users and permissions together: what an identity may do.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use formats::{AuthId, UserId};

use crate::{
    acl::{self, Acl, AclPath, Privileges},
    error::Result,
    files::ConfigDigest,
    paths::Paths,
    users::{self, Users},
};

/// A snapshot of users and permissions.
#[derive(Clone, Debug)]
pub struct AccessControl {
    /// The users and tokens.
    pub users: Users,
    /// The permissions.
    pub acl: Acl,
}

impl AccessControl {
    /// Loads both files.
    ///
    /// # Errors
    /// A file cannot be read, or `acl.cfg` has a wrong line.
    pub fn load(paths: &Paths) -> Result<Self> {
        Ok(Self { users: users::load(paths)?, acl: acl::load(paths)?.0 })
    }

    /// Knows nobody but the superuser, who can repair the files.
    pub fn superuser_only() -> Self {
        let users = Users {
            users: vec![users::UserConfig::new(crate::sync_jobs::root_user())],
            tokens: Vec::new(),
            digest: ConfigDigest::of(b""),
            problems: Vec::new(),
        };
        Self { users, acl: Acl::default() }
    }

    /// Says whether a user, or a token and its user, exist and are enabled and not expired at `now` (epoch seconds).
    pub fn is_active(&self, auth_id: &AuthId, now: i64) -> bool {
        self.users.is_active(auth_id, now)
    }

    /// What this identity may do on this path. It does not ask whether the identity is active.
    ///
    /// The superuser may do everything. A token may do what its own permissions say and its user may do, too; without
    /// permissions of its own it may do nothing.
    pub fn privileges(&self, auth_id: &AuthId, path: &AclPath) -> Privileges {
        self.effective(auth_id, path.parts()).0
    }

    /// As [`privileges`](Self::privileges), and those among them that reach below the path.
    pub fn privileges_and_propagated(&self, auth_id: &AuthId, path: &AclPath) -> (Privileges, Privileges) {
        self.effective(auth_id, path.parts())
    }

    fn effective(&self, auth_id: &AuthId, path: &[String]) -> (Privileges, Privileges) {
        if auth_id.is_root() {
            return (Privileges::ALL, Privileges::ALL);
        }
        let own = self.acl.own_privileges(auth_id, path);
        if !auth_id.is_token() {
            return own;
        }
        let of_user = self.effective(&AuthId::from(UserId::clone(auth_id.user())), path);
        (own.0 & of_user.0, own.1 & of_user.1)
    }

    /// Says whether any privilege of `wanted` is held on the path or anywhere below it.
    pub fn has_any_below(&self, auth_id: &AuthId, path: &AclPath, wanted: Privileges) -> bool {
        self.privileges(auth_id, path).intersects(wanted)
            || self
                .acl
                .paths()
                .filter(|below| path.contains(below))
                .any(|below| self.privileges(auth_id, &below).intersects(wanted))
    }

    /// Every path with an entry, and the main branches, with what this identity may do there; paths where that is
    /// nothing are left out.
    pub fn permissions(&self, auth_id: &AuthId) -> Vec<(AclPath, Privileges, Privileges)> {
        let branches = ["access", "datastore", "remote", "system", "tape"].map(|branch| AclPath::of([branch]));
        let mut paths: Vec<AclPath> = self.acl.paths().chain(branches).chain([AclPath::root()]).collect();
        paths.sort();
        paths.dedup();
        paths
            .into_iter()
            .map(|path| {
                let (all, propagated) = self.privileges_and_propagated(auth_id, &path);
                (path, all, propagated)
            })
            .filter(|(_, all, _)| !all.is_empty())
            .collect()
    }
}

/// Hands out [`AccessControl`] on a busy path: the files are read again only when they were replaced.
///
/// While a file is broken the last good state holds, so that neither a lost line opens a door nor a typing error
/// locks everybody out. Before there ever was a good one, only the superuser is known.
#[derive(Debug)]
pub struct AccessCache {
    paths: Paths,
    state: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    stamps: [Option<Stamp>; 2],
    access: Arc<AccessControl>,
}

/// Inode, size and times of a file: every replacement changes one of them.
type Stamp = (u64, u64, i64, i64, i64, i64);

impl AccessCache {
    /// Reads nothing yet.
    pub fn new(paths: Paths) -> Self {
        Self { paths, state: Mutex::new(None) }
    }

    /// The present users and permissions. Costs two `stat` calls when nothing changed.
    pub fn current(&self) -> Arc<AccessControl> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Stamps first: a change while reading is seen by the next call.
        let stamps = [stamp(&self.paths.user_cfg()), stamp(&self.paths.acl_cfg())];
        if let Some(cached) = state.as_ref().filter(|cached| cached.stamps == stamps) {
            return Arc::clone(&cached.access);
        }
        let access = match AccessControl::load(&self.paths) {
            Ok(access) => Arc::new(access),
            Err(error) => {
                tracing::error!("{error}; the last good users and permissions stay in force");
                match state.as_ref() {
                    Some(cached) => Arc::clone(&cached.access),
                    None => Arc::new(AccessControl::superuser_only()),
                }
            }
        };
        *state = Some(Cached { stamps, access: Arc::clone(&access) });
        access
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}
