//! `datastore.cfg`: which datastores this server has, and where.

use std::path::{Component, Path, PathBuf};

use formats::{JobId, StoreName, UserId};
use section_config::{PropertyString, SectionConfig};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ConfigError, Result},
    files::{ConfigDigest, MODE_NORMAL},
    paths::Paths,
    store::{Entry, Loaded, SectionFile, rules, shown},
    sync_jobs::{self, SyncJobConfig},
};

/// One datastore. Empty properties are those that were not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatastoreConfig {
    /// Its name.
    pub name: StoreName,
    /// Absolute directory; relative to the device for a removable datastore.
    pub path: PathBuf,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Calendar event of garbage collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_schedule: Option<String>,
    /// Collect garbage before a removable datastore is unmounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_on_unmount: Option<bool>,
    /// Calendar event of pruning (older files; today prune jobs have it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_schedule: Option<String>,
    /// Snapshots kept by `prune-schedule`: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// The same, one per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u64>,
    /// The same, one per day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u64>,
    /// The same, one per week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u64>,
    /// The same, one per month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u64>,
    /// The same, one per year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u64>,
    /// Verify new snapshots at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_new: Option<bool>,
    /// Who is notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_user: Option<UserId>,
    /// Property string: what is notified of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// `legacy-sendmail` or `notification-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_mode: Option<String>,
    /// Property string: request counts that trigger a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_thresholds: Option<String>,
    /// Calendar event that resets the request counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter_reset_schedule: Option<String>,
    /// Property string, see [`Tuning`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
    /// Property string, see [`Maintenance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_mode: Option<String>,
    /// UUID of the file system of a removable datastore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_device: Option<String>,
    /// Property string, see [`Backend`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// How much is flushed to disk before a snapshot counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncLevel {
    /// Nothing.
    None,
    /// Every file.
    File,
    /// The file system, once per snapshot.
    #[default]
    Filesystem,
}

/// Order in which chunks of a snapshot are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkOrder {
    /// As the index has them.
    None,
    /// By inode, which spares a spinning disk.
    #[default]
    Inode,
}

/// The `tuning` of a datastore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Tuning {
    /// Order of reading.
    pub chunk_order: ChunkOrder,
    /// Durability of writing.
    pub sync_level: SyncLevel,
    /// Check that the file system keeps access times before collecting garbage.
    pub gc_atime_safety_check: bool,
    /// Minutes a chunk is kept after its last use, 1 to 2880.
    pub gc_atime_cutoff: u32,
    /// Digests remembered by garbage collection, 0 to 8388608.
    pub gc_cache_capacity: u32,
    /// Threads that verify, 1 to 32.
    pub default_verification_workers: u8,
    /// Threads that read for verification, 1 to 32.
    pub default_verification_readers: u8,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            chunk_order: ChunkOrder::default(),
            sync_level: SyncLevel::default(),
            gc_atime_safety_check: true,
            gc_atime_cutoff: 1445,
            gc_cache_capacity: 1_048_576,
            default_verification_workers: 4,
            default_verification_readers: 1,
        }
    }
}

/// The `maintenance-mode` of a datastore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Maintenance {
    /// What may not be done.
    #[serde(rename = "type")]
    pub kind: MaintenanceType,
    /// Why, up to 64 characters.
    pub message: Option<String>,
}

/// Kinds of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaintenanceType {
    /// Nothing is written.
    ReadOnly,
    /// Nothing is read or written.
    Offline,
    /// Being removed.
    Delete,
    /// Being unmounted.
    Unmount,
    /// Being refreshed from its object store.
    S3Refresh,
}

/// The part of a datastore's `notify` that is about sync jobs; the others are about tasks that are not run here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Notify {
    sync: Option<NotifyLevel>,
}

/// Which ends of a task are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyLevel {
    /// Every one.
    Always,
    /// None.
    Never,
    /// Failures.
    Error,
}

/// The `backend` of a datastore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backend {
    /// `filesystem` or `s3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Object store client of an `s3` backend.
    pub client: Option<String>,
    /// Bucket of an `s3` backend.
    pub bucket: Option<String>,
    /// Limit of the local cache.
    pub max_cache_size: Option<crate::ByteSize>,
}

impl DatastoreConfig {
    /// A datastore with a path and nothing else set.
    pub fn new(name: StoreName, path: impl Into<PathBuf>) -> Self {
        Self {
            name,
            path: path.into(),
            comment: None,
            gc_schedule: None,
            gc_on_unmount: None,
            prune_schedule: None,
            keep_last: None,
            keep_hourly: None,
            keep_daily: None,
            keep_weekly: None,
            keep_monthly: None,
            keep_yearly: None,
            verify_new: None,
            notify_user: None,
            notify: None,
            notification_mode: None,
            notification_thresholds: None,
            counter_reset_schedule: None,
            tuning: None,
            maintenance_mode: None,
            backing_device: None,
            backend: None,
        }
    }

    /// The tuning, with defaults for what is not set.
    ///
    /// # Errors
    /// A text that does not fit; files with such a text do not load.
    pub fn tuning(&self) -> Result<Tuning> {
        let invalid = |reason| ConfigError::invalid("tuning", reason);
        let read = parse::<Tuning>(self.tuning.as_deref().unwrap_or_default(), None).map_err(invalid)?;
        rules::range(Some(read.gc_atime_cutoff), 1, 2880)
            .and_then(|()| rules::range(Some(read.gc_cache_capacity), 0, 8_388_608))
            .and_then(|()| rules::range(Some(read.default_verification_workers), 1, 32))
            .and_then(|()| rules::range(Some(read.default_verification_readers), 1, 32))
            .map_err(invalid)?;
        Ok(read)
    }

    /// The maintenance mode, if there is one.
    ///
    /// # Errors
    /// As for [`tuning`](Self::tuning).
    pub fn maintenance(&self) -> Result<Option<Maintenance>> {
        let invalid = |reason| ConfigError::invalid("maintenance-mode", reason);
        let Some(text) = &self.maintenance_mode else { return Ok(None) };
        let read = parse::<Maintenance>(text, Some("type")).map_err(invalid)?;
        rules::text(read.message.as_deref(), 0, 64).map_err(invalid)?;
        Ok(Some(read))
    }

    /// Which ends of sync jobs are told, if the datastore says anything about that.
    pub fn notify_of_sync(&self) -> Option<NotifyLevel> {
        PropertyString::parse(self.notify.as_deref()?, None).ok()?.read::<Notify>().ok()?.value.sync
    }

    /// The backend; without one it is the file system.
    ///
    /// # Errors
    /// As for [`tuning`](Self::tuning).
    pub fn backend(&self) -> Result<Backend> {
        let invalid = |reason: String| ConfigError::invalid("backend", reason);
        let read = parse::<Backend>(self.backend.as_deref().unwrap_or("filesystem"), Some("type")).map_err(invalid)?;
        match read.kind.as_str() {
            "filesystem" => Ok(read),
            "s3" if read.client.is_some() && read.bucket.is_some() => Ok(read),
            "s3" => Err(invalid("an s3 backend needs `client` and `bucket`".to_owned())),
            other => Err(invalid(format!("unknown backend `{other}`"))),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, default_key: Option<&str>) -> Result<T, String> {
    let read = PropertyString::parse(text, default_key)
        .map_err(|error| error.to_string())?
        .read::<T>()
        .map_err(|error| error.to_string())?;
    match read.unknown.first() {
        Some(unknown) => Err(format!("unknown key `{}`", unknown.key)),
        None => Ok(read.value),
    }
}

impl Entry for DatastoreConfig {
    const KIND: &'static str = "datastore";
    const ID_KEY: &'static str = "name";
    const WHAT: &'static str = "datastore";

    fn id(&self) -> String {
        self.name.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        let path = self.path.to_string_lossy();
        let at = |key: &'static str| move |reason: String| (key, reason);
        rules::text(Some(&path), 1, 4096).map_err(at("path"))?;
        if self.path.components().any(|part| part == Component::ParentDir) {
            return Err(("path", "must not contain `..`".to_owned()));
        }
        if self.path.is_relative() && self.backing_device.is_none() {
            return Err(("path", "must be absolute".to_owned()));
        }
        rules::text(self.comment.as_deref(), 0, 128).map_err(at("comment"))?;
        for (key, value) in [
            ("keep-last", self.keep_last),
            ("keep-hourly", self.keep_hourly),
            ("keep-daily", self.keep_daily),
            ("keep-weekly", self.keep_weekly),
            ("keep-monthly", self.keep_monthly),
            ("keep-yearly", self.keep_yearly),
        ] {
            rules::at_least(value, 1).map_err(at(key))?;
        }
        let reason = |error: ConfigError| match error {
            ConfigError::Invalid { reason, .. } => reason,
            other => other.to_string(),
        };
        self.tuning().map_err(|error| ("tuning", reason(error)))?;
        self.maintenance().map_err(|error| ("maintenance-mode", reason(error)))?;
        self.backend().map_err(|error| ("backend", reason(error)))?;
        Ok(())
    }
}

/// What to do with the sync jobs of a datastore that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobConfigs {
    /// They stay, and fail until they are changed.
    Keep,
    /// They are removed.
    Remove,
}

/// What a removal did and left behind.
#[derive(Clone, Debug)]
pub struct RemovedDatastore {
    /// The datastore that is no longer configured; its data is untouched.
    pub config: DatastoreConfig,
    /// Sync jobs removed with it.
    pub removed_jobs: Vec<JobId>,
    /// Sync jobs that still name it, as their datastore or as the other end of a local job.
    pub jobs_left: Vec<JobId>,
}

pub(crate) fn file(paths: &Paths) -> SectionFile {
    SectionFile { path: paths.datastore_cfg(), mode: MODE_NORMAL, kinds: &["datastore"] }
}

/// Loads all datastores.
///
/// # Errors
/// The file cannot be read. Broken sections are problems, not errors.
pub fn load(paths: &Paths) -> Result<Loaded<DatastoreConfig>> {
    file(paths).load()
}

/// Loads one datastore.
///
/// # Errors
/// It is missing, or its section is broken (file, line and reason).
pub fn get(paths: &Paths, name: &StoreName) -> Result<DatastoreConfig> {
    let file = file(paths);
    file.get(&file.read()?.0, name.as_str())
}

/// Adds a datastore.
///
/// # Errors
/// The name is taken; or its directory is, lies in or holds that of another datastore, here or in the configuration
/// of a stock server on the same host (there the same directory under the same name is fine).
pub fn create(paths: &Paths, entry: &DatastoreConfig) -> Result<()> {
    let file = file(paths);
    file.edit(None, |document| add(paths, &file, document, entry))
}

/// Tells whether [`create`] would take this datastore as things are now, so that nothing is made on disk for one it refuses.
///
/// # Errors
/// As for [`create`].
pub fn check_new(paths: &Paths, entry: &DatastoreConfig) -> Result<()> {
    let file = file(paths);
    add(paths, &file, &mut file.read()?.0, entry)
}

fn add(paths: &Paths, file: &SectionFile, document: &mut SectionConfig, entry: &DatastoreConfig) -> Result<()> {
    refuse_place(paths, file, document, entry)?;
    file.create(document, entry)
}

/// Tells whether the directory of a datastore that is configured is its alone.
pub(crate) fn check_place(paths: &Paths, entry: &DatastoreConfig) -> Result<()> {
    let file = file(paths);
    refuse_place(paths, &file, &file.read()?.0, entry)
}

fn refuse_place(paths: &Paths, file: &SectionFile, document: &SectionConfig, entry: &DatastoreConfig) -> Result<()> {
    if entry.backing_device.is_some() {
        return Ok(());
    }
    refuse_overlap(entry, document, &file.path)?;
    let stock = SectionFile { path: paths.pbs_datastore_cfg(), ..file.clone() };
    // Not ours: where we may not read it, it cannot be asked.
    match stock.read() {
        Ok((stock_document, _)) => refuse_overlap(entry, &stock_document, &stock.path),
        Err(_) => Ok(()),
    }
}

/// Changes a datastore. `expected` is the digest the caller has seen, if any.
///
/// # Errors
/// It is missing or broken, the file changed, a value does not fit, or `change` fails.
pub fn update(
    paths: &Paths,
    name: &StoreName,
    expected: Option<&ConfigDigest>,
    change: impl FnOnce(&mut DatastoreConfig) -> Result<()>,
) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| {
        file.update(document, name.as_str(), |entry: &mut DatastoreConfig| {
            let before = (entry.path.clone(), entry.backend.clone(), entry.backing_device.clone());
            change(entry)?;
            if before != (entry.path.clone(), entry.backend.clone(), entry.backing_device.clone()) {
                return Err(ConfigError::Refused(
                    "`path`, `backing-device` and `backend` of a datastore cannot be changed".to_owned(),
                ));
            }
            Ok(())
        })
    })
}

/// Removes a datastore from the configuration. Nothing on disk is touched.
///
/// # Errors
/// It is missing, or the file changed.
pub fn remove(
    paths: &Paths,
    name: &StoreName,
    expected: Option<&ConfigDigest>,
    jobs: JobConfigs,
) -> Result<RemovedDatastore> {
    let file = file(paths);
    let config = file.edit(expected, |document| {
        let config = file.get(document, name.as_str())?;
        file.remove(document, DatastoreConfig::WHAT, name.as_str())?;
        Ok(config)
    })?;
    let mut removed_jobs = Vec::new();
    if jobs == JobConfigs::Remove {
        for job in sync_jobs::load(paths)?.entries.into_iter().filter(|job| job.store == *name) {
            sync_jobs::remove(paths, &job.id, None)?;
            removed_jobs.push(job.id);
        }
    }
    let names_it = |job: &SyncJobConfig| job.store == *name || (job.remote.is_none() && job.remote_store == *name);
    let jobs_left = sync_jobs::load(paths)?.entries.into_iter().filter(names_it).map(|job| job.id).collect();
    Ok(RemovedDatastore { config, removed_jobs, jobs_left })
}

/// Two datastores in one tree would see each other's files. The same one under the same name is not two.
fn refuse_overlap(entry: &DatastoreConfig, document: &SectionConfig, path: &Path) -> Result<()> {
    let mine = resolved(&entry.path);
    for section in document.sections().chain(document.broken_sections()) {
        let (name, Some(theirs)) = (section.id(), section.get("path")) else { continue };
        if section.get("backing-device").is_some() {
            continue;
        }
        let other = resolved(Path::new(theirs));
        let same = mine == other;
        if same && name == entry.name.as_str() {
            continue;
        }
        if same || mine.starts_with(&other) || other.starts_with(&mine) {
            let how = if same {
                "is"
            } else if mine.starts_with(&other) {
                "lies inside"
            } else {
                "contains"
            };
            return Err(ConfigError::invalid(
                "path",
                format!("{} {how} the directory {theirs} of datastore `{name}` ({})", shown(&entry.path), shown(path)),
            ));
        }
    }
    Ok(())
}

/// The path with symbolic links resolved as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut present = path;
    loop {
        if let Ok(real) = present.canonicalize() {
            return missing.iter().rev().fold(real, |path, name| path.join(name));
        }
        match (present.file_name(), present.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                present = parent;
            }
            _ => return path.to_owned(),
        }
    }
}
