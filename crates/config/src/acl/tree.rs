//! The permission tree: `acl.cfg` parsed, evaluated and written.
//!
//! One entry per line, five fields joined by colons: `acl:PROPAGATE:PATH:IDENTITIES:ROLES`, the last two lists joined
//! by commas. On the way from `/` down to a path, whatever a node says about an identity replaces what was inherited;
//! above the path itself only propagating entries say anything.

use std::collections::{BTreeMap, BTreeSet};

use formats::{AuthId, UserId};

use super::{
    path::AclPath,
    privileges::{Privileges, Role},
};

/// What stands on one path for one identity: roles, each propagating or not.
type Roles = BTreeMap<Role, bool>;

/// All permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    nodes: BTreeMap<Vec<String>, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    users: BTreeMap<AuthId, Roles>,
    /// Kept for the file's sake; groups have no members.
    groups: BTreeMap<String, Roles>,
}

/// One permission, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Where.
    pub path: AclPath,
    /// Who: an authentication id, or a group's name.
    pub ugid: String,
    /// Whether `ugid` is a group.
    pub is_group: bool,
    /// Whether it reaches below the path.
    pub propagate: bool,
    /// What.
    pub role: Role,
}

/// A line that is no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct AclError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl Acl {
    /// Parses a file. Unlike section files it is taken as a whole or not at all: a line that is left out might be the
    /// one that forbids.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, AclError> {
        let mut acl = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                acl.parse_line(line).map_err(|reason| AclError { line: index + 1, reason })?;
            }
        }
        Ok(acl)
    }

    fn parse_line(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split(':').collect();
        let ["acl", propagate, path, identities, roles] = fields[..] else {
            return Err("expected acl:PROPAGATE:PATH:IDENTITIES:ROLES".to_owned());
        };
        let propagate = match propagate {
            "0" => false,
            "1" => true,
            other => return Err(format!("propagate is 0 or 1, not `{}`", other.escape_debug())),
        };
        let path = AclPath::lenient(path).map_err(|error| error.to_string())?;
        let roles: Vec<Role> = list(roles).map(str::parse).collect::<Result<_, _>>().map_err(|e| format!("{e}"))?;
        for identity in list(identities) {
            if let Some(group) = identity.strip_prefix('@') {
                if !formats::is_safe_id(group) {
                    return Err(format!("`{}` is no group", identity.escape_debug()));
                }
                let node = self.nodes.entry(path.0.clone()).or_default();
                roles
                    .iter()
                    .for_each(|&role| insert(node.groups.entry(group.to_owned()).or_default(), role, propagate));
            } else {
                let auth_id: AuthId = identity.parse().map_err(|error| format!("{error}"))?;
                roles.iter().for_each(|&role| self.grant(&path, &auth_id, role, propagate));
            }
        }
        Ok(())
    }

    /// Gives a role. `NoAccess` displaces the others of that identity on that path, and is displaced by them.
    pub fn grant(&mut self, path: &AclPath, auth_id: &AuthId, role: Role, propagate: bool) {
        let node = self.nodes.entry(path.0.clone()).or_default();
        insert(node.users.entry(auth_id.clone()).or_default(), role, propagate);
    }

    /// Takes a role back; says whether it was there.
    pub fn revoke(&mut self, path: &AclPath, auth_id: &AuthId, role: Role) -> bool {
        let Some(node) = self.nodes.get_mut(&path.0) else { return false };
        let found = node.users.get_mut(auth_id).is_some_and(|roles| roles.remove(&role).is_some());
        self.tidy();
        found
    }

    /// Removes every permission of one identity.
    pub fn remove_auth_id(&mut self, auth_id: &AuthId) {
        self.nodes.values_mut().for_each(|node| drop(node.users.remove(auth_id)));
        self.tidy();
    }

    /// Removes every permission of a user and of its tokens.
    pub fn remove_user(&mut self, user: &UserId) {
        self.nodes.values_mut().for_each(|node| node.users.retain(|auth_id, _| auth_id.user() != user));
        self.tidy();
    }

    fn tidy(&mut self) {
        self.nodes.values_mut().for_each(|node| node.users.retain(|_, roles| !roles.is_empty()));
        self.nodes.retain(|_, node| !node.users.is_empty() || !node.groups.is_empty());
    }

    /// Roles in force for exactly this identity (no superuser, no token rule).
    fn roles(&self, auth_id: &AuthId, path: &[String]) -> Roles {
        let mut inherited = Roles::new();
        for depth in 0..=path.len() {
            let Some(own) = self.nodes.get(&path[..depth]).and_then(|node| node.users.get(auth_id)) else { continue };
            let is_target = depth == path.len();
            let counting: Roles =
                own.iter().filter(|(_, propagate)| is_target || **propagate).map(|(r, p)| (*r, *p)).collect();
            if !counting.is_empty() {
                inherited = counting;
            }
        }
        inherited
    }

    /// Privileges by the identity's own entries, and those among them that reach further down.
    pub(crate) fn own_privileges(&self, auth_id: &AuthId, path: &[String]) -> (Privileges, Privileges) {
        self.roles(auth_id, path).into_iter().fold(
            (Privileges::NONE, Privileges::NONE),
            |(all, down), (role, propagate)| {
                let privileges = role.privileges();
                (all | privileges, if propagate { down | privileges } else { down })
            },
        )
    }

    /// Every path that has an entry, in tree order.
    pub fn paths(&self) -> impl Iterator<Item = AclPath> {
        self.nodes.keys().cloned().map(AclPath)
    }

    /// Every permission, in tree order.
    pub fn entries(&self) -> Vec<AclEntry> {
        let mut entries = Vec::new();
        for (path, node) in &self.nodes {
            let users = node.users.iter().map(|(auth_id, roles)| (auth_id.to_string(), false, roles));
            let groups = node.groups.iter().map(|(group, roles)| (group.clone(), true, roles));
            for (ugid, is_group, roles) in users.chain(groups) {
                entries.extend(roles.iter().map(|(&role, &propagate)| AclEntry {
                    path: AclPath(path.clone()),
                    ugid: ugid.clone(),
                    is_group,
                    propagate,
                    role,
                }));
            }
        }
        entries
    }

    /// The file's text: tree order, non-propagating lines first, identities with equal roles on one line. What stands
    /// for the superuser is left out.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (path, node) in &self.nodes {
            for propagate in [false, true] {
                let mut lines: BTreeMap<Vec<&str>, BTreeSet<String>> = BTreeMap::new();
                let users = node.users.iter().filter(|(auth_id, _)| !auth_id.is_root());
                let named = users.map(|(auth_id, roles)| (auth_id.to_string(), roles));
                let groups = node.groups.iter().map(|(group, roles)| (format!("@{group}"), roles));
                for (name, roles) in named.chain(groups) {
                    let roles: Vec<&str> =
                        roles.iter().filter(|(_, p)| **p == propagate).map(|(role, _)| role.name()).collect();
                    if !roles.is_empty() {
                        lines.entry(roles).or_default().insert(name);
                    }
                }
                for (roles, names) in lines {
                    let names = names.into_iter().collect::<Vec<_>>().join(",");
                    let path = AclPath(path.clone());
                    text.push_str(&format!("acl:{}:{path}:{names}:{}\n", u8::from(propagate), roles.join(",")));
                }
            }
        }
        text
    }
}

fn insert(roles: &mut Roles, role: Role, propagate: bool) {
    if role == Role::NoAccess {
        roles.clear();
    } else {
        roles.remove(&Role::NoAccess);
    }
    roles.insert(role, propagate);
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}
