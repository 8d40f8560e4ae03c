//! The fingerprint of what a listing shows: whether anything changed, without listing it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use formats::{
    ArchiveName, AuthId, GroupId, ListedSnapshot, ListingFingerprint, ListingHasher, ManifestHash, Namespace,
    SnapshotId,
};

use crate::error::{DatastoreError, Result};
use crate::stamp::FileStamp;
use crate::store::Datastore;

/// Whose listing it is: what somebody without all rights does not see.
pub trait Viewer {
    /// Whether the namespace is listed.
    fn sees_namespace(&self, ns: &Namespace) -> bool;

    /// Whether a group of a namespace that is listed is listed too. It may have no usable owner.
    fn sees_group(&self, ns: &Namespace, group: &GroupId, owner: Option<&AuthId>) -> bool;
}

/// Sees everything.
impl Viewer for () {
    fn sees_namespace(&self, _: &Namespace) -> bool {
        true
    }

    fn sees_group(&self, _: &Namespace, _: &GroupId, _: Option<&AuthId>) -> bool {
        true
    }
}

/// Manifests kept at most, about 200 bytes each. Beyond that all are forgotten, and read again when asked for.
const MOST_KEPT: usize = 1 << 17;

/// Hashes of manifests, kept as long as their files stay as they are. Worth sharing between fingerprints of one datastore.
#[derive(Debug, Default)]
pub struct ManifestHashes(Mutex<HashMap<(Namespace, SnapshotId), (FileStamp, ManifestHash)>>);

impl ManifestHashes {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Namespace, SnapshotId), (FileStamp, ManifestHash)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the hash of a manifest; `None` when there is none (any more).
    fn get(&self, store: &Datastore, ns: &Namespace, id: &SnapshotId, now: SystemTime) -> Result<Option<ManifestHash>> {
        let name = ArchiveName::manifest();
        let Some(stamp) = store.file_stamp(ns, id, &name)? else { return Ok(None) };
        let key = (ns.clone(), id.clone());
        if let Some((known, hash)) = self.lock().get(&key)
            && *known == stamp
        {
            return Ok(Some(*hash));
        }
        let bytes = match store.read_file(ns, id, &name) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let hash = ManifestHash::of(&bytes);
        // One that was replaced between the look and the read has another stamp, and is read again next time.
        if stamp.is_settled(now) {
            let mut kept = self.lock();
            if kept.len() >= MOST_KEPT {
                kept.clear();
            }
            kept.insert(key, (stamp, hash));
        }
        Ok(Some(hash))
    }
}

impl Datastore {
    /// Computes the fingerprint of `below` and the namespaces in it, at most `max_depth` levels deeper, as `viewer` sees them.
    ///
    /// It changes with namespaces, groups, their owners and notes, and with finished snapshots: their manifests (so notes and
    /// verify states), their protection and their logs. Indexes and chunks are not looked at.
    ///
    /// # Errors
    /// [`NamespaceMissing`](DatastoreError::NamespaceMissing); whatever cannot be read, an unusable owner excepted.
    pub fn listing_fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
        viewer: &impl Viewer,
        manifests: &ManifestHashes,
    ) -> Result<ListingFingerprint> {
        let now = SystemTime::now();
        let mut hasher = ListingHasher::new();
        let mut namespaces = self.namespaces(below, max_depth)?;
        namespaces.sort();
        for ns in namespaces.iter().filter(|ns| viewer.sees_namespace(ns)) {
            hasher.namespace(ns);
            for group in self.groups(ns)? {
                let owner = match self.owner(ns, &group) {
                    Ok(owner) => Some(owner),
                    Err(DatastoreError::NoOwner { .. }) => None,
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                };
                if viewer.sees_group(ns, &group, owner.as_ref()) {
                    self.add_group(&mut hasher, ns, &group, owner.as_ref(), manifests, now)?;
                }
            }
        }
        Ok(hasher.finish())
    }

    fn add_group(
        &self,
        hasher: &mut ListingHasher,
        ns: &Namespace,
        group: &GroupId,
        owner: Option<&AuthId>,
        manifests: &ManifestHashes,
        now: SystemTime,
    ) -> Result<()> {
        let notes = match self.group_notes(ns, group) {
            Err(error) if error.is_not_found() => return Ok(()),
            notes => notes?,
        };
        hasher.group(group, owner, &notes);
        for entry in self.snapshots(ns, group)?.iter().filter(|entry| entry.finished) {
            let Some(manifest) = manifests.get(self, ns, &entry.id, now)? else { continue };
            let log = self.file_stamp(ns, &entry.id, &ArchiveName::client_log())?;
            hasher.snapshot(&ListedSnapshot {
                time: entry.id.time,
                manifest,
                protected: entry.protected,
                client_log: log.map(|log| log.len()),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use formats::{Upid, VerifyResult, VerifyState};

    use super::*;
    use crate::fixtures::TestStore;

    const X: &[(&str, &[u8])] = &[("x.img", b"x")];

    /// Only groups of type `host`, nothing of namespace `hidden`.
    struct Limited;

    impl Viewer for Limited {
        fn sees_namespace(&self, ns: &Namespace) -> bool {
            ns.as_str() != "hidden"
        }

        fn sees_group(&self, _: &Namespace, group: &GroupId, _: Option<&AuthId>) -> bool {
            group.backup_type == formats::BackupType::Host
        }
    }

    #[test]
    fn every_change_of_a_listing_shows_and_a_second_look_is_equal() {
        let tank = TestStore::new("tank");
        let (store, root) = (tank.store(), Namespace::root());
        let first = tank.backup("", "host/a", 1_700_000_000, X);
        tank.backup("site/a", "vm/1", 1_700_000_000, X);
        let hashes = ManifestHashes::default();
        let look = || store.listing_fingerprint(&root, None, &(), &hashes).unwrap();
        let mut seen = vec![look()];
        assert_eq!(look(), seen[0]);
        let mut changed = |what: &str| {
            let now = look();
            assert!(!seen.contains(&now), "{what} does not show");
            assert_eq!(now, look(), "after {what}");
            assert_eq!(now, store.listing_fingerprint(&root, None, &(), &ManifestHashes::default()).unwrap());
            seen.push(now);
        };

        let second = tank.backup("", "host/a", 1_700_000_100, X);
        changed("a new snapshot");
        store.set_protected(&root, &first, true).unwrap();
        changed("protection");
        store
            .update_manifest(&root, &first, |manifest| {
                manifest.set_notes("note");
                Ok(())
            })
            .unwrap();
        changed("a note");
        let upid: Upid = "UPID:n:00000001:00000001:00000001:65500000:verify::root@pam:".parse().unwrap();
        let state = VerifyState { state: VerifyResult::Ok, upid };
        store
            .update_manifest(&root, &first, |manifest| {
                manifest.set_verify_state(&state);
                Ok(())
            })
            .unwrap();
        changed("a verify state");
        store.set_group_notes(&root, &first.group, "of the group").unwrap();
        changed("a note of the group");
        store.set_owner(&root, &first.group, &"b@pbs".parse().unwrap()).unwrap();
        changed("an owner");
        let log = formats::DataBlob::encode(b"log", true, None).unwrap();
        store.store_client_log(&root, &first, &log).unwrap();
        changed("a log");
        store.create_namespace(&root, "empty").unwrap();
        changed("a namespace");
        store.remove_snapshot(&root, &second, false).unwrap();
        changed("a removal");
    }

    #[test]
    fn what_is_not_seen_or_too_deep_does_not_count() {
        let tank = TestStore::new("tank");
        let (store, root) = (tank.store(), Namespace::root());
        tank.backup("", "host/a", 1_700_000_000, X);
        tank.backup("hidden", "host/a", 1_700_000_000, X);
        let limited = || store.listing_fingerprint(&root, None, &Limited, &ManifestHashes::default()).unwrap();
        let shallow = || store.listing_fingerprint(&root, Some(0), &(), &ManifestHashes::default()).unwrap();
        let before = (limited(), shallow());

        tank.backup("hidden", "host/a", 1_700_000_100, X);
        assert_eq!((limited(), shallow()), before);
        tank.backup("", "vm/1", 1_700_000_000, X);
        assert_eq!(limited(), before.0);
        assert_ne!(shallow(), before.1);
    }

    #[test]
    fn an_unfinished_snapshot_does_not_count_and_a_missing_namespace_is_an_error() {
        let tank = TestStore::new("tank");
        let (store, root) = (tank.store(), Namespace::root());
        tank.backup("", "host/a", 1_700_000_000, X);
        let look = |ns: &Namespace| store.listing_fingerprint(ns, None, &(), &ManifestHashes::default());
        let before = look(&root).unwrap();

        std::fs::create_dir(tank.path().join("host/a/2024-01-01T00:00:00Z")).unwrap();

        assert_eq!(look(&root).unwrap(), before);
        assert!(look(&"nowhere".parse().unwrap()).is_err());
    }
}
