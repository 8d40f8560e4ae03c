//! `user.cfg`: users and their API tokens, with their passwords and secrets in files of their own.

use std::collections::BTreeMap;

use formats::{AuthId, TokenName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    acl,
    error::{ConfigError, Result},
    files::{ConfigDigest, MODE_NORMAL},
    hashes,
    paths::Paths,
    secrets::SecretFile,
    store::{Entry, Problem, SectionFile, rules},
    sync_jobs::root_user,
};

/// Realm whose passwords are kept here.
const PASSWORD_REALM: &str = "pbs";

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserConfig {
    /// `name@realm`.
    pub userid: UserId,
    /// Whether it may log in; yes if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Seconds since the epoch from which it may not; 0 or unset means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<i64>,
    /// First name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firstname: Option<String>,
    /// Last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lastname: Option<String>,
    /// Mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConfig {
    /// `name@realm!token`.
    pub tokenid: AuthId,
    /// Whether it may be used; yes if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Seconds since the epoch from which it may not; 0 or unset means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A new token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct GeneratedToken {
    /// `name@realm!token`.
    pub tokenid: AuthId,
    /// The secret, a UUID.
    pub value: String,
}

impl std::fmt::Debug for GeneratedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedToken").field("tokenid", &self.tokenid).finish_non_exhaustive()
    }
}

/// What `user.cfg` holds.
#[derive(Clone, Debug)]
pub struct Users {
    /// The users; `root@pam` is always among them.
    pub users: Vec<UserConfig>,
    /// The tokens.
    pub tokens: Vec<TokenConfig>,
    /// Digest of the file's bytes.
    pub digest: ConfigDigest,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
}

impl UserConfig {
    /// A user with nothing set.
    pub fn new(userid: UserId) -> Self {
        Self { userid, enable: None, expire: None, firstname: None, lastname: None, email: None, comment: None }
    }

    /// The superuser as it is when the file says nothing about it.
    fn root() -> Self {
        Self { comment: Some("Superuser".to_owned()), ..Self::new(root_user()) }
    }
}

impl TokenConfig {
    /// A token with nothing set.
    ///
    /// # Errors
    /// User and token together are too long.
    pub fn new(user: &UserId, name: &TokenName) -> Result<Self> {
        let tokenid = AuthId::of_token(user.clone(), name.clone())
            .map_err(|error| ConfigError::invalid("token-name", error.to_string()))?;
        Ok(Self { tokenid, enable: None, expire: None, comment: None })
    }
}

impl Users {
    /// The user with this id.
    pub fn user(&self, userid: &UserId) -> Option<&UserConfig> {
        self.users.iter().find(|user| user.userid == *userid)
    }

    /// The token with this id.
    pub fn token(&self, tokenid: &AuthId) -> Option<&TokenConfig> {
        self.tokens.iter().find(|token| token.tokenid == *tokenid)
    }

    /// The tokens of one user.
    pub fn tokens_of<'a>(&'a self, userid: &'a UserId) -> impl Iterator<Item = &'a TokenConfig> {
        self.tokens.iter().filter(move |token| token.tokenid.user() == userid)
    }

    /// Says whether a user, or a token and its user, exist and are enabled and not expired at `now` (epoch seconds).
    pub fn is_active(&self, auth_id: &AuthId, now: i64) -> bool {
        let usable = |enable: Option<bool>, expire: Option<i64>| {
            enable.unwrap_or(true) && expire.is_none_or(|expire| expire <= 0 || now < expire)
        };
        let user_is = self.user(auth_id.user()).is_some_and(|user| usable(user.enable, user.expire));
        let token_is =
            !auth_id.is_token() || self.token(auth_id).is_some_and(|token| usable(token.enable, token.expire));
        user_is && token_is
    }
}

impl Entry for UserConfig {
    const KIND: &'static str = "user";
    const ID_KEY: &'static str = "userid";
    const WHAT: &'static str = "user";

    fn id(&self) -> String {
        self.userid.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        for (key, value) in [("firstname", &self.firstname), ("lastname", &self.lastname), ("email", &self.email)] {
            rules::text(value.as_deref(), 2, 64).map_err(|reason| (key, reason))?;
        }
        check_common(self.expire, self.comment.as_deref())
    }
}

impl Entry for TokenConfig {
    const KIND: &'static str = "token";
    const ID_KEY: &'static str = "tokenid";
    const WHAT: &'static str = "API token";

    fn id(&self) -> String {
        self.tokenid.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        if !self.tokenid.is_token() {
            return Err(("tokenid", format!("`{}` is no token", self.tokenid)));
        }
        check_common(self.expire, self.comment.as_deref())
    }
}

fn check_common(expire: Option<i64>, comment: Option<&str>) -> Result<(), (&'static str, String)> {
    rules::at_least(expire, 0).map_err(|reason| ("expire", reason))?;
    rules::text(comment, 0, 128).map_err(|reason| ("comment", reason))
}

pub(crate) fn file(paths: &Paths) -> SectionFile {
    SectionFile { path: paths.user_cfg(), mode: MODE_NORMAL, kinds: &["user", "token"] }
}

fn passwords(paths: &Paths) -> SecretFile {
    SecretFile { path: paths.shadow() }
}

fn token_secrets(paths: &Paths) -> SecretFile {
    SecretFile { path: paths.token_shadow() }
}

/// Loads users and tokens.
///
/// # Errors
/// The file cannot be read. Broken sections are problems, not errors.
pub fn load(paths: &Paths) -> Result<Users> {
    let file = file(paths);
    let (document, digest) = file.read()?;
    let mut problems = file.problems(&document);
    let mut users: Vec<UserConfig> = file.entries(&document, &mut problems);
    // A broken entry for the superuser must not bring back the defaults: it might say "disabled".
    let root = root_user();
    if document.line_of(root.as_str()).is_none() {
        users.insert(0, UserConfig::root());
    }
    let tokens = file.entries(&document, &mut problems);
    problems.sort_by_key(|problem| problem.line);
    Ok(Users { users, tokens, digest, problems })
}

/// Adds a user, with a password if one is given.
///
/// # Errors
/// The user exists (`root@pam` always does), a value does not fit, or the realm has no passwords here.
pub fn create(paths: &Paths, entry: &UserConfig, password: Option<&str>) -> Result<()> {
    if let Some(password) = password {
        check_password(&entry.userid, password)?;
    }
    let file = file(paths);
    file.edit(None, |document| {
        if entry.userid.is_root() {
            return Err(ConfigError::Exists { what: "user", id: entry.id(), path: file.path.clone() });
        }
        file.create(document, entry)?;
        // Secrets of a user of the same name that was removed halfway.
        drop_secrets(paths, &entry.userid)
    })?;
    match password {
        Some(password) => store_password(paths, &entry.userid, password),
        None => Ok(()),
    }
}

/// Changes a user. `expected` is the digest the caller has seen, if any.
///
/// # Errors
/// It is missing or broken, the file changed, a value does not fit, or `change` fails.
pub fn update(
    paths: &Paths,
    userid: &UserId,
    expected: Option<&ConfigDigest>,
    change: impl FnOnce(&mut UserConfig) -> Result<()>,
) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| {
        if userid.is_root() && document.line_of(userid.as_str()).is_none() {
            file.create(document, &UserConfig::root())?;
        }
        file.update(document, userid.as_str(), change)
    })
}

/// Removes a user with its tokens, secrets and permissions.
///
/// # Errors
/// It is missing, it is `root@pam`, or the file changed.
pub fn remove(paths: &Paths, userid: &UserId, expected: Option<&ConfigDigest>) -> Result<()> {
    if userid.is_root() {
        return Err(ConfigError::Refused("the superuser `root@pam` cannot be removed".to_owned()));
    }
    let file = file(paths);
    file.edit(expected, |document| {
        // Permissions that could not be removed would wait for the next user of that name.
        acl::load(paths)?;
        file.remove(document, UserConfig::WHAT, userid.as_str())?;
        let tokens: Vec<String> = document
            .sections()
            .chain(document.broken_sections())
            .filter(|section| section.id().parse::<AuthId>().is_ok_and(|id| id.is_token() && id.user() == userid))
            .map(|section| section.id().to_owned())
            .collect();
        for token in tokens {
            document.remove(&token);
        }
        Ok(())
    })?;
    drop_secrets(paths, userid)?;
    acl::remove_user(paths, userid)
}

fn drop_secrets(paths: &Paths, userid: &UserId) -> Result<()> {
    passwords(paths).edit(|hashes| {
        hashes.remove(userid.as_str());
    })?;
    token_secrets(paths)
        .edit(|hashes| hashes.retain(|id, _| id.parse::<AuthId>().map_or(true, |id| id.user() != userid)))
}

fn check_password(userid: &UserId, password: &str) -> Result<()> {
    if userid.realm() != PASSWORD_REALM {
        return Err(ConfigError::invalid(
            "password",
            format!(
                "only users of realm `{PASSWORD_REALM}` have a password here, not `{userid}`; give it an API token"
            ),
        ));
    }
    rules::text(Some(password), 8, 64).map_err(|reason| ConfigError::invalid("password", reason))
}

fn store_password(paths: &Paths, userid: &UserId, password: &str) -> Result<()> {
    let hash = hashes::hash_password(password)?;
    passwords(paths).edit(|hashes| {
        hashes.insert(userid.to_string(), hash);
    })
}

/// Sets the password of a user of realm `pbs`: 8 to 64 characters.
///
/// # Errors
/// The user is missing, of another realm, or the password does not fit.
pub fn set_password(paths: &Paths, userid: &UserId, password: &str) -> Result<()> {
    check_password(userid, password)?;
    if load(paths)?.user(userid).is_none() {
        return Err(ConfigError::NotFound { what: "user", id: userid.to_string(), path: paths.user_cfg() });
    }
    store_password(paths, userid, password)
}

/// Says whether this is the user's password. Whether the user is active is another question.
///
/// Takes a fraction of a second of CPU, and as long for a user that does not exist.
///
/// # Errors
/// The file is broken, or holds a hash made by another program.
pub fn verify_password(paths: &Paths, userid: &UserId, password: &str) -> Result<bool> {
    let file = passwords(paths);
    let hashes = file.load()?;
    let Some(stored) = hashes.get(userid.as_str()).filter(|_| userid.realm() == PASSWORD_REALM) else {
        hashes::verify_nothing(password);
        return Ok(false);
    };
    hashes::verify_password(stored, password).ok_or_else(|| foreign_hash(file, userid.as_str(), "set the password"))
}

/// Users whose password hash was made by another program, so that nobody can log in with it.
pub(crate) fn unusable_passwords(paths: &Paths) -> Result<Vec<String>> {
    let hashes = passwords(paths).load()?;
    Ok(hashes.into_iter().filter(|(_, hash)| !hashes::is_password(hash)).map(|(user, _)| user).collect())
}

/// The tokens that have a secret, each with whether it was made here.
pub(crate) fn tokens_with_secrets(paths: &Paths) -> Result<BTreeMap<String, bool>> {
    let hashes = token_secrets(paths).load()?;
    Ok(hashes.into_iter().map(|(token, hash)| (token, hashes::is_token(&hash))).collect())
}

/// Adds an API token and makes its secret.
///
/// # Errors
/// The user is missing, the token exists, a value does not fit, or the file changed.
pub fn generate_token(paths: &Paths, entry: &TokenConfig, expected: Option<&ConfigDigest>) -> Result<GeneratedToken> {
    let file = file(paths);
    file.edit(expected, |document| {
        let user = entry.tokenid.user();
        if !user.is_root() {
            file.get::<UserConfig>(document, user.as_str())?;
        }
        file.create(document, entry)?;
        // The secret first: without its entry it is good for nothing, the other way round the token would be broken.
        store_token_secret(paths, &entry.tokenid)
    })
}

/// Adds an API token without a secret: nobody can use it until it is given one.
///
/// # Errors
/// The user is missing, the token exists, or a value does not fit.
pub(crate) fn add_token(paths: &Paths, entry: &TokenConfig) -> Result<()> {
    let file = file(paths);
    file.edit(None, |document| {
        let user = entry.tokenid.user();
        if !user.is_root() {
            file.get::<UserConfig>(document, user.as_str())?;
        }
        file.create(document, entry)?;
        // A secret of a token of the same name that was removed halfway.
        token_secrets(paths).edit(|hashes| {
            hashes.remove(&entry.tokenid.to_string());
        })
    })
}

/// Gives an existing token a new secret; the old one is void.
///
/// # Errors
/// The token is missing.
pub fn regenerate_token(paths: &Paths, tokenid: &AuthId) -> Result<GeneratedToken> {
    let file = file(paths);
    file.edit(None, |document| {
        file.get::<TokenConfig>(document, &tokenid.to_string())?;
        store_token_secret(paths, tokenid)
    })
}

fn store_token_secret(paths: &Paths, tokenid: &AuthId) -> Result<GeneratedToken> {
    let value = uuid::Uuid::new_v4().to_string();
    let hash = hashes::hash_token(&value)?;
    token_secrets(paths).edit(|hashes| {
        hashes.insert(tokenid.to_string(), hash);
    })?;
    Ok(GeneratedToken { tokenid: tokenid.clone(), value })
}

/// Changes a token. `expected` is the digest the caller has seen, if any.
///
/// # Errors
/// It is missing or broken, the file changed, a value does not fit, or `change` fails.
pub fn update_token(
    paths: &Paths,
    tokenid: &AuthId,
    expected: Option<&ConfigDigest>,
    change: impl FnOnce(&mut TokenConfig) -> Result<()>,
) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| file.update(document, &tokenid.to_string(), change))
}

/// Removes a token with its secret and permissions.
///
/// # Errors
/// It is missing, or the file changed.
pub fn remove_token(paths: &Paths, tokenid: &AuthId, expected: Option<&ConfigDigest>) -> Result<()> {
    let (file, id) = (file(paths), tokenid.to_string());
    if !tokenid.is_token() {
        return Err(ConfigError::NotFound { what: TokenConfig::WHAT, id, path: file.path });
    }
    file.edit(expected, |document| file.remove(document, TokenConfig::WHAT, &id))?;
    token_secrets(paths).edit(|hashes| {
        hashes.remove(&id);
    })?;
    acl::remove_auth_id(paths, tokenid)
}

/// Says whether this is the token's secret. Whether the token is active is another question.
///
/// Reads the file each time; callers on a busy path keep what they learned.
///
/// # Errors
/// The file is broken, or holds a hash made by another program.
pub fn verify_token(paths: &Paths, tokenid: &AuthId, secret: &str) -> Result<bool> {
    let (file, id) = (token_secrets(paths), tokenid.to_string());
    match file.load()?.get(&id) {
        None => Ok(false),
        Some(stored) => {
            hashes::verify_token(stored, secret).ok_or_else(|| foreign_hash(file, &id, "generate the token's secret"))
        }
    }
}

fn foreign_hash(file: SecretFile, id: &str, what_to_do: &str) -> ConfigError {
    ConfigError::line(&file.path, 0, format!("the hash of `{id}` was made by another program; {what_to_do} again"))
}
