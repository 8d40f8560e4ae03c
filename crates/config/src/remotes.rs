//! `remote.cfg`: other servers, and how to log in there.

use std::{fmt, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{AuthId, Fingerprint, RemoteName};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ConfigError, Result},
    files::{ConfigDigest, MODE_SECRET},
    paths::Paths,
    store::{Entry, Loaded, SectionFile, rules},
    sync_jobs,
};

/// Port of a server that names none.
pub const DEFAULT_PORT: u16 = 8007;

/// One remote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RemoteConfig {
    /// Its name.
    pub name: RemoteName,
    /// DNS name or IP address.
    pub host: String,
    /// TCP port, if not [`DEFAULT_PORT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// User or API token there.
    pub auth_id: AuthId,
    /// Password, or secret of the token. Read from the file, never serialised.
    #[serde(skip_serializing)]
    pub password: StoredPassword,
    /// Pins the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Pins the certificate that the server will have after a planned renewal. Goes with `fingerprint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint_next: Option<Fingerprint>,
    /// Go through the proxy of this node instead of that of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_node_proxy: Option<bool>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A password as the file has it: standard base64. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoredPassword(String);

impl StoredPassword {
    /// Takes a plain password of 1 to 1024 characters.
    ///
    /// # Errors
    /// It is too long or short, or has control characters.
    pub fn from_plain(plain: &str) -> Result<Self> {
        rules::text(Some(plain), 1, 1024).map_err(|reason| ConfigError::invalid("password", reason))?;
        Ok(Self(BASE64_STANDARD.encode(plain)))
    }

    /// The plain password.
    ///
    /// # Errors
    /// The file has no valid base64 there.
    pub fn reveal(&self) -> Result<String> {
        BASE64_STANDARD
            .decode(&self.0)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|plain| !plain.is_empty())
            .ok_or_else(|| ConfigError::invalid("password", "is not stored as base64 text; set it again"))
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredPassword(..)")
    }
}

impl RemoteConfig {
    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

impl Entry for RemoteConfig {
    const KIND: &'static str = "remote";
    const ID_KEY: &'static str = "name";
    const WHAT: &'static str = "remote";

    fn id(&self) -> String {
        self.name.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        if !is_host(&self.host) {
            return Err(("host", format!("`{}` is no host name or IP address", self.host.escape_debug())));
        }
        rules::text(self.comment.as_deref(), 0, 128).map_err(|reason| ("comment", reason))
    }

    fn check(&self) -> Result<()> {
        match (&self.fingerprint, &self.fingerprint_next) {
            (None, Some(_)) => Err(ConfigError::invalid(
                "fingerprint-next",
                "goes with `fingerprint`, the certificate of today; set that, or unset this",
            )),
            (Some(now), Some(next)) if now == next => Err(ConfigError::invalid(
                "fingerprint-next",
                "is the same as `fingerprint`; unset it, the renewal is done",
            )),
            _ => Ok(()),
        }
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        vec![("password", self.password.0.clone())]
    }

    fn store_form(key: &str, value: &str) -> Result<String> {
        if key == "password" { Ok(StoredPassword::from_plain(value)?.0) } else { Ok(value.to_owned()) }
    }
}

/// A DNS name (labels of letters, digits and inner hyphens), IPv4 or plain IPv6.
pub(crate) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

pub(crate) fn file(paths: &Paths) -> SectionFile {
    SectionFile { path: paths.remote_cfg(), mode: MODE_SECRET, kinds: &["remote"] }
}

/// Loads all remotes.
///
/// # Errors
/// The file cannot be read. Broken sections are problems, not errors.
pub fn load(paths: &Paths) -> Result<Loaded<RemoteConfig>> {
    file(paths).load()
}

/// Loads one remote.
///
/// # Errors
/// It is missing, or its section is broken (file, line and reason).
pub fn get(paths: &Paths, name: &RemoteName) -> Result<RemoteConfig> {
    let file = file(paths);
    file.get(&file.read()?.0, name.as_str())
}

/// Adds a remote.
///
/// # Errors
/// The name is taken, or a value does not fit.
pub fn create(paths: &Paths, entry: &RemoteConfig) -> Result<()> {
    let file = file(paths);
    file.edit(None, |document| file.create(document, entry))
}

/// Changes a remote. `expected` is the digest the caller has seen, if any.
///
/// # Errors
/// It is missing or broken, the file changed, a value does not fit, or `change` fails.
pub fn update(
    paths: &Paths,
    name: &RemoteName,
    expected: Option<&ConfigDigest>,
    change: impl FnOnce(&mut RemoteConfig) -> Result<()>,
) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| file.update(document, name.as_str(), change))
}

/// Removes a remote.
///
/// # Errors
/// It is missing, the file changed, or a sync job names it.
pub fn remove(paths: &Paths, name: &RemoteName, expected: Option<&ConfigDigest>) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| {
        if let Some(job) = sync_jobs::any_that_names(paths, name)? {
            return Err(ConfigError::InUse {
                what: RemoteConfig::WHAT,
                id: name.to_string(),
                user: format!("sync job `{job}`; change or remove that first"),
            });
        }
        file.remove(document, RemoteConfig::WHAT, name.as_str())
    })
}
