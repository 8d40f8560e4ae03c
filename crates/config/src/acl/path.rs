//! Places that permissions are given on.

use std::{fmt, str::FromStr};

use formats::{Namespace, RemoteName, StoreName, is_safe_id};

/// A path such as `/datastore/main/team/a`.
///
/// Parsing accepts only the shapes that mean something; the constructors make paths to ask about, which may be longer
/// than those that permissions can be given on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclPath(pub(super) Vec<String>);

/// A text that is no path permissions can be given on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no permission path: {rule}")]
pub struct BadAclPath {
    text: String,
    rule: &'static str,
}

/// Longest path, in characters.
const MAX_LENGTH: usize = 128;
/// Deepest namespace.
const MAX_NAMESPACE: usize = 7;

impl AclPath {
    /// `/`.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// `/datastore`.
    pub fn datastores() -> Self {
        Self::of(["datastore"])
    }

    /// `/datastore/STORE/NAMESPACE...`.
    pub fn datastore(store: &StoreName, ns: &Namespace) -> Self {
        Self::of(["datastore", store.as_str()].into_iter().chain(ns.components()))
    }

    /// `/remote`.
    pub fn remotes() -> Self {
        Self::of(["remote"])
    }

    /// `/remote/REMOTE`.
    pub fn remote(remote: &RemoteName) -> Self {
        Self::of(["remote", remote.as_str()])
    }

    /// `/remote/REMOTE/STORE/NAMESPACE...`.
    pub fn remote_store(remote: &RemoteName, store: &StoreName, ns: &Namespace) -> Self {
        Self::of(["remote", remote.as_str(), store.as_str()].into_iter().chain(ns.components()))
    }

    /// A path of fixed parts, such as `["system", "tasks"]`.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().map(str::to_owned).collect())
    }

    /// Its parts, from the root.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Says whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Reads a path of any shape, as a file may have it.
    pub(super) fn lenient(text: &str) -> Result<Self, BadAclPath> {
        let bad = |rule| BadAclPath { text: text.chars().take(MAX_LENGTH).collect(), rule };
        if !text.starts_with('/') {
            return Err(bad("it must start with `/`"));
        }
        if text.contains(char::is_control) {
            return Err(bad("it must not have control characters"));
        }
        Ok(Self(text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()))
    }

    fn has_known_shape(&self) -> bool {
        let parts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let (Some(first), rest) = (parts.first(), parts.get(1..).unwrap_or_default()) else { return true };
        let id = |text: &str| is_safe_id(text);
        match (*first, rest) {
            (_, []) => matches!(*first, "access" | "datastore" | "remote" | "system" | "tape"),
            ("access", ["acl" | "users" | "domains" | "openid"]) => true,
            ("access", ["openid", endpoint]) => matches!(*endpoint, "ep" | "endpoint"),
            ("datastore", [store, ns @ ..]) => {
                store.parse::<StoreName>().is_ok() && ns.len() <= MAX_NAMESPACE && ns.iter().all(|part| id(part))
            }
            ("remote", [remote]) => remote.parse::<RemoteName>().is_ok(),
            ("remote", [remote, store, ns @ ..]) => {
                remote.parse::<RemoteName>().is_ok()
                    && store.parse::<StoreName>().is_ok()
                    && ns.len() <= MAX_NAMESPACE
                    && ns.iter().all(|part| id(part))
            }
            ("system", [part]) => matches!(
                *part,
                "status"
                    | "tasks"
                    | "log"
                    | "time"
                    | "disks"
                    | "certificates"
                    | "notifications"
                    | "services"
                    | "network"
                    | "s3-endpoint"
                    | "encryption-keys"
            ),
            ("system", ["services" | "s3-endpoint" | "encryption-keys", name]) => id(name),
            ("system", ["network", "dns" | "interfaces"]) => true,
            ("system", ["network", "interfaces", name]) => id(name),
            ("tape", ["device" | "pool" | "job"]) => true,
            ("tape", ["device" | "pool" | "job", name]) => id(name),
            _ => false,
        }
    }
}

impl FromStr for AclPath {
    type Err = BadAclPath;

    fn from_str(text: &str) -> Result<Self, BadAclPath> {
        let bad = |rule| Err(BadAclPath { text: text.chars().take(MAX_LENGTH).collect(), rule });
        if text.chars().count() > MAX_LENGTH {
            return bad("it has more than 128 characters");
        }
        let path = Self::lenient(text)?;
        if !path.has_known_shape() {
            return bad("use /, /datastore/STORE/NAMESPACE, /remote/REMOTE/STORE/NAMESPACE, /access, /system or /tape");
        }
        Ok(path)
    }
}

impl fmt::Display for AclPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("/{}", self.0.join("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_mean_something_can_be_given_permissions() {
        for good in [
            "/",
            "/access",
            "/access/acl",
            "/access/openid/endpoint",
            "/datastore",
            "/datastore/main",
            "/datastore/main/a/b/c/d/e/f/g",
            "/remote",
            "/remote/office",
            "/remote/office/main",
            "/remote/office/main/a/b",
            "/system",
            "/system/status",
            "/system/network/interfaces/eth0",
            "/system/encryption-keys/key1",
            "/tape/pool/p1",
        ] {
            assert_eq!(good.parse::<AclPath>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "datastore",
            "/datastores",
            "/datastore/x",
            "/datastore/main/..",
            "/datastore/main/a/b/c/d/e/f/g/h",
            "/remote/office/x",
            "/access/other",
            "/system/other",
            "/system/status/x",
            "/tape/x",
            "/datastore/main/a:b",
            &format!("/datastore/main/{}", "a".repeat(128)),
        ] {
            assert!(bad.parse::<AclPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn superfluous_slashes_do_not_matter() {
        assert_eq!("//datastore//main/".parse::<AclPath>().unwrap().to_string(), "/datastore/main");
    }

    #[test]
    fn a_path_contains_what_lies_below_it() {
        let path = |text: &str| text.parse::<AclPath>().unwrap();

        assert!(path("/datastore/main").contains(&path("/datastore/main/a")));
        assert!(path("/").contains(&path("/remote")));
        assert!(!path("/datastore/main").contains(&path("/datastore/main2")));
    }
}
