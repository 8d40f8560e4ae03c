//! Groups: directories `<type>/<id>`, each with its `owner` and perhaps `notes`.

use std::path::Path;
use std::time::Duration;

use formats::{AuthId, BackupType, GroupId, Namespace};

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind};
use crate::locks::GroupLock;
use crate::locks::object::{LockFile, Mode};
use crate::store::{Datastore, SyncLevel};

/// An authentication id is far shorter; what is longer is no owner file.
const MAX_OWNER_FILE: u64 = 4096;
/// Far more than anybody types.
const MAX_NOTES_FILE: u64 = 1 << 20;
const SMALL_FILE_MODE: u32 = 0o644;

impl Datastore {
    /// Lists the groups of a namespace, sorted.
    ///
    /// # Errors
    /// [`NamespaceMissing`](DatastoreError::NamespaceMissing), or a directory that cannot be read.
    pub fn groups(&self, ns: &Namespace) -> Result<Vec<GroupId>> {
        self.require_namespace(ns)?;
        let dir = self.namespace_dir(ns);
        let mut groups = Vec::new();
        for backup_type in BackupType::ALL {
            let entries = files::list(&dir.join(backup_type.as_str()))?.unwrap_or_default();
            groups.extend(entries.into_iter().filter(|(_, kind)| *kind == EntryKind::Dir).filter_map(|(name, _)| {
                let id = name.parse().ok()?;
                Some(GroupId { backup_type, id })
            }));
        }
        groups.sort();
        Ok(groups)
    }

    /// Tells whether a group's directory exists.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn group_exists(&self, ns: &Namespace, group: &GroupId) -> Result<bool> {
        files::dir_exists(&self.group_dir(ns, group))
    }

    /// Reads who owns a group.
    ///
    /// # Errors
    /// Not found when there is no such group; [`NoOwner`](DatastoreError::NoOwner) when its owner file is missing or wrong.
    pub fn owner(&self, ns: &Namespace, group: &GroupId) -> Result<AuthId> {
        match self.read_owner(ns, group)? {
            OwnerFile::Good(owner) => Ok(owner),
            OwnerFile::Missing => {
                self.require_group(ns, group)?;
                Err(self.no_owner(ns, group, "it has no file `owner`"))
            }
            OwnerFile::Bad(reason) => Err(self.no_owner(ns, group, &reason)),
        }
    }

    fn read_owner(&self, ns: &Namespace, group: &GroupId) -> Result<OwnerFile> {
        let Some(bytes) = files::read(&self.group_dir(ns, group).join("owner"), MAX_OWNER_FILE)? else {
            return Ok(OwnerFile::Missing);
        };
        let Ok(text) = String::from_utf8(bytes) else { return Ok(OwnerFile::Bad("its file is no text".to_owned())) };
        let line = text.lines().next().unwrap_or_default().trim_end();
        Ok(match line.parse() {
            Ok(owner) => OwnerFile::Good(owner),
            // What a loss of power leaves of a file that was never synced.
            Err(_) if line.is_empty() => OwnerFile::Missing,
            Err(e) => OwnerFile::Bad(e.to_string()),
        })
    }

    /// Gives a group to another owner, under its lock.
    ///
    /// # Errors
    /// Not found, [`Busy`](DatastoreError::Busy), or a disk error.
    pub fn set_owner(&self, ns: &Namespace, group: &GroupId, owner: &AuthId) -> Result<()> {
        let _lock = self.lock_group(ns, group)?;
        self.write_owner(ns, group, owner)
    }

    fn write_owner(&self, ns: &Namespace, group: &GroupId, owner: &AuthId) -> Result<()> {
        let dir = self.group_dir(ns, group);
        self.replace_small(&dir.join("owner"), format!("{owner}\n").as_bytes())
    }

    /// Reads a group's notes; a group without notes has empty ones.
    ///
    /// # Errors
    /// Not found when there is no such group; notes that are no text.
    pub fn group_notes(&self, ns: &Namespace, group: &GroupId) -> Result<String> {
        let path = self.group_dir(ns, group).join("notes");
        match files::read(&path, MAX_NOTES_FILE)? {
            Some(bytes) => String::from_utf8(bytes)
                .map_err(|_| DatastoreError::Corrupt { path, reason: "is not UTF-8 text".to_owned() }),
            None => self.require_group(ns, group).map(|()| String::new()),
        }
    }

    /// Replaces a group's notes, under its lock.
    ///
    /// # Errors
    /// Not found, [`Busy`](DatastoreError::Busy), or a disk error.
    pub fn set_group_notes(&self, ns: &Namespace, group: &GroupId, notes: &str) -> Result<()> {
        let _lock = self.lock_group(ns, group)?;
        self.replace_small(&self.group_dir(ns, group).join("notes"), notes.as_bytes())
    }

    /// Locks an existing group exclusively, without waiting.
    ///
    /// # Errors
    /// Not found, or [`Busy`](DatastoreError::Busy).
    pub fn lock_group(&self, ns: &Namespace, group: &GroupId) -> Result<GroupLock> {
        self.require_group(ns, group)?;
        let file = self.lock_group_file(ns, group)?;
        // It may have been removed between the look and the lock.
        if let Err(gone) = self.require_group(ns, group) {
            file.unlink()?;
            return Err(gone);
        }
        Ok(GroupLock::new(file, ns, group, false))
    }

    fn lock_group_file(&self, ns: &Namespace, group: &GroupId) -> Result<LockFile> {
        let path = self.lock_file(ns, &group.to_string())?;
        let what = self.group_text(ns, group);
        LockFile::acquire(&path, Mode::Exclusive, Duration::ZERO, &what, self.owner_of_files())
    }

    /// Locks a group exclusively, making it for `owner` when it does not exist.
    ///
    /// Returns the lock, the group's actual owner, and whether the group is new. The namespace must exist. A group directory that
    /// has neither owner nor snapshots was left by a death in the middle of this call; it counts as new.
    ///
    /// # Errors
    /// A missing namespace, [`Busy`](DatastoreError::Busy), [`NoOwner`](DatastoreError::NoOwner) for a group that holds snapshots
    /// but no usable owner.
    pub fn lock_or_create_group(
        &self,
        ns: &Namespace,
        group: &GroupId,
        owner: &AuthId,
    ) -> Result<(GroupLock, AuthId, bool)> {
        self.require_namespace(ns)?;
        // Checked before anything is made: all lock names of the group's snapshots.
        self.lock_file(ns, &format!("{group}/0000-00-00T00:00:00Z/.index.json.lck"))?;
        let file = self.lock_group_file(ns, group)?;
        match self.read_owner(ns, group)? {
            OwnerFile::Good(actual) => return Ok((GroupLock::new(file, ns, group, false), actual, false)),
            OwnerFile::Bad(reason) => return Err(self.no_owner(ns, group, &reason)),
            OwnerFile::Missing => {}
        }
        if !self.snapshots(ns, group)?.is_empty() {
            return Err(self.no_owner(ns, group, "it has no file `owner`"));
        }
        let made = files::make_dirs(&self.namespace_dir(ns), &group.dir_path(), self.owner_of_files())
            .and_then(|()| self.write_owner(ns, group, owner));
        if let Err(e) = made {
            let _ = files::remove_empty_dir(&self.group_dir(ns, group));
            let _ = file.unlink();
            return Err(e);
        }
        Ok((GroupLock::new(file, ns, group, true), owner.clone(), true))
    }

    pub(crate) fn require_group(&self, ns: &Namespace, group: &GroupId) -> Result<()> {
        if self.group_exists(ns, group)? {
            return Ok(());
        }
        Err(DatastoreError::NotFound { what: self.group_text(ns, group) })
    }

    fn no_owner(&self, ns: &Namespace, group: &GroupId, reason: &str) -> DatastoreError {
        DatastoreError::NoOwner { group: self.group_text(ns, group), reason: reason.to_owned() }
    }

    /// Replaces a small file beside others, as durably as the datastore wants it.
    pub(crate) fn replace_small(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let durability = self.sync_level().replaced_file();
        files::replace(path, bytes, SMALL_FILE_MODE, self.owner_of_files(), durability)?;
        match path.parent() {
            Some(dir) if self.sync_level() != SyncLevel::None => files::sync_dir(dir),
            _ => Ok(()),
        }
    }
}

enum OwnerFile {
    Good(AuthId),
    Missing,
    Bad(String),
}
