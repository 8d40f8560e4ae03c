//! Who may do what where: `acl.cfg`.

mod path;
mod privileges;
mod tree;

use formats::{AuthId, UserId};

pub use self::{
    path::{AclPath, BadAclPath},
    privileges::{Privileges, Role, UnknownRole},
    tree::{Acl, AclEntry, AclError},
};
use crate::{
    error::{ConfigError, Result},
    files::{self, ConfigDigest, FileLock, MODE_NORMAL},
    paths::Paths,
    users,
};

/// Loads the permissions and the digest of their file.
///
/// # Errors
/// The file cannot be read, or a line is wrong: then nothing of it counts, and the caller keeps what it had.
pub fn load(paths: &Paths) -> Result<(Acl, ConfigDigest)> {
    let bytes = files::read(&paths.acl_cfg())?;
    Ok((parse(paths, &bytes)?, ConfigDigest::of(&bytes)))
}

fn parse(paths: &Paths, bytes: &[u8]) -> Result<Acl> {
    let path = paths.acl_cfg();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        ConfigError::line(&path, line, "not valid UTF-8")
    })?;
    Acl::parse(text).map_err(|error| ConfigError::line(&path, error.line, error.reason))
}

/// A change of one permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclChange {
    /// Where.
    pub path: AclPath,
    /// For whom.
    pub auth_id: AuthId,
    /// Which role.
    pub role: Role,
    /// Give it, reaching below the path or not; or take it back.
    pub action: AclAction,
}

/// What to do with a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAction {
    /// Give it.
    Grant {
        /// Whether it reaches below the path.
        propagate: bool,
    },
    /// Take it back.
    Revoke,
}

/// Gives or takes back a role. `expected` is the digest the caller has seen, if any.
///
/// # Errors
/// The identity does not exist (for giving), it is the superuser, the file is broken or changed.
pub fn update(paths: &Paths, change: &AclChange, expected: Option<&ConfigDigest>) -> Result<()> {
    let AclChange { path, auth_id, role, action } = change;
    if auth_id.is_root() {
        return Err(ConfigError::invalid("auth-id", "the superuser has every privilege; permissions change nothing"));
    }
    if let AclAction::Grant { .. } = action {
        if auth_id.to_string().contains(',') {
            return Err(ConfigError::invalid("auth-id", "a name with a comma has no place in the permission file"));
        }
        let users = users::load(paths)?;
        let exists =
            if auth_id.is_token() { users.token(auth_id).is_some() } else { users.user(auth_id.user()).is_some() };
        if !exists {
            let what = if auth_id.is_token() { "API token" } else { "user" };
            return Err(ConfigError::NotFound { what, id: auth_id.to_string(), path: paths.user_cfg() });
        }
    }
    edit(paths, expected, |acl| match *action {
        AclAction::Grant { propagate } => acl.grant(path, auth_id, *role, propagate),
        AclAction::Revoke => drop(acl.revoke(path, auth_id, *role)),
    })
}

/// Gives many roles at once: path, identity, role, and whether it reaches below the path.
pub(crate) fn grant_all(paths: &Paths, new: &[(AclPath, AuthId, Role, bool)]) -> Result<()> {
    edit(paths, None, |acl| {
        for (path, auth_id, role, propagate) in new.iter().filter(|(_, auth_id, ..)| !auth_id.is_root()) {
            acl.grant(path, auth_id, *role, *propagate);
        }
    })
}

pub(crate) fn remove_user(paths: &Paths, user: &UserId) -> Result<()> {
    edit(paths, None, |acl| acl.remove_user(user))
}

pub(crate) fn remove_auth_id(paths: &Paths, auth_id: &AuthId) -> Result<()> {
    edit(paths, None, |acl| acl.remove_auth_id(auth_id))
}

/// Changes the file under its lock; nothing is written if nothing changes.
fn edit(paths: &Paths, expected: Option<&ConfigDigest>, change: impl FnOnce(&mut Acl)) -> Result<()> {
    let path = paths.acl_cfg();
    let lock = FileLock::take(&path)?;
    let bytes = files::read(&path)?;
    if expected.is_some_and(|expected| *expected != ConfigDigest::of(&bytes)) {
        return Err(ConfigError::DigestMismatch { path });
    }
    let before = parse(paths, &bytes)?;
    let mut after = before.clone();
    change(&mut after);
    if before == after {
        return Ok(());
    }
    lock.replace(after.to_text().as_bytes(), MODE_NORMAL)
}
