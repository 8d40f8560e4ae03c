//! `sync.cfg`: what is replicated, from where to where and when.

use calendar::{Schedule, TimeSpan};
use formats::{AuthId, GroupFilter, JobId, Namespace, RemoteName, RemovalLimit, StoreName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    byte_size::ByteSize,
    datastores, encryption_keys,
    error::{ConfigError, Result},
    files::{ConfigDigest, MODE_NORMAL},
    paths::Paths,
    rate_schedule::RateSchedule,
    remotes,
    run_condition::RunCondition,
    store::{Entry, Loaded, SectionFile, rules},
};

/// Deepest namespace there is.
const MAX_DEPTH: usize = 7;

/// Longest command line of a script, in characters.
const MAX_SCRIPT: usize = 1024;

/// Which way a job copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncDirection {
    /// Into the local datastore.
    #[default]
    Pull,
    /// Out of the local datastore.
    Push,
}

/// What a job makes of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferMode {
    /// Adds what is new, removes nothing.
    #[default]
    Copy,
    /// Adds what is new and removes what vanished at the source: remove-vanished.
    Sync,
    /// Adds what is new and removes it at the source once its copy was read back.
    Move,
}

/// Which snapshots come first, across all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferOrder {
    /// The oldest of each group.
    #[default]
    OldestFirst,
    /// The newest of every group, then the others.
    NewestFirst,
}

/// One sync job. Empty properties are those that were not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SyncJobConfig {
    /// Its name.
    pub id: JobId,
    /// Local datastore: target of a pull, source of a push.
    pub store: StoreName,
    /// Anchor inside `store`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<Namespace>,
    /// Owner of what a pull creates; local identity of the job. `root@pam` if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AuthId>,
    /// The other server; unset means another datastore of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteName>,
    /// The other datastore.
    pub remote_store: StoreName,
    /// Anchor inside `remote-store`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ns: Option<Namespace>,
    /// Direction; pull if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_direction: Option<SyncDirection>,
    /// Keep the job without running it by schedule or mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// What the job makes of its target; if unset, `sync` with remove-vanished and `copy` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_mode: Option<TransferMode>,
    /// Copy also what is older than the newest snapshot at the target and missing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill_gaps: Option<bool>,
    /// Which snapshots come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_order: Option<TransferOrder>,
    /// Remove at the target what the source no longer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_vanished: Option<bool>,
    /// Set notes and protection of what is at the target as they are at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_metadata: Option<bool>,
    /// The most snapshots that one run removes at the target, a number or a percentage; a run that would remove more
    /// removes none. A fifth, but at least 5, if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_removals: Option<RemovalLimit>,
    /// Levels below the anchors; all if unset, 0 for the anchors alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u8>,
    /// Which groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_filter: Vec<GroupFilter>,
    /// Only the newest snapshots of a group, this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_last: Option<u64>,
    /// Only snapshots that are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_only: Option<bool>,
    /// Only snapshots that were verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_only: Option<bool>,
    /// Copy again what failed verification here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_corrupt: Option<bool>,
    /// Limit for received bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<ByteSize>,
    /// Burst for received bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_in: Option<ByteSize>,
    /// Limit for sent bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<ByteSize>,
    /// Burst for sent bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_out: Option<ByteSize>,
    /// Rates that hold at certain times of the week instead of `rate-in` and `rate-out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_schedule: Option<RateSchedule>,
    /// Read each snapshot back after it was copied; as the target's `verify-new` says if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// Groups processed at the same time, 1 to 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_threads: Option<u8>,
    /// Calendar event or interval; without one the job runs only when told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Job whose good end starts this one, with or without a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// What has to hold before the job starts and while it runs; otherwise it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_when: Vec<RunCondition>,
    /// Runs that may fail one after the other before the job waits for its next event; for ever if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Pause before a failed run is tried again; it doubles with each further failure, up to an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<TimeSpan>,
    /// Command line before each run; when it fails, the run does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_script: Option<String>,
    /// Command line after each run that went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_script: Option<String>,
    /// Command line after each run that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_script: Option<String>,
    /// The longest that one of these may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_timeout: Option<TimeSpan>,
    /// Greatest age that the newest good copy of each group may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<TimeSpan>,
    /// Run when an involved removable datastore is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_on_mount: Option<bool>,
    /// Unmount it afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmount_on_done: Option<bool>,
    /// Key that encrypts plain snapshots while pushing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_encryption_key: Option<String>,
    /// Keys that decrypt while pulling, or that a push once used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associated_key: Vec<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl SyncJobConfig {
    /// A job with its two datastores and nothing else set.
    pub fn new(id: JobId, store: StoreName, remote: Option<RemoteName>, remote_store: StoreName) -> Self {
        Self {
            id,
            store,
            ns: None,
            owner: None,
            remote,
            remote_store,
            remote_ns: None,
            sync_direction: None,
            disable: None,
            transfer_mode: None,
            fill_gaps: None,
            transfer_order: None,
            remove_vanished: None,
            sync_metadata: None,
            max_removals: None,
            max_depth: None,
            group_filter: Vec::new(),
            transfer_last: None,
            encrypted_only: None,
            verified_only: None,
            resync_corrupt: None,
            rate_in: None,
            burst_in: None,
            rate_out: None,
            burst_out: None,
            rate_schedule: None,
            verify: None,
            worker_threads: None,
            schedule: None,
            after: None,
            run_when: Vec::new(),
            max_attempts: None,
            retry_interval: None,
            pre_script: None,
            post_script: None,
            failure_script: None,
            script_timeout: None,
            objective: None,
            run_on_mount: None,
            unmount_on_done: None,
            active_encryption_key: None,
            associated_key: Vec::new(),
            comment: None,
        }
    }

    /// The direction, pull unless said otherwise.
    pub fn direction(&self) -> SyncDirection {
        self.sync_direction.unwrap_or_default()
    }

    /// The mode: as it is set, else `sync` with remove-vanished and `copy` without.
    pub fn mode(&self) -> TransferMode {
        self.transfer_mode.unwrap_or(match self.remove_vanished {
            Some(true) => TransferMode::Sync,
            _ => TransferMode::Copy,
        })
    }

    /// Whether schedule and mount may start it.
    pub fn is_enabled(&self) -> bool {
        self.disable != Some(true)
    }

    /// The owner, `root@pam` unless said otherwise.
    pub fn owner(&self) -> AuthId {
        self.owner.clone().unwrap_or_else(|| AuthId::from(root_user()))
    }

    /// The local anchor.
    pub fn ns(&self) -> Namespace {
        self.ns.clone().unwrap_or_else(Namespace::root)
    }

    /// The anchor at the other end.
    pub fn remote_ns(&self) -> Namespace {
        self.remote_ns.clone().unwrap_or_else(Namespace::root)
    }
}

/// The superuser.
pub(crate) fn root_user() -> UserId {
    #[expect(clippy::unwrap_used, reason = "a constant that a test parses")]
    "root@pam".parse().unwrap()
}

impl Entry for SyncJobConfig {
    const KIND: &'static str = "sync";
    const ID_KEY: &'static str = "id";
    const WHAT: &'static str = "sync job";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn check_properties(&self) -> Result<(), (&'static str, String)> {
        let at = |key: &'static str| move |reason: String| (key, reason);
        rules::range(self.max_depth, 0, 7).map_err(at("max-depth"))?;
        rules::at_least(self.transfer_last, 1).map_err(at("transfer-last"))?;
        rules::range(self.worker_threads, 1, 32).map_err(at("worker-threads"))?;
        rules::text(self.comment.as_deref(), 0, 128).map_err(at("comment"))?;
        rules::text(self.schedule.as_ref().map(Schedule::as_str), 1, 256).map_err(at("schedule"))?;
        rules::at_least(self.max_attempts, 1).map_err(at("max-attempts"))?;
        for (key, script) in [
            ("pre-script", &self.pre_script),
            ("post-script", &self.post_script),
            ("failure-script", &self.failure_script),
        ] {
            rules::text(script.as_deref(), 1, MAX_SCRIPT).map_err(at(key))?;
        }
        let second = TimeSpan::from_secs(1);
        for (key, span) in [
            ("retry-interval", self.retry_interval),
            ("script-timeout", self.script_timeout),
            ("objective", self.objective),
        ] {
            rules::at_least(span, second).map_err(at(key))?;
        }
        if let Some(key) = &self.active_encryption_key {
            key.parse::<JobId>().map_err(|_| ("active-encryption-key", format!("`{key}` is no key id")))?;
        }
        for key in &self.associated_key {
            key.parse::<JobId>().map_err(|_| ("associated-key", format!("`{key}` is no key id")))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let push = self.direction() == SyncDirection::Push;
        if self.remote.is_none() && push {
            return Err(ConfigError::invalid("remote", "a push needs a remote; local jobs pull"));
        }
        if self.remote.is_none() && self.store == self.remote_store {
            return Err(ConfigError::invalid("remote-store", "source and target are the same datastore"));
        }
        if push && self.verify.is_some() {
            return Err(ConfigError::invalid(
                "verify",
                "is for pulls; after a push the remote verifies if its datastore has verify-new",
            ));
        }
        if push && self.resync_corrupt.is_some() {
            return Err(ConfigError::invalid("resync-corrupt", "is for pulls; remove it from a push"));
        }
        if !push && self.active_encryption_key.is_some() {
            return Err(ConfigError::invalid("active-encryption-key", "is for pushes; remove it from a pull"));
        }
        self.check_mode(push)?;
        for (key, ns) in [("ns", self.ns()), ("remote-ns", self.remote_ns())] {
            let depth = ns.depth() + usize::from(self.max_depth.unwrap_or(0));
            if depth > MAX_DEPTH {
                return Err(ConfigError::invalid(
                    "max-depth",
                    format!("{key} `{ns}` and max-depth reach {depth} levels, {MAX_DEPTH} are possible"),
                ));
            }
        }
        if self.after.as_ref() == Some(&self.id) {
            return Err(ConfigError::invalid("after", "a job cannot follow itself"));
        }
        if self.unmount_on_done == Some(true) && self.run_on_mount != Some(true) {
            return Err(ConfigError::invalid("unmount-on-done", "has no effect without run-on-mount"));
        }
        Ok(())
    }
}

impl SyncJobConfig {
    /// Checks what the mode, the order and the removals of a job say about each other.
    fn check_mode(&self, push: bool) -> Result<()> {
        let wrong = |key: &'static str, reason: &str| Err(ConfigError::invalid(key, reason));
        match (self.transfer_mode, self.remove_vanished) {
            (Some(TransferMode::Copy), Some(true)) => {
                return wrong("transfer-mode", "`copy` removes nothing; unset remove-vanished, or choose `sync`");
            }
            (Some(TransferMode::Sync), Some(false)) => {
                return wrong("transfer-mode", "`sync` removes what vanished; unset remove-vanished, or choose `copy`");
            }
            (Some(TransferMode::Move), Some(true)) => {
                return wrong(
                    "transfer-mode",
                    "`move` removes at the source, not what vanished at the target; unset remove-vanished, or choose `sync`",
                );
            }
            _ => {}
        }
        if self.max_removals.is_some() && self.mode() != TransferMode::Sync {
            return wrong("max-removals", "has no meaning without remove-vanished; unset it");
        }
        if push && self.fill_gaps == Some(true) {
            return wrong("fill-gaps", "is for pulls; a remote takes only what is newer than its newest snapshot");
        }
        if self.transfer_order == Some(TransferOrder::NewestFirst) && self.fill_gaps != Some(true) {
            return wrong(
                "transfer-order",
                "`newest-first` needs fill-gaps; without it an interrupted run would leave out the older ones for good",
            );
        }
        Ok(())
    }

    /// Makes the job that copies the other way, for a restore: disabled, without schedule, in copy mode.
    ///
    /// Options that choose snapshots are left out, since all that was copied may be wanted back; rates change sides,
    /// and the key that encrypted becomes one that decrypts.
    pub fn reversed(&self, id: JobId) -> Self {
        let mut back = Self::new(id, self.store.clone(), self.remote.clone(), self.remote_store.clone());
        (back.ns, back.remote_ns) = (self.ns.clone(), self.remote_ns.clone());
        if self.remote.is_none() {
            std::mem::swap(&mut back.store, &mut back.remote_store);
            std::mem::swap(&mut back.ns, &mut back.remote_ns);
        } else {
            back.sync_direction = Some(match self.direction() {
                SyncDirection::Pull => SyncDirection::Push,
                SyncDirection::Push => SyncDirection::Pull,
            });
        }
        (back.rate_in, back.burst_in) = (self.rate_out.clone(), self.burst_out.clone());
        (back.rate_out, back.burst_out) = (self.rate_in.clone(), self.burst_in.clone());
        back.rate_schedule = self.rate_schedule.clone();
        back.owner = self.owner.clone();
        back.max_depth = self.max_depth;
        back.group_filter = self.group_filter.clone();
        back.worker_threads = self.worker_threads;
        back.associated_key = self.associated_key.clone();
        let active = self.active_encryption_key.clone().filter(|key| !back.associated_key.contains(key));
        back.associated_key.extend(active);
        back.disable = Some(true);
        back.transfer_mode = Some(TransferMode::Copy);
        back.comment = Some(format!("the way back of {}", self.id));
        back
    }
}

/// What else a change of a job brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The direction changed, and with it the mode to `copy`.
    ModeReset,
}

/// Resets the mode of a job whose direction changed: what removed at one end must not start to remove at the other. For
/// a move that is either end.
fn reset_mode(before: &SyncJobConfig, after: &mut SyncJobConfig) -> Result<Option<Consequence>> {
    if before.direction() == after.direction() || after.mode() == TransferMode::Copy {
        return Ok(None);
    }
    if before.mode() != after.mode() {
        return Err(ConfigError::invalid(
            "transfer-mode",
            "a change of direction resets it to `copy`; look at a dry run, then set it in a second update",
        ));
    }
    (after.transfer_mode, after.remove_vanished, after.max_removals) = (Some(TransferMode::Copy), None, None);
    Ok(Some(Consequence::ModeReset))
}

pub(crate) fn file(paths: &Paths) -> SectionFile {
    SectionFile { path: paths.sync_cfg(), mode: MODE_NORMAL, kinds: &["sync"] }
}

/// Loads all sync jobs.
///
/// # Errors
/// The file cannot be read. Broken sections are problems, not errors.
pub fn load(paths: &Paths) -> Result<Loaded<SyncJobConfig>> {
    file(paths).load()
}

/// Checks a stored job before it runs: what [`Entry::check`] finds is told with file and line.
///
/// # Errors
/// [`ConfigError::Line`] with the line of the property that contradicts another one, or of the job's header.
pub fn check(paths: &Paths, job: &SyncJobConfig) -> Result<()> {
    let Err(ConfigError::Invalid { property, reason }) = job.check() else { return job.check() };
    let file = file(paths);
    let document = file.read()?.0;
    let Some(section) = document.get(job.id.as_str()) else { return job.check() };
    let line = if section.get(&property).is_some() { section.line_of(&property) } else { section.line() };
    Err(ConfigError::line(&file.path, line, format!("section `sync: {}`: `{property}`: {reason}", job.id)))
}

/// Loads one sync job. Properties that contradict each other are found by [`Entry::check`].
///
/// # Errors
/// It is missing, or its section is broken (file, line and reason).
pub fn get(paths: &Paths, id: &JobId) -> Result<SyncJobConfig> {
    let file = file(paths);
    file.get(&file.read()?.0, id.as_str())
}

/// Adds a sync job.
///
/// # Errors
/// The id is taken, values do not fit or contradict each other, or a key it needs cannot be used.
pub fn create(paths: &Paths, entry: &SyncJobConfig) -> Result<()> {
    let file = file(paths);
    file.edit(None, |document| {
        file.create(document, entry)?;
        encryption_keys::of_job(paths, entry).map(drop)
    })
}

/// Changes a sync job. `expected` is the digest the caller has seen, if any.
///
/// An active encryption key that is replaced or unset stays as an associated one, so that nobody deletes it. A change of
/// direction resets the mode to `copy`.
///
/// # Errors
/// It is missing or broken, the file changed, values do not fit or contradict each other, or `change` fails.
pub fn update(
    paths: &Paths,
    id: &JobId,
    expected: Option<&ConfigDigest>,
    change: impl FnOnce(&mut SyncJobConfig) -> Result<()>,
) -> Result<Option<Consequence>> {
    let file = file(paths);
    let mut consequence = None;
    file.edit(expected, |document| {
        file.update(document, id.as_str(), |entry: &mut SyncJobConfig| {
            let before = entry.clone();
            change(entry)?;
            consequence = reset_mode(&before, entry)?;
            if let Some(old) = before.active_encryption_key.clone()
                && entry.active_encryption_key.as_ref() != Some(&old)
                && !entry.associated_key.contains(&old)
            {
                entry.associated_key.push(old);
            }
            // A job whose keys were lost since can still be changed otherwise.
            if keys_of(entry) != keys_of(&before) { encryption_keys::of_job(paths, entry).map(drop) } else { Ok(()) }
        })
    })?;
    Ok(consequence)
}

/// What decides which keys a job uses, and whether it may.
fn keys_of(job: &SyncJobConfig) -> (SyncDirection, AuthId, Option<&String>, &[String]) {
    (job.direction(), job.owner(), job.active_encryption_key.as_ref(), &job.associated_key)
}

/// Removes a sync job.
///
/// # Errors
/// It is missing, or the file changed.
pub fn remove(paths: &Paths, id: &JobId, expected: Option<&ConfigDigest>) -> Result<()> {
    let file = file(paths);
    file.edit(expected, |document| file.remove(document, SyncJobConfig::WHAT, id.as_str()))
}

/// The id of some job that names the remote; broken sections count.
pub(crate) fn any_that_names(paths: &Paths, remote: &RemoteName) -> Result<Option<String>> {
    any_with(paths, &["remote"], remote.as_str())
}

/// The id of some job that has one of the properties with that value; broken sections count.
pub(crate) fn any_with(paths: &Paths, keys: &[&str], value: &str) -> Result<Option<String>> {
    let (document, _) = file(paths).read()?;
    let user = document
        .sections()
        .chain(document.broken_sections())
        .find(|section| keys.iter().any(|key| section.get_all(key).any(|name| name == value)))
        .map(|section| section.id().to_owned());
    Ok(user)
}

/// Names in a job that this server does not know (yet), as sentences for a warning.
///
/// # Errors
/// A file cannot be read.
pub fn missing_references(paths: &Paths, job: &SyncJobConfig) -> Result<Vec<String>> {
    Ok(missing_entries(paths, job)?.into_iter().map(|(_, sentence)| sentence).collect())
}

/// The same, each with the property that has the name.
pub(crate) fn missing_entries(paths: &Paths, job: &SyncJobConfig) -> Result<Vec<(&'static str, String)>> {
    let mut missing = Vec::new();
    let stores = datastores::load(paths)?;
    if stores.find(&job.store).is_none() {
        missing.push(("store", format!("datastore `{}` is not configured here", job.store)));
    }
    match &job.remote {
        Some(remote) if remotes::load(paths)?.find(remote).is_none() => {
            missing.push(("remote", format!("remote `{remote}` is not configured here")));
        }
        None if stores.find(&job.remote_store).is_none() => {
            missing.push(("remote-store", format!("datastore `{}` is not configured here", job.remote_store)));
        }
        _ => {}
    }
    Ok(missing)
}
