//! The chunks that readable snapshots name.
//!
//! ```text
//! Snapshots   per datastore: tables of digests, one per snapshot, within a budget of memory
//!    ^ weak
//! View        per session: which of them its identity may read, looked up again every minute
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use datastore::{Datastore, FileStamp};
use formats::{
    ArchiveKind, ArchiveName, AuthId, ChunkDigest, GroupId, INDEX_HEADER_LEN, Namespace, SnapshotId, VerifyResult,
};

/// Snapshots looked at for one session: the newest of every group first, then the second newest, and so on.
const MOST_SNAPSHOTS: usize = 4096;

/// A view that is older is made anew when it is next used.
const VIEW_AGE: Duration = Duration::from_secs(60);

/// Bytes of one digest with its length in a table.
const EACH: u64 = 36;

/// Bytes that a table counts at least, for what is around it.
const TABLE: u64 = 512;

/// Who asks, and what that identity may read.
pub(crate) trait Reader {
    /// Who asks.
    fn identity(&self) -> &AuthId;

    /// Whether anything in the namespace may be read at all.
    fn may_look_into(&self, ns: &Namespace) -> bool;

    /// Whether groups of that owner in the namespace may be read.
    fn may_read(&self, ns: &Namespace, owner: &AuthId) -> bool;
}

/// The chunks of one snapshot with their plain lengths, sorted by digest. Empty when nobody may count on it.
#[derive(Debug, Default)]
struct Table(Vec<(ChunkDigest, u32)>);

impl Table {
    fn cost(&self) -> u64 {
        TABLE + self.0.len() as u64 * EACH
    }

    /// Looks chunks up that are asked for in the order of `sorted`, by whichever way is less work: side by side, or each by
    /// itself.
    fn lookup(&self, sorted: &[ChunkDigest]) -> impl FnMut(&ChunkDigest) -> Option<u64> + '_ {
        let mut rest = &self.0[..];
        let side_by_side = rest.len() / 8 < sorted.len();
        move |digest| {
            let before = match side_by_side {
                true => rest.iter().take_while(|(known, _)| known < digest).count(),
                false => rest.partition_point(|(known, _)| known < digest),
            };
            rest = &rest[before..];
            rest.first().filter(|(known, _)| known == digest).map(|(_, length)| u64::from(*length))
        }
    }
}

/// Tables of a datastore, each as long as the manifest of its snapshot stays as it is.
pub(super) struct Snapshots {
    memory: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tables: HashMap<(Namespace, SnapshotId), Entry>,
    cost: u64,
    turn: u64,
}

struct Entry {
    stamp: FileStamp,
    table: Arc<Table>,
    used: u64,
}

/// What one session's identity may read, as of a moment ago.
#[derive(Default)]
pub(crate) struct View {
    made: Option<Instant>,
    /// Whoever keeps the memory within its limit may drop tables; their chunks are then not vouched for.
    tables: Vec<Weak<Table>>,
}

impl View {
    /// Fills in the lengths of chunks that a snapshot in view names.
    pub(super) fn find(&self, wanted: &mut HashMap<ChunkDigest, Option<u64>>) {
        let mut open: Vec<ChunkDigest> = wanted.iter().filter(|(_, found)| found.is_none()).map(|(d, _)| *d).collect();
        open.sort_unstable();
        for table in self.tables.iter().filter_map(Weak::upgrade) {
            if open.is_empty() {
                return;
            }
            let mut found = table.lookup(&open);
            open.retain(|digest| match found(digest) {
                Some(length) => {
                    wanted.insert(*digest, Some(length));
                    false
                }
                None => true,
            });
        }
    }
}

impl Snapshots {
    /// Keeps at most `memory` bytes of tables.
    pub(super) fn new(memory: u64) -> Self {
        Self { memory, kept: Mutex::default() }
    }

    /// Makes `view` anew when it is old. What cannot be read is not in view.
    pub(super) fn refresh(&self, store: &Datastore, reader: &dyn Reader, view: &mut View, now: Instant) {
        if view.made.is_some_and(|made| now.saturating_duration_since(made) < VIEW_AGE) {
            return;
        }
        let candidates = candidates(store, reader);
        // One at a time, so that many sessions at once read a snapshot once.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.turn += 1;
        let mut left = self.memory;
        let mut tables = Vec::new();
        for (ns, id) in candidates {
            let Some(table) = kept.table(store, &ns, &id, left) else { continue };
            left -= table.cost().min(left);
            if !table.0.is_empty() {
                tables.push(Arc::downgrade(&table));
            }
        }
        kept.make_room(self.memory);
        drop(kept);
        *view = View { made: Some(now), tables };
    }
}

impl Kept {
    /// The table of a snapshot, read when it is not current; `None` when it is gone or takes more than `left` bytes.
    fn table(&mut self, store: &Datastore, ns: &Namespace, id: &SnapshotId, left: u64) -> Option<Arc<Table>> {
        let stamp = store.file_stamp(ns, id, &ArchiveName::manifest()).ok().flatten()?;
        let (key, turn) = ((ns.clone(), id.clone()), self.turn);
        if let Some(entry) = self.tables.get_mut(&key)
            && entry.stamp == stamp
        {
            let fits = entry.table.cost() <= left;
            entry.used = if fits { turn } else { entry.used };
            return fits.then(|| Arc::clone(&entry.table));
        }
        if let Some(outdated) = self.tables.remove(&key) {
            self.cost -= outdated.table.cost().min(self.cost);
        }
        let table = Arc::new(read(store, ns, id, left)?);
        self.cost += table.cost();
        self.tables.insert(key, Entry { stamp, table: Arc::clone(&table), used: turn });
        Some(table)
    }

    /// Drops the tables used longest ago.
    fn make_room(&mut self, memory: u64) {
        if self.cost <= memory {
            return;
        }
        let mut by_use: Vec<_> = self.tables.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        by_use.sort_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.cost <= memory {
                return;
            }
            if let Some(entry) = self.tables.remove(&key) {
                self.cost -= entry.table.cost().min(self.cost);
            }
        }
    }
}

/// Lists the finished snapshots that may be read: the newest of every group, then the second newest of every group, ...
fn candidates(store: &Datastore, reader: &dyn Reader) -> Vec<(Namespace, SnapshotId)> {
    let mut groups: Vec<(Namespace, Vec<SnapshotId>)> = Vec::new();
    let namespaces = store.namespaces(&Namespace::root(), None).unwrap_or_default();
    for ns in namespaces.into_iter().filter(|ns| reader.may_look_into(ns)) {
        for group in store.groups(&ns).unwrap_or_default() {
            if may_read(store, reader, &ns, &group) {
                let all = store.snapshots(&ns, &group).unwrap_or_default();
                let finished = all.into_iter().filter(|entry| entry.finished).map(|entry| entry.id);
                groups.push((ns.clone(), finished.collect()));
            }
        }
    }
    let mut ordered = Vec::new();
    while ordered.len() < MOST_SNAPSHOTS && !groups.is_empty() {
        // Oldest first in each, so the newest comes off the end.
        groups.retain_mut(|(ns, snapshots)| match snapshots.pop() {
            Some(newest) => {
                ordered.push((ns.clone(), newest));
                true
            }
            None => false,
        });
    }
    ordered.truncate(MOST_SNAPSHOTS);
    ordered
}

fn may_read(store: &Datastore, reader: &dyn Reader, ns: &Namespace, group: &GroupId) -> bool {
    store.owner(ns, group).is_ok_and(|owner| reader.may_read(ns, &owner))
}

/// Reads the chunks of a snapshot; `None` when it is gone or takes more than `left` bytes. One that failed its
/// verification, or that does not hold together, names none.
fn read(store: &Datastore, ns: &Namespace, id: &SnapshotId, left: u64) -> Option<Table> {
    let manifest = match store.manifest(ns, id) {
        Ok((manifest, _)) => manifest,
        Err(error) if error.is_corrupt() => return Some(Table::default()),
        Err(_) => return None,
    };
    if manifest.verify_state().is_some_and(|verified| verified.state == VerifyResult::Failed) {
        return Some(Table::default());
    }
    let indexes = || manifest.files.iter().filter(|file| file.filename.kind() != ArchiveKind::Blob);
    let mut most = TABLE;
    for file in indexes() {
        let stamp = store.file_stamp(ns, id, &file.filename).ok().flatten()?;
        // Entries have 32 bytes at least.
        most += stamp.len().saturating_sub(INDEX_HEADER_LEN as u64) / 32 * EACH;
    }
    if most > left {
        tracing::debug!(snapshot = %id, bytes = most, left, "too many chunks to keep in mind");
        return None;
    }
    let mut chunks = Vec::new();
    for file in indexes() {
        let index = match store.index(ns, id, &file.filename) {
            Ok(index) if index.csum() == file.csum && index.size() == file.size => index,
            Ok(_) => return Some(Table::default()),
            Err(error) if error.is_corrupt() => return Some(Table::default()),
            Err(_) => return None,
        };
        // No chunk has 4 GiB; one that claimed to would not be vouched for.
        chunks.extend(index.entries().filter_map(|entry| Some((entry.digest, u32::try_from(entry.len()).ok()?))));
    }
    chunks.sort_unstable();
    chunks.dedup_by_key(|(digest, _)| *digest);
    chunks.shrink_to_fit();
    Some(Table(chunks))
}

#[cfg(test)]
mod tests;
