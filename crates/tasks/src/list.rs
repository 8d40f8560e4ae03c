//! Lists of tasks.

use formats::{StoreName, Upid};

use crate::end::{EndKind, TaskEnd};
use crate::error::TaskError;
use crate::index::Finished;
use crate::store::TaskStore;

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    /// Its name.
    pub upid: Upid,
    /// When and how it ended; `None` while it runs.
    pub end: Option<(i64, TaskEnd)>,
}

/// Which tasks are wanted. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those that run.
    pub running: bool,
    /// Only those that failed, or died.
    pub errors: bool,
    /// Only those that work on this datastore.
    pub store: Option<StoreName>,
    /// Only those whose identity contains this.
    pub user: Option<String>,
    /// Only those whose type contains this.
    pub worker_type: Option<String>,
    /// Only those that started at this moment or later.
    pub since: Option<i64>,
    /// Only those that started at this moment or earlier.
    pub until: Option<i64>,
    /// Only those that ended in one of these ways; none for any.
    pub ends: Vec<EndKind>,
    /// So many of them are passed over.
    pub start: usize,
    /// At most so many are returned; 0 for all.
    pub limit: usize,
}

impl Filter {
    fn wants(&self, entry: &TaskEntry) -> bool {
        let upid = &entry.upid;
        let kind = entry.end.as_ref().map(|(_, end)| end.kind());
        let failed = matches!(kind, Some(EndKind::Error | EndKind::Unknown));
        (!self.running || kind.is_none())
            && (!self.errors || failed)
            && (self.ends.is_empty() || kind.is_some_and(|kind| self.ends.contains(&kind)))
            && self.store.as_ref().is_none_or(|store| store_of(upid) == Some(store.as_str()))
            && self.user.as_ref().is_none_or(|part| upid.auth_id.to_string().contains(part.as_str()))
            && self.worker_type.as_ref().is_none_or(|part| upid.worker_type.contains(part.as_str()))
            && self.since.is_none_or(|since| upid.start_time >= since)
            && self.until.is_none_or(|until| upid.start_time <= until)
    }
}

/// The datastore of this host that a task works on, from its name.
pub fn store_of(upid: &Upid) -> Option<&str> {
    let id = upid.worker_id.as_deref()?;
    match upid.worker_type.as_str() {
        "syncjob" => id.split(':').nth(2),
        "backup" | "reader" | "benchmark" | "verify" | "verify_group" | "verify_snapshot" | "verificationjob"
        | "sync" | "prune" | "prunejob" | "garbage_collection" | "move-group" | "move-namespace"
        | "create-datastore" | "delete-datastore" | "mount-device" | "unmount-device" | "s3-refresh" => {
            id.split(':').next()
        }
        _ => None,
    }
}

impl TaskStore {
    /// Lists tasks: those that run or wait, the last one first; then the others, the last that ended first.
    ///
    /// `visible` says which the caller may see; the others do not count. Of the archive no more is read than needed.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self, filter: &Filter, visible: &dyn Fn(&Upid) -> bool) -> Result<Vec<TaskEntry>, TaskError> {
        let (running, mut dead) = self.split()?;
        if !dead.is_empty() {
            match self.reap() {
                Ok(_) => dead.clear(),
                // Who may not write sees them all the same, as what they are.
                Err(error) => tracing::debug!(%error, "tasks that died stay in the list of those that run"),
            }
        }
        let mut found = Found { filter, visible, skipped: 0, entries: Vec::new() };
        for upid in running {
            found.add(TaskEntry { upid, end: None });
        }
        for upid in dead {
            let end = self.last_words(&upid)?.unwrap_or((upid.start_time, TaskEnd::Unknown));
            found.add(TaskEntry { upid, end: Some(end) });
        }
        if filter.running {
            return Ok(found.entries);
        }
        for part in self.index.parts() {
            if found.is_full() {
                break;
            }
            for line in self.index.read_part(&part)?.lines().rev() {
                let Some(Finished { upid, endtime, end }) = Finished::parse(line) else { continue };
                found.add(TaskEntry { upid, end: Some((endtime, end)) });
            }
        }
        Ok(found.entries)
    }
}

struct Found<'a> {
    filter: &'a Filter,
    visible: &'a dyn Fn(&Upid) -> bool,
    skipped: usize,
    entries: Vec<TaskEntry>,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.filter.limit > 0 && self.entries.len() >= self.filter.limit
    }

    fn add(&mut self, entry: TaskEntry) {
        if self.is_full() || !self.filter.wants(&entry) || !(self.visible)(&entry.upid) {
            return;
        }
        if self.skipped < self.filter.start {
            self.skipped += 1;
        } else {
            self.entries.push(entry);
        }
    }
}
