use std::collections::BTreeMap;

use formats::UserId;
use serde::{Deserialize, Serialize};

/// Body of `POST /access/ticket`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Login {
    /// Who logs in; never a token.
    pub username: UserId,
    /// The password, or a ticket that is still valid (renewal).
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Answer of `POST /access/ticket` in the classic flow; peers require all three.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Who logged in.
    pub username: UserId,
    /// Sent back as cookie. Opaque to clients.
    pub ticket: String,
    /// Sent back as header with every changing request.
    #[serde(rename = "CSRFPreventionToken")]
    pub csrf_token: String,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("username", &self.username).finish_non_exhaustive()
    }
}

/// One realm of `GET /access/domains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Realm name, the part of a user id behind the last `@`.
    pub realm: String,
    /// `pam`, `pbs`, `openid`, `ldap` or `ad`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is preselected in login forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Answer of `GET /access/permissions`: per path, each privilege held and whether it propagates.
pub type PermissionMap = BTreeMap<String, BTreeMap<String, bool>>;
