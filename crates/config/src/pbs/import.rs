//! Takes over the configuration of a stock server, entry by entry. What is here already stays as it is.

use std::fs;
use std::path::Path;

use formats::{AuthId, CryptKey, KeyFile};
use section_config::{Section, SectionConfig};

use super::{Fate, Imported, kept};
use crate::{
    acl::{self, Acl},
    datastores::{self, DatastoreConfig},
    encryption_keys::{self, EncryptionKeyConfig},
    error::{ConfigError, Result},
    files::{self, FileLock, MODE_NORMAL},
    paths::Paths,
    remotes::{self, RemoteConfig},
    server_conf::ServerConf,
    store::{Entry, SectionFile, read_section},
    sync_jobs::{self, SyncJobConfig, TransferMode},
    users::{self, TokenConfig, UserConfig},
};

/// How an import is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Take jobs over disabled.
    pub disable_jobs: bool,
    /// The time, Unix seconds.
    pub now: i64,
}

/// Takes over what is in the directory `from`, such as `/etc/proxmox-backup`.
///
/// Entries that cannot be taken over are told and left out; the others are.
///
/// # Errors
/// The directory, or a file of ours, cannot be read.
pub fn import(paths: &Paths, from: &Path, options: ImportOptions) -> Result<Imported> {
    fs::read_dir(from).map_err(ConfigError::io("read", from))?;
    let mut import = Import { paths, from, options, report: Imported::default(), keys: Vec::new() };
    import.datastores()?;
    import.remotes()?;
    import.users()?;
    import.acl()?;
    import.keys()?;
    import.jobs()?;
    import.files()?;
    Ok(import.report)
}

struct Import<'a> {
    paths: &'a Paths,
    from: &'a Path,
    options: ImportOptions,
    report: Imported,
    /// The encryption keys that are here, or will be.
    keys: Vec<String>,
}

impl Import<'_> {
    /// The sections of a file there. What is broken is told.
    fn read(&mut self, name: &'static str, kinds: &'static [&'static str]) -> Result<SectionConfig> {
        let file = SectionFile { path: self.from.join(name), mode: MODE_NORMAL, kinds };
        let (document, _) = file.read()?;
        for problem in file.problems(&document).into_iter().filter(|problem| problem.breaks_section) {
            self.report.add(name, format!("line {}", problem.line), Fate::Skipped, vec![problem.reason]);
        }
        Ok(document)
    }

    /// Takes one entry over: `exists` says whether one of its name is here, `create` adds it, or only looks whether it
    /// could with a dry run.
    ///
    /// Properties that contradict others here are left out and told, one by one.
    fn take<T: Entry>(
        &mut self,
        name: &'static str,
        section: &Section,
        exists: bool,
        adjust: impl FnOnce(&mut Section, &mut Vec<String>),
        create: impl FnOnce(&Paths, &T, bool) -> Result<()>,
    ) -> Option<T> {
        let mut notes = Vec::new();
        let mut section = section.clone();
        if exists {
            self.report.add(name, section.id(), Fate::Exists, notes);
            return None;
        }
        adjust(&mut section, &mut notes);
        let taken = consistent::<T>(&mut section, &mut notes).and_then(|entry| {
            create(self.paths, &entry, self.options.dry_run)?;
            Ok(entry)
        });
        match taken {
            Ok(entry) => {
                self.report.add(name, section.id(), Fate::Taken, notes);
                Some(entry)
            }
            Err(error) => {
                notes.push(error.to_string());
                self.report.add(name, section.id(), Fate::Skipped, notes);
                None
            }
        }
    }

    fn datastores(&mut self) -> Result<()> {
        let name = "datastore.cfg";
        let here = datastores::load(self.paths)?;
        for section in self.read(name, &["datastore"])?.sections() {
            let exists = here.find(section.id()).is_some();
            let adjust = |section: &mut Section, notes: &mut Vec<String>| {
                notes.extend(without_effect(section, &DATASTORE_WITHOUT_EFFECT));
            };
            let taken = self.take(name, section, exists, adjust, |paths, entry: &DatastoreConfig, dry| {
                usable(entry)?;
                if dry { datastores::check_new(paths, entry) } else { datastores::create(paths, entry) }
            });
            if let Some(store) = taken {
                self.look_at(&store);
            }
        }
        Ok(())
    }

    /// Tells what keeps a datastore from being used.
    fn look_at(&mut self, store: &DatastoreConfig) {
        let path = store.path.display();
        let reason = match (usable(store), store.path.join(".chunks").is_dir()) {
            (Err(error), _) => error.to_string(),
            (Ok(()), false) => format!("{path} is no datastore (yet): mount it, or it stays unusable"),
            (Ok(()), true) => return,
        };
        self.report.remind(format!("datastore {}: {reason}", store.name));
    }

    fn remotes(&mut self) -> Result<()> {
        let name = "remote.cfg";
        let here = remotes::load(self.paths)?;
        let has_proxy = ServerConf::load(self.paths).is_ok_and(|(conf, _)| conf.http_proxy.is_some());
        for section in self.read(name, &["remote"])?.sections() {
            let exists = here.find(section.id()).is_some();
            let taken = self.take(name, section, exists, |_, _| {}, unless_dry(remotes::create));
            if taken.is_some_and(|remote: RemoteConfig| remote.use_node_proxy == Some(true)) && !has_proxy {
                let conf = self.paths.server_conf();
                self.report.remind(format!("set `[node] http-proxy` in {}: remotes use it", conf.display()));
            }
        }
        Ok(())
    }

    fn users(&mut self) -> Result<()> {
        let name = "user.cfg";
        let here = users::load(self.paths)?;
        for section in self.read(name, &["user", "token"])?.sections() {
            if section.kind() == UserConfig::KIND {
                self.user(name, section, &here);
            } else {
                let exists = here.tokens.iter().any(|token| token.id() == section.id());
                let taken = self.take(name, section, exists, |_, _| {}, unless_dry(users::add_token));
                if let Some(TokenConfig { tokenid, .. }) = taken {
                    let id = tokenid.to_string();
                    let (user, token) = id.split_once('!').unwrap_or((&id, ""));
                    self.report.remind(format!(
                        "API token {tokenid} has no secret yet: user generate-token {user} {token} --regenerate"
                    ));
                }
            }
        }
        Ok(())
    }

    fn user(&mut self, name: &'static str, section: &Section, here: &users::Users) {
        let is_root = section.id() == "root@pam";
        let exists = here.users.iter().any(|user| user.id() == section.id());
        let taken = if is_root {
            // The superuser is always here, in the file only if something is said of it.
            let said = users::file(self.paths).read().is_ok_and(|(file, _)| file.line_of(section.id()).is_some());
            let update = unless_dry(|paths: &Paths, entry: &UserConfig| {
                users::update(paths, &entry.userid, None, |root| {
                    root.clone_from(entry);
                    Ok(())
                })
            });
            self.take(name, section, said, |_, _| {}, update)
        } else {
            let create = unless_dry(|paths: &Paths, entry: &UserConfig| users::create(paths, entry, None));
            self.take(name, section, exists, |_, _| {}, create)
        };
        match taken {
            Some(user) if user.userid.realm() == "pbs" => {
                self.report.remind(format!("user {0} has no password yet: user passwd {0}", user.userid));
            }
            Some(user) if !is_root => {
                self.report
                    .remind(format!("user {} has no password here (realm pbs only): use API tokens", user.userid));
            }
            _ => {}
        }
    }

    fn acl(&mut self) -> Result<()> {
        let name = "acl.cfg";
        let bytes = files::read(&self.from.join(name))?;
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() {
            return Ok(());
        }
        // A line that is left out might be the one that forbids.
        let theirs = match Acl::parse(&text) {
            Ok(theirs) => theirs,
            Err(error) => {
                self.report.add(name, "", Fate::Skipped, vec![error.to_string()]);
                return Ok(());
            }
        };
        let (mine, _) = acl::load(self.paths)?;
        let mut new = Vec::new();
        for entry in theirs.entries() {
            let shown = format!("{} {} {}", entry.path, entry.ugid, entry.role.name());
            // Roles of one identity on one path belong together: whoever is there already stays as he is.
            let exists = mine.entries().iter().any(|one| one.path == entry.path && one.ugid == entry.ugid);
            match entry.ugid.parse::<AuthId>() {
                _ if exists => self.report.add(name, shown, Fate::Exists, Vec::new()),
                Ok(auth_id) if !entry.is_group => {
                    self.report.add(name, shown, Fate::Taken, Vec::new());
                    new.push((entry.path, auth_id, entry.role, entry.propagate));
                }
                _ => {
                    let reason = "groups have no members, here and there".to_owned();
                    self.report.add(name, shown, Fate::Skipped, vec![reason]);
                }
            }
        }
        if self.options.dry_run { Ok(()) } else { acl::grant_all(self.paths, &new) }
    }

    fn keys(&mut self) -> Result<()> {
        let name = "encryption-keys.cfg";
        let here = encryption_keys::load(self.paths)?;
        self.keys = here.entries.iter().map(Entry::id).collect();
        for section in self.read(name, &["sync-key"])?.sections() {
            let exists = here.find(section.id()).is_some();
            let beside = self.from.join("encryption-keys").join(format!("{}.enc", section.id()));
            let now = self.options.now;
            let create = |paths: &Paths, entry: &EncryptionKeyConfig, dry| {
                let key = open_key(entry, if beside.exists() { &beside } else { &entry.path })?;
                if dry { Ok(()) } else { add_key(paths, entry, &key, now) }
            };
            if let Some(key) = self.take(name, section, exists, |_, _| {}, create) {
                self.keys.push(key.id());
            }
        }
        Ok(())
    }

    fn jobs(&mut self) -> Result<()> {
        let name = "sync.cfg";
        let here = sync_jobs::load(self.paths)?;
        let disable = self.options.disable_jobs;
        let mut any = false;
        for section in self.read(name, &["sync"])?.sections() {
            let exists = here.find(section.id()).is_some();
            let adjust = |section: &mut Section, notes: &mut Vec<String>| {
                notes.extend(without_effect(section, &JOB_WITHOUT_EFFECT));
                // The root namespace: said by leaving the key out.
                for key in ["ns", "remote-ns"] {
                    if section.get(key) == Some("") {
                        section.unset(key);
                    }
                }
                let bad = section.get("schedule").and_then(|text| text.parse::<calendar::Schedule>().err());
                if let Some(error) = bad {
                    notes.push(format!("`schedule` is left out, the job starts by hand only: {error}"));
                    section.unset("schedule");
                }
                if disable {
                    section.set("disable", "true");
                }
            };
            let keys = self.keys.clone();
            let create = |paths: &Paths, job: &SyncJobConfig, dry| {
                refuse_without_keys(job, &keys)?;
                if dry { Ok(()) } else { sync_jobs::create(paths, job) }
            };
            if let Some(job) = self.take(name, section, exists, adjust, create) {
                any |= job.is_enabled() && job.schedule.is_some();
                self.differences(&job);
            }
        }
        if any {
            self.report.remind("remove the schedules of these jobs at the old server, or both run them");
        }
        Ok(())
    }

    /// What a job will do otherwise than there.
    fn differences(&mut self, job: &SyncJobConfig) {
        let Some(line) = self.report.entries.last_mut() else { return };
        if job.mode() == TransferMode::Sync {
            let note = "removes at most a fifth of the snapshots at the target in one run (`max-removals`)";
            line.notes.push(note.to_owned());
        }
        let event = job.schedule.as_ref().and_then(|text| text.to_string().parse::<calendar::CalendarEvent>().ok());
        for difference in event.iter().flat_map(|event| event.differences()) {
            if difference.reading() == calendar::Reading::Systemd {
                line.notes.push(format!("`schedule`: {difference}"));
            }
        }
    }

    fn files(&mut self) -> Result<()> {
        for (name, about) in kept::FILES {
            let Some(bytes) = files::read_if_there(&self.from.join(name))? else { continue };
            let place = self.paths.etc().join(name);
            if place.exists() {
                self.report.add(name, "", Fate::Exists, Vec::new());
                continue;
            }
            if !self.options.dry_run {
                FileLock::take(&place)?.replace(&bytes, MODE_NORMAL)?;
            }
            self.report.add(name, "", Fate::Kept, vec![about.to_owned()]);
        }
        for (name, about) in kept::left_in(self.from) {
            self.report.add(name, "", Fate::Skipped, vec![about.to_owned()]);
        }
        if self.from.join("proxy.pem").exists() {
            self.report.remind(
                "this server has a certificate of its own: tell clients its fingerprint (cert info), or set `[server] \
                 certificate` and `key` to copies of the old one",
            );
        }
        Ok(())
    }
}

const DATASTORE_WITHOUT_EFFECT: [&str; 12] = [
    "gc-schedule",
    "gc-on-unmount",
    "prune-schedule",
    "keep-last",
    "keep-hourly",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
    "keep-yearly",
    "notification-mode",
    "notification-thresholds",
    "counter-reset-schedule",
];

const JOB_WITHOUT_EFFECT: [&str; 2] = ["run-on-mount", "unmount-on-done"];

/// Properties that are kept and do nothing here.
fn without_effect(section: &Section, keys: &[&str]) -> Option<String> {
    let found: Vec<String> =
        keys.iter().filter(|key| section.get(key).is_some()).map(|key| format!("`{key}`")).collect();
    (!found.is_empty()).then(|| format!("without effect here: {}", found.join(", ")))
}

/// Reads an entry and leaves out, one by one, what is unknown or contradicts the rest.
fn consistent<T: Entry>(section: &mut Section, notes: &mut Vec<String>) -> Result<T> {
    loop {
        let invalid = |key: Option<String>, reason| ConfigError::Invalid { property: key.unwrap_or_default(), reason };
        let (entry, unknown) = read_section::<T>(section).map_err(|error| invalid(error.key, error.reason))?;
        if let Some((_, key)) = unknown.first() {
            notes.push(format!("`{key}` is unknown here, and left out"));
            section.unset(key);
            continue;
        }
        match entry.check() {
            Ok(()) => return Ok(entry),
            Err(ConfigError::Invalid { property, reason }) if section.unset(&property) => {
                // One that the entry cannot do without fails to read in the next round.
                notes.push(format!("`{property}` is left out: {reason}"));
            }
            Err(error) => return Err(error),
        }
    }
}

fn usable(store: &DatastoreConfig) -> Result<()> {
    if store.backend()?.kind != "filesystem" {
        return Err(ConfigError::Refused("datastores in object stores are not supported".to_owned()));
    }
    if store.backing_device.is_some() {
        return Err(ConfigError::Refused("removable datastores are not supported".to_owned()));
    }
    Ok(())
}

/// Opens the key that `entry` tells of.
fn open_key(entry: &EncryptionKeyConfig, file: &Path) -> Result<CryptKey> {
    let refused = |why: String| ConfigError::Refused(format!("{}: {why}", file.display()));
    let bytes = files::read_if_there(file)?.ok_or_else(|| refused("the key's file is not there".to_owned()))?;
    let parsed = KeyFile::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    let key = parsed.unlock(None).map_err(|error| refused(error.to_string()))?;
    if key.fingerprint() != entry.fingerprint {
        return Err(refused("holds another key than is written of it".to_owned()));
    }
    Ok(key)
}

/// Keeps a key under the name and with the dates of `entry`.
fn add_key(paths: &Paths, entry: &EncryptionKeyConfig, key: &CryptKey, now: i64) -> Result<()> {
    encryption_keys::add(paths, &entry.id, key, entry.hint.clone(), entry.created, now)?;
    match entry.archived_at {
        Some(time) => encryption_keys::set_archived(paths, &entry.id, Some(time), None),
        None => Ok(()),
    }
}

/// A creation that a dry run leaves out.
fn unless_dry<T>(create: impl FnOnce(&Paths, &T) -> Result<()>) -> impl FnOnce(&Paths, &T, bool) -> Result<()> {
    move |paths, entry, dry| if dry { Ok(()) } else { create(paths, entry) }
}

/// Refuses a job whose keys are not here, whether or not they would be needed at once.
fn refuse_without_keys(job: &SyncJobConfig, keys: &[String]) -> Result<()> {
    let needed = job.active_encryption_key.iter().chain(&job.associated_key);
    match needed.into_iter().find(|key| !keys.contains(key)) {
        Some(key) => Err(ConfigError::Refused(format!("its encryption key `{key}` is not here; import that first"))),
        None => Ok(()),
    }
}
