//! `encryption-keys.cfg`: the keys that sync jobs encrypt and decrypt with, each in a key file of its own.
//!
//! A key is kept without passphrase, since jobs run while nobody is there; the modes of file and directory protect it.
//! An archived key still decrypts, but nothing new is encrypted with it, and only an archived one can be removed.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use formats::{AuthId, CryptKey, Fingerprint, JobId, KeyFile, Protection};
use serde::{Deserialize, Serialize};

use crate::{
    access::AccessControl,
    acl::{AclPath, Privileges},
    error::{ConfigError, Result},
    files::{self, ConfigDigest, FileLock, MODE_NORMAL},
    paths::Paths,
    store::{Entry, Loaded, SectionFile, rules},
    sync_jobs::{self, SyncDirection, SyncJobConfig},
};

/// Mode of the directory of key files.
const MODE_DIRECTORY: u32 = 0o750;

/// How a key file protects its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyProtection {
    /// Not at all, as jobs need it.
    #[default]
    None,
    /// By a passphrase and scrypt.
    Scrypt,
    /// By a passphrase and PBKDF2.
    Pbkdf2,
}

/// One key: where it is and what is known of it without opening it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EncryptionKeyConfig {
    /// Its name.
    pub id: JobId,
    /// Its file.
    pub path: PathBuf,
    /// How the file protects it.
    #[serde(default)]
    pub kdf: KeyProtection,
    /// When it was made, Unix seconds.
    pub created: i64,
    /// When the file was written, Unix seconds.
    pub modified: i64,
    /// Its fingerprint, which manifests name.
    pub fingerprint: Fingerprint,
    /// Free text that helps to remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Since when it is archived, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<i64>,
}

impl Entry for EncryptionKeyConfig {
    const KIND: &'static str = "sync-key";
    const ID_KEY: &'static str = "id";
    const WHAT: &'static str = "encryption key";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        if !self.path.is_absolute() {
            return Err(("path", "must be absolute".to_owned()));
        }
        rules::text(self.hint.as_deref(), 1, 64).map_err(|reason| ("hint", reason))
    }
}

/// What a key is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Encrypting: an archived key will not do.
    Encrypt,
    /// Decrypting, or handing it out.
    Decrypt,
}

pub(crate) fn file(paths: &Paths) -> SectionFile {
    SectionFile { path: paths.encryption_keys_cfg(), mode: MODE_NORMAL, kinds: &["sync-key"] }
}

/// Loads all keys' descriptions.
///
/// # Errors
/// The file cannot be read. Broken sections are problems, not errors.
pub fn load(paths: &Paths) -> Result<Loaded<EncryptionKeyConfig>> {
    file(paths).load()
}

/// Loads one key's description.
///
/// # Errors
/// It is missing, or its section is broken (file, line and reason).
pub fn get(paths: &Paths, id: &JobId) -> Result<EncryptionKeyConfig> {
    let file = file(paths);
    file.get(&file.read()?.0, id.as_str())
}

/// Opens a key.
///
/// # Errors
/// It is missing or archived and wanted for encrypting; its file cannot be read, is protected by a passphrase, or holds
/// another key than is written of it.
pub fn open(paths: &Paths, id: &JobId, purpose: KeyUse) -> Result<CryptKey> {
    let entry = get(paths, id)?;
    if purpose == KeyUse::Encrypt && entry.archived_at.is_some() {
        return Err(refused(id, "is archived, so nothing new is encrypted with it"));
    }
    let bytes = files::read(&entry.path)?;
    if bytes.is_empty() {
        return Err(refused(id, &format!("has no file {}", entry.path.display())));
    }
    let broken = |error: formats::KeyError| refused(id, &format!("in {}: {error}", entry.path.display()));
    let key_file = KeyFile::parse(&bytes).map_err(broken)?;
    if key_file.is_protected() {
        return Err(refused(id, "is protected by a passphrase, which no job can give"));
    }
    let key = key_file.unlock(None).map_err(broken)?;
    if key.fingerprint() != entry.fingerprint {
        let (found, expected) = (key.fingerprint().short(), entry.fingerprint.short());
        return Err(refused(id, &format!("has the fingerprint {found}, but {expected} is written of it")));
    }
    Ok(key)
}

fn refused(id: &JobId, why: &str) -> ConfigError {
    ConfigError::Refused(format!("encryption key `{id}` {why}"))
}

/// Stores `key` under a new name. `created` and `now` are Unix seconds.
///
/// # Errors
/// The name is taken, or the file cannot be written.
pub fn add(
    paths: &Paths,
    id: &JobId,
    key: &CryptKey,
    hint: Option<String>,
    created: i64,
    now: i64,
) -> Result<EncryptionKeyConfig> {
    let unusable = |error: formats::KeyError| refused(id, &format!("cannot be written: {error}"));
    let mut key_file = KeyFile::new(key, Protection::None, created).map_err(unusable)?;
    key_file.set_hint(hint.clone());
    let path = paths.encryption_key_file(id);
    let entry = EncryptionKeyConfig {
        id: id.clone(),
        path: path.clone(),
        kdf: KeyProtection::None,
        created,
        modified: now,
        fingerprint: key.fingerprint(),
        hint,
        archived_at: None,
    };
    let json = key_file.to_json().map_err(unusable)?;
    let file = file(paths);
    file.edit(None, |document| {
        file.create(document, &entry)?;
        write_key(&path, json.as_bytes())
    })?;
    Ok(entry)
}

/// Archives a key, or takes it back into use.
///
/// # Errors
/// It is missing, the file changed, or a job encrypts with it.
pub fn set_archived(
    paths: &Paths,
    id: &JobId,
    archived_at: Option<i64>,
    expected: Option<&ConfigDigest>,
) -> Result<()> {
    let _jobs = FileLock::take(&paths.sync_cfg())?;
    let file = file(paths);
    file.edit(expected, |document| {
        if archived_at.is_some()
            && let Some(job) = sync_jobs::any_with(paths, &["active-encryption-key"], id.as_str())?
        {
            return Err(in_use(id, &job, "which encrypts with it"));
        }
        file.update(document, id.as_str(), |entry: &mut EncryptionKeyConfig| {
            entry.archived_at = archived_at.map(|now| entry.archived_at.unwrap_or(now));
            Ok(())
        })
    })
}

/// Removes an archived key with its file. What was encrypted with it can then only be read with a copy of the key.
///
/// # Errors
/// It is missing or not archived, the file changed, or a job names it.
pub fn remove(paths: &Paths, id: &JobId, expected: Option<&ConfigDigest>) -> Result<()> {
    let _jobs = FileLock::take(&paths.sync_cfg())?;
    let file = file(paths);
    let path = file.edit(expected, |document| {
        let entry: EncryptionKeyConfig = file.get(document, id.as_str())?;
        if let Some(job) = sync_jobs::any_with(paths, &["active-encryption-key", "associated-key"], id.as_str())? {
            return Err(in_use(id, &job, "change or remove that first"));
        }
        if entry.archived_at.is_none() {
            let how = format!("is not archived; do that first: encryption-key archive {id}");
            return Err(refused(id, &how));
        }
        file.remove(document, EncryptionKeyConfig::WHAT, id.as_str())?;
        Ok(entry.path)
    })?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ConfigError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

fn in_use(id: &JobId, job: &str, why: &str) -> ConfigError {
    ConfigError::InUse { what: EncryptionKeyConfig::WHAT, id: id.to_string(), user: format!("sync job `{job}`; {why}") }
}

/// The keys that `job` uses: the one a push encrypts with, or those a pull decrypts with.
///
/// # Errors
/// A key is missing, cannot be opened, is archived and to encrypt with, or may not be used by the job's owner.
pub fn of_job(paths: &Paths, job: &SyncJobConfig) -> Result<Vec<CryptKey>> {
    match job.direction() {
        SyncDirection::Push => {
            let active = job.active_encryption_key.as_slice();
            open_all(paths, job, "active-encryption-key", active, KeyUse::Encrypt)
        }
        SyncDirection::Pull => associated_with(paths, job),
    }
}

/// The keys that `job` names to decrypt with, whatever its direction.
///
/// # Errors
/// As [`of_job`].
pub fn associated_with(paths: &Paths, job: &SyncJobConfig) -> Result<Vec<CryptKey>> {
    open_all(paths, job, "associated-key", &job.associated_key, KeyUse::Decrypt)
}

fn open_all(
    paths: &Paths,
    job: &SyncJobConfig,
    property: &'static str,
    ids: &[String],
    purpose: KeyUse,
) -> Result<Vec<CryptKey>> {
    ids.iter()
        .map(|text| {
            let id: JobId =
                text.parse().map_err(|_| ConfigError::invalid(property, format!("`{text}` is no key id")))?;
            may_use(paths, &job.owner(), &id, property)?;
            open(paths, &id, purpose).map_err(|error| match error {
                ConfigError::NotFound { .. } => ConfigError::invalid(property, unknown_key(paths, &id)),
                ConfigError::Refused(reason) => ConfigError::invalid(property, reason),
                other => other,
            })
        })
        .collect()
}

/// Tells whether the owner of `job` may use the keys it names.
pub(crate) fn may_use_all(paths: &Paths, job: &SyncJobConfig) -> Result<()> {
    let active = job.active_encryption_key.iter().map(|id| ("active-encryption-key", id));
    let associated = job.associated_key.iter().map(|id| ("associated-key", id));
    for (property, id) in active.chain(associated.filter(|_| job.direction() == SyncDirection::Pull)) {
        if let Ok(id) = id.parse() {
            may_use(paths, &job.owner(), &id, property)?;
        }
    }
    Ok(())
}

fn unknown_key(paths: &Paths, id: &JobId) -> String {
    let known = load(paths).map(|loaded| loaded.entries).unwrap_or_default();
    let known: Vec<String> = known.iter().map(|entry| entry.id.to_string()).collect();
    if known.is_empty() {
        format!("there is no encryption key `{id}`; make one with: encryption-key create {id}")
    } else {
        format!("there is no encryption key `{id}`; there is: {}", known.join(", "))
    }
}

fn may_use(paths: &Paths, owner: &AuthId, id: &JobId, property: &str) -> Result<()> {
    if owner.is_root() {
        return Ok(());
    }
    let path = AclPath::of(["system", "encryption-keys", id.as_str()]);
    if AccessControl::load(paths)?.privileges(owner, &path).contains(Privileges::SYS_MODIFY) {
        return Ok(());
    }
    let reason = format!("the job's owner `{owner}` may not use key `{id}`: Sys.Modify is needed on {path}");
    Err(ConfigError::invalid(property, reason))
}

/// Writes a key file, which must not be there yet.
fn write_key(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    match DirBuilder::new().mode(MODE_DIRECTORY).create(dir) {
        Ok(()) => files::belong_to_parent(dir).map_err(ConfigError::io("change the owner of", dir))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(ConfigError::io("create", dir)(error)),
    }
    let failed = ConfigError::io("write", path);
    let write = || {
        let mut temporary = tempfile::Builder::new()
            .prefix(".key.")
            .permissions(Permissions::from_mode(MODE_NORMAL))
            .tempfile_in(dir)?;
        temporary.write_all(bytes)?;
        temporary.as_file().set_permissions(Permissions::from_mode(MODE_NORMAL))?;
        files::belong_to_parent(temporary.path())?;
        temporary.as_file().sync_all()?;
        temporary.persist_noclobber(path).map_err(|error| error.error)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(failed)
}
