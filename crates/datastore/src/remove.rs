//! Removing snapshots, groups and namespaces.
//!
//! A removal can die half-way. The manifest goes first, so that what is left never looks like a backup. Chunks are not touched; only
//! garbage collection frees their space. Lock files go with their objects.

use formats::{GroupId, MANIFEST_NAME, Namespace, SnapshotId};

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind};
use crate::locks::{GroupLock, SnapshotLock};
use crate::store::{Datastore, SyncLevel};

/// What a removal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovalStats {
    /// Groups removed.
    pub groups: u64,
    /// Snapshots removed.
    pub snapshots: u64,
    /// Snapshots that stayed because they are protected.
    pub protected_snapshots: u64,
    /// Namespaces removed.
    pub namespaces: u64,
}

impl RemovalStats {
    fn add(&mut self, other: Self) {
        self.groups += other.groups;
        self.snapshots += other.snapshots;
        self.protected_snapshots += other.protected_snapshots;
        self.namespaces += other.namespaces;
    }
}

impl Datastore {
    /// Removes a snapshot, and its group when it was the last and nobody holds the group.
    ///
    /// `force` removes a protected one as well.
    ///
    /// # Errors
    /// Not found; [`Busy`](DatastoreError::Busy) while it is read or written; [`Protected`](DatastoreError::Protected).
    pub fn remove_snapshot(&self, ns: &Namespace, snapshot: &SnapshotId, force: bool) -> Result<()> {
        let lock = self.lock_snapshot_exclusive(ns, snapshot)?;
        self.remove_locked(&lock, force)?;
        drop(lock);
        match self.lock_group(ns, &snapshot.group) {
            Ok(group) => self.remove_group_if_empty(&group).map(drop),
            // Somebody works in the group, or has removed it.
            Err(e) if e.is_busy() || e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn remove_locked(&self, lock: &SnapshotLock, force: bool) -> Result<()> {
        let (ns, snapshot) = (lock.namespace(), lock.snapshot());
        let manifest_lock = self.lock_manifest(ns, snapshot)?;
        if !force && self.protected(ns, snapshot)? {
            return Err(DatastoreError::Protected { what: self.snapshot_text(ns, snapshot) });
        }
        let dir = self.snapshot_dir(ns, snapshot);
        if files::remove_file(&dir.join(MANIFEST_NAME))? && self.sync_level() != SyncLevel::None {
            files::sync_dir(&dir)?;
        }
        files::remove_tree(&dir)?;
        manifest_lock.unlink()?;
        lock.file.unlink()
    }

    /// Removes a group whose snapshots are all gone, with its small files and its lock file. Returns whether it did.
    ///
    /// One that holds anything else stays: whatever somebody put there is not ours to remove.
    pub(crate) fn remove_group_if_empty(&self, lock: &GroupLock) -> Result<bool> {
        let (ns, group) = (lock.namespace(), lock.group());
        if !self.snapshots(ns, group)?.is_empty() {
            return Ok(false);
        }
        let dir = self.group_dir(ns, group);
        let entries = files::list(&dir)?.unwrap_or_default();
        let is_ours = |name: &str| matches!(name, "owner" | "notes") || files::is_temporary_name(name);
        if let Some((stranger, _)) = entries.iter().find(|(name, kind)| *kind != EntryKind::File || !is_ours(name)) {
            tracing::warn!(group = %self.group_text(ns, group), "an empty group stays, because it holds `{stranger}`");
            return Ok(false);
        }
        // Dying in the middle is fine: a group without owner and snapshots counts as new when it is used again.
        for (name, _) in &entries {
            files::remove_file(&dir.join(name))?;
        }
        if !files::remove_empty_dir(&dir)? && files::exists(&dir)? {
            return Ok(false);
        }
        lock.0.file.unlink()?;
        Ok(true)
    }

    /// Removes all snapshots of a group that are not protected, and the group when none is left.
    ///
    /// # Errors
    /// Not found; [`Busy`](DatastoreError::Busy) when the group or one of its snapshots is in use. Snapshots before that are gone.
    pub fn remove_group(&self, ns: &Namespace, group: &GroupId) -> Result<RemovalStats> {
        let lock = self.lock_group(ns, group)?;
        let mut stats = RemovalStats::default();
        for entry in self.snapshots(ns, group)? {
            let removed =
                self.lock_snapshot_exclusive(ns, &entry.id).and_then(|snapshot| self.remove_locked(&snapshot, false));
            match removed {
                Ok(()) => stats.snapshots += 1,
                Err(e) if e.is_protected() => stats.protected_snapshots += 1,
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        if self.remove_group_if_empty(&lock)? {
            stats.groups = 1;
        }
        Ok(stats)
    }

    /// Removes a namespace and those in it, deepest first: the empty ones, or with `delete_groups` all that their protected
    /// snapshots do not keep. One that does not exist is fine.
    ///
    /// Ask [`namespace_exists`](Self::namespace_exists) afterwards to know whether something was left.
    ///
    /// # Errors
    /// The root namespace; [`Busy`](DatastoreError::Busy) groups; disk errors.
    pub fn remove_namespace(&self, ns: &Namespace, delete_groups: bool) -> Result<RemovalStats> {
        if ns.is_root() {
            return Err(DatastoreError::Refused("the root namespace cannot be removed".to_owned()));
        }
        let mut stats = RemovalStats::default();
        if !self.namespace_exists(ns)? {
            return Ok(stats);
        }
        for ns in self.namespaces(ns, None)?.iter().rev() {
            if delete_groups {
                for group in self.groups(ns)? {
                    stats.add(self.remove_group(ns, &group)?);
                }
            }
            let dir = self.namespace_dir(ns);
            for part in ["vm", "ct", "host", "ns"] {
                files::remove_empty_dir(&dir.join(part))?;
            }
            if files::remove_empty_dir(&dir)? {
                stats.namespaces += 1;
            }
        }
        if let Some(parent) = ns.parent() {
            files::remove_empty_dir(&self.namespace_dir(&parent).join("ns"))?;
        }
        Ok(stats)
    }
}
