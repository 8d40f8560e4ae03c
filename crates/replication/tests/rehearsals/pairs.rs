//! Pairs of datastores with random histories, the same for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use datastore::fixtures::{TestStore, noise};
use formats::{CryptKey, GroupId, Namespace, SnapshotId, VerifyResult};
use replication::{Direction, JobOptions};

const GROUPS: [(&str, &str); 4] = [("", "vm/100"), ("", "vm/200"), ("site", "host/a"), ("site/lab", "ct/7")];
const START: i64 = 1_700_000_000;
/// Length of a piece, which is that of a chunk of a dynamic fixture.
const PIECE: usize = 64 << 10;

/// A small generator of numbers (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    /// True once in `sides` rolls.
    pub(crate) fn hits(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Some pieces of a pool that all snapshots draw from: groups share many, half of them compress.
fn content(dice: &mut Dice) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..1 + dice.roll(5) {
        let piece = dice.roll(14);
        if piece.is_multiple_of(2) {
            content.extend(noise(piece, PIECE));
        } else {
            content.extend(noise(piece, 256).repeat(PIECE / 256));
        }
    }
    content.truncate(content.len() - usize::try_from(dice.roll(2) * 1000).unwrap());
    content
}

/// Adds up to two snapshots to each group.
pub(crate) fn grow(store: &TestStore, dice: &mut Dice, round: i64) {
    let key = CryptKey::from_bytes([9; 32]);
    for (position, (ns, group)) in (0..).zip(GROUPS) {
        for step in 0..dice.roll(3) {
            let time = START + round * 1000 + i64::try_from(step).unwrap() * 10 + position;
            let (root, image) = (content(dice), noise(dice.roll(3), 50_000));
            let files: &[(&str, &[u8])] = &[("root.pxar", &root), ("disk.img", &image), ("x.conf", &image[..40])];
            match position {
                3 => store.encrypted_backup(ns, group, time, files, &key),
                _ => store.backup(ns, group, time, files),
            };
        }
    }
}

/// Every finished snapshot of a datastore.
pub(crate) fn snapshots(store: &TestStore) -> Vec<(Namespace, SnapshotId)> {
    let mut found = Vec::new();
    for (ns, group) in GROUPS {
        let (ns, group): (Namespace, GroupId) = (ns.parse().unwrap(), group.parse().unwrap());
        if !store.store().namespace_exists(&ns).unwrap() {
            continue;
        }
        let entries = store.store().snapshots(&ns, &group).unwrap();
        found.extend(entries.into_iter().filter(|entry| entry.finished).map(|entry| (ns.clone(), entry.id)));
    }
    found
}

/// Notes, protection and removals at the source.
pub(crate) fn age(store: &TestStore, dice: &mut Dice) {
    for (ns, id) in snapshots(store) {
        match dice.roll(7) {
            0 | 1 => store.store().remove_snapshot(&ns, &id, false).unwrap(),
            2 => store
                .store()
                .update_manifest(&ns, &id, |manifest| {
                    manifest.set_notes("looked at");
                    Ok(())
                })
                .unwrap(),
            _ => {}
        }
    }
}

/// What can befall a datastore on disk: lost, emptied and damaged chunks, failed verifications, unfinished snapshots.
pub(crate) fn damage(store: &TestStore, dice: &mut Dice) {
    let chunks = tree(&store.path().join(".chunks"));
    for (path, bytes) in chunks.into_iter().filter_map(|(path, bytes)| Some((path, bytes?))) {
        let path = store.path().join(".chunks").join(path);
        match dice.roll(12) {
            0 => std::fs::remove_file(path).unwrap(),
            1 => std::fs::write(path, []).unwrap(),
            2 => {
                let mut bytes = bytes;
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(path, bytes).unwrap();
            }
            _ => {}
        }
    }
    for (ns, id) in snapshots(store) {
        let dir = ns.components().fold(store.path().to_owned(), |dir, name| dir.join("ns").join(name));
        let dir = dir.join(id.group.backup_type.to_string()).join(id.group.id.as_str()).join(id.time.to_string());
        match dice.roll(10) {
            0 => std::fs::remove_file(dir.join("index.json.blob")).unwrap(),
            1 => std::fs::write(dir.join("index.json.blob"), b"no manifest at all").unwrap(),
            2 | 3 => mark_failed(store, &ns, &id),
            4 => std::fs::remove_file(dir.join("root.pxar.didx")).unwrap(),
            _ => {}
        }
    }
}

fn mark_failed(store: &TestStore, ns: &Namespace, id: &SnapshotId) {
    let upid = "UPID:here:00000001:00000001:00000001:65000000:verify:x:root@pam:".parse().unwrap();
    let marked = store.store().update_manifest(ns, id, |manifest| {
        manifest.set_verify_state(&formats::VerifyState { upid, state: VerifyResult::Failed });
        Ok(())
    });
    marked.unwrap();
}

/// Options of a random job.
pub(crate) fn options(dice: &mut Dice, direction: Direction, owner: &str) -> JobOptions {
    JobOptions {
        transfer_last: if dice.hits(4) { NonZeroU64::new(2) } else { None },
        remove_vanished: dice.hits(2),
        resync_corrupt: direction == Direction::Pull && dice.hits(2),
        ..JobOptions::new(direction, owner.parse().unwrap())
    }
}

/// Everything below a directory: files with their bytes, directories with none.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                found.insert(path, None);
            } else {
                found.insert(path, Some(std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    found
}

/// Asserts that two trees are equal, naming what is not.
#[track_caller]
pub(crate) fn assert_same_tree(before: &BTreeMap<PathBuf, Option<Vec<u8>>>, root: &Path) {
    let after = tree(root);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "a dry run changed {changed:?}");
}
