//! The writer registry: which processes write to a datastore, and since when.
//!
//! Garbage collection may only remove chunks that were last touched before the oldest running writer began. Writers are processes
//! of their own, so each leaves a file `PID-RANDOM` in `.writers` of the lock directory, holding its start time, and keeps it
//! locked. A file whose lock is free belongs to a dead process and counts for nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use nix::libc;

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind, Ownership};
use crate::locks::object::{is_still_at, make_lock_dirs};

/// Begins the name of an entry that is not ready yet.
const UNREADY: &str = ".new-";

/// A running writer, as another process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its process.
    pub pid: u32,
    /// When it began, in Unix seconds.
    pub started: i64,
}

/// Our own entry; removed when dropped.
#[derive(Debug)]
pub(crate) struct WriterEntry {
    path: PathBuf,
    _file: Flock<File>,
}

impl WriterEntry {
    pub(crate) fn register(registry: &Path, owner: Ownership) -> Result<Self> {
        make_lock_dirs(registry, owner)?;
        let started = unix_now();
        let pid = std::process::id();
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let hidden = registry.join(format!("{UNREADY}{pid}-{unique}"));
        let path = registry.join(format!("{pid}-{unique}"));
        let fail = |e: io::Error| DatastoreError::io("register a writer in", registry, e);

        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o660)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&hidden)
            .map_err(fail)?;
        // Only a locked and complete entry gets a name that others read.
        let ready = (|| {
            owner.apply_path(&hidden)?;
            // Waits, for a moment: a process that lists the writers may be trying this very lock.
            let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| fail(e.into()))?;
            file.write_all(format!("{started}\n").as_bytes()).map_err(fail)?;
            fs::rename(&hidden, &path).map_err(fail)?;
            Ok(file)
        })();
        match ready {
            Ok(file) => Ok(Self { path, _file: file }),
            Err(e) => {
                let _ = fs::remove_file(&hidden);
                Err(e)
            }
        }
    }
}

impl Drop for WriterEntry {
    fn drop(&mut self) {
        // An entry that cannot be removed becomes harmless when its lock goes with the descriptor.
        let _ = fs::remove_file(&self.path);
    }
}

/// The writers of all processes, oldest first; entries of dead processes are removed on the way.
pub(crate) fn running(registry: &Path) -> Result<Vec<Writer>> {
    let mut writers = Vec::new();
    for (name, kind) in files::list(registry)?.unwrap_or_default() {
        let path = registry.join(&name);
        if kind != EntryKind::File {
            continue;
        }
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(DatastoreError::io("open", &path, e)),
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // An unready entry is unlocked for a moment. Its writer has not begun, and waits until we let go.
            Ok(_) if name.starts_with(UNREADY) => {}
            Ok(free) => {
                if is_still_at(&free, &path)? {
                    files::remove_file(&path)?;
                }
            }
            Err(_) => {
                let text = files::read(&path, 64)?.unwrap_or_default();
                let pid = name.trim_start_matches(UNREADY).split('-').next().and_then(|pid| pid.parse().ok());
                // A held entry that cannot be read must count as infinitely old: its writer protects everything.
                let started = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                writers.push(Writer { pid: pid.unwrap_or_default(), started: started.unwrap_or_default() });
            }
        }
    }
    writers.sort_by_key(|writer| writer.started);
    Ok(writers)
}

fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_listed_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let registry = dir.path().join("locks/store/.writers");

        let entry = WriterEntry::register(&registry, Ownership::default()).unwrap();
        let listed = running(&registry).unwrap();
        drop(entry);

        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].pid, std::process::id());
        assert!(listed[0].started > 1_700_000_000);
        assert!(running(&registry).unwrap().is_empty());
    }

    #[test]
    fn listing_writers_all_the_time_keeps_none_from_registering() {
        let dir = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);

        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    running(dir.path()).unwrap();
                }
            });
            let registered: Vec<_> =
                (0..2000).map(|_| WriterEntry::register(dir.path(), Ownership::default()).map(drop)).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            registered.into_iter().for_each(Result::unwrap);
        });
    }

    #[test]
    fn an_entry_of_a_dead_process_counts_for_nothing_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("4711-x"), "1\n").unwrap();

        assert!(running(dir.path()).unwrap().is_empty());
        assert!(!dir.path().join("4711-x").exists());
    }
}
