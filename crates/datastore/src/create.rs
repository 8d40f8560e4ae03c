//! Making a datastore, and attaching one that a Proxmox Backup Server made.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use formats::StoreName;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};

use crate::error::{DatastoreError, Result};
use crate::files::{self, Durability, EntryKind, Ownership, TempFile};
use crate::store::Datastore;

/// Directories below `.chunks`, one for each first two bytes of a digest.
const CHUNK_DIRS: u32 = 0x1_0000;
/// Threads that make or check them.
const THREADS: u32 = 2;

const ROOT_MODE: u32 = 0o755;
pub(crate) const CHUNKS_MODE: u32 = 0o750;
const LOCK_MODE: u32 = 0o644;
const NO_ACCESS_TIMES: &str = "is on a file system that does not set access times when told to, so garbage collection could \
    not tell which chunks are in use; choose another file system";

/// How to make a datastore.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateOptions {
    /// Attach the datastore that is there: every directory must be there and belong to the right owner; a mode that a
    /// Proxmox Backup Server would refuse (after a copy or an unpacked archive, say) is set right.
    pub reuse: bool,
    /// Who everything shall belong to (needs root), or must belong to with `reuse`. Default: the caller.
    pub owner: Option<(Uid, Gid)>,
    /// Leave the 65,536 chunk directories out; inserting makes them. Only for tests: no stock server attaches such a store.
    pub lazy_chunk_dirs: bool,
}

impl Datastore {
    /// Makes a new datastore at `path`, or checks an existing one for use with [`CreateOptions::reuse`].
    ///
    /// A new datastore's directory may exist, holding nothing but names that begin with `.` and `lost+found`.
    ///
    /// # Errors
    /// [`Unsuitable`](DatastoreError::Unsuitable) names the path that is in the way or wrong, with the wrong mode or owner.
    pub fn create(path: &Path, options: &CreateOptions) -> Result<()> {
        if !path.is_absolute() {
            return Err(unsuitable(path, "is not an absolute path"));
        }
        if options.reuse { check(path, options.owner) } else { make(path, options) }
    }
}

fn unsuitable(path: &Path, reason: impl Into<String>) -> DatastoreError {
    DatastoreError::Unsuitable { path: path.to_owned(), reason: reason.into() }
}

fn make(root: &Path, options: &CreateOptions) -> Result<()> {
    let owner = Ownership(options.owner);
    // Directories above belong to the caller, but the owner of the datastore must get through them.
    files::make_dir_all(root, ROOT_MODE, Ownership::default())?;
    let alone = lock_root(root)?;
    for (name, _) in files::list(root)?.unwrap_or_default() {
        if !name.starts_with('.') && name != "lost+found" {
            return Err(unsuitable(root, format!("is not empty: it holds `{name}`")));
        }
    }
    let chunks = root.join(".chunks");
    if files::exists(&chunks)? {
        return Err(unsuitable(&chunks, "exists already; to use the datastore that is there, attach it (reuse)"));
    }
    fs::set_permissions(root, fs::Permissions::from_mode(ROOT_MODE))
        .map_err(|e| DatastoreError::io("set the mode of", root, e))?;
    owner.apply_path(root)?;

    check_access_times(root)?;
    if alone.is_some() {
        remove_unfinished(root)?;
    }
    // The directories get their final name when all are there, so that a datastore is whole or none.
    let building = files::temp_beside(&chunks)?;
    let built = build_chunk_dirs(&building, owner, options.lazy_chunk_dirs)
        .and_then(|()| files::replace(&root.join(".lock"), b"", LOCK_MODE, owner, Durability::Synced))
        .and_then(|()| fs::rename(&building, &chunks).map_err(|e| DatastoreError::io("rename to", &chunks, e)))
        .and_then(|()| files::sync_dir(root));
    if built.is_err() {
        let _ = files::remove_tree(&building);
    }
    built
}

/// Locks the directory against another process that makes a datastore there; `None` where the file system locks no directories.
fn lock_root(root: &Path) -> Result<Option<Flock<File>>> {
    let dir = File::open(root).map_err(|e| DatastoreError::io("open", root, e))?;
    match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(unsuitable(root, "another process is making a datastore here right now")),
        Err(_) => Ok(None),
    }
}

/// Removes the chunk directories of a creation that was killed. Only empty ones: nothing is lost if they are somebody's.
fn remove_unfinished(root: &Path) -> Result<()> {
    for (name, kind) in files::list(root)?.unwrap_or_default() {
        if kind != EntryKind::Dir || !name.starts_with(".chunks.tmp_") {
            continue;
        }
        let building = root.join(name);
        for (name, _) in files::list(&building)?.unwrap_or_default() {
            let dir = building.join(name);
            if files::dir_exists(&dir)? {
                files::remove_empty_dir(&dir)?;
            }
        }
        files::remove_empty_dir(&building)?;
    }
    Ok(())
}

/// Checks that the file system sets access times when told to: garbage collection tells used chunks by nothing else.
fn check_access_times(root: &Path) -> Result<()> {
    let probe = TempFile::write(&root.join(".access-time"), b"", LOCK_MODE, Ownership::default(), Durability::Lazy)?;
    let path = probe.path();
    let set = |time: &TimeSpec| {
        utimensat(AT_FDCWD, path, time, &TimeSpec::UTIME_OMIT, UtimensatFlags::NoFollowSymlink)
            .map_err(|e| DatastoreError::io("set the access time of", path, e))?;
        fs::symlink_metadata(path).map(|meta| meta.atime()).map_err(|e| DatastoreError::io("examine", path, e))
    };
    // A day that was long ago, as some file systems keep only the day.
    let (old, now) = (set(&TimeSpec::new(1_000_000_000, 0))?, set(&TimeSpec::UTIME_NOW)?);
    if keeps_access_times(old, now) { Ok(()) } else { Err(unsuitable(root, NO_ACCESS_TIMES)) }
}

/// Judges access times read after one of long ago was set, and after the present one was.
fn keeps_access_times(old: i64, now: i64) -> bool {
    old < now
}

fn build_chunk_dirs(chunks: &Path, owner: Ownership, lazy: bool) -> Result<()> {
    files::make_dir(chunks, CHUNKS_MODE, owner)?;
    if lazy {
        return Ok(());
    }
    for_all_chunk_dirs(chunks, |dir| files::make_dir(dir, CHUNKS_MODE, owner).map(drop))
}

/// Runs `work` on the path of each chunk directory, in a few threads. Stops each thread at its first error.
fn for_all_chunk_dirs(chunks: &Path, work: impl Fn(&Path) -> Result<()> + Sync) -> Result<()> {
    let share = CHUNK_DIRS / THREADS;
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn(move || {
                    (n * share..(n + 1) * share).try_for_each(|prefix| work(&chunks.join(format!("{prefix:04x}"))))
                })
            })
            .collect();
        // Joined all before the first error is passed on.
        let results: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Checks what a Proxmox Backup Server checks before it attaches a datastore: every directory, owners, exact modes. Modes
/// that differ are set, since nothing is lost by it and that server would refuse the datastore otherwise.
fn check(root: &Path, owner: Option<(Uid, Gid)>) -> Result<()> {
    // The way to it may be a symbolic link; what is in it may not.
    let real = root.canonicalize();
    let root = real.as_deref().unwrap_or(root);
    let me = nix::unistd::geteuid();
    let expected = match owner {
        Some((uid, gid)) => Some((uid, Some(gid))),
        // Root may work for any owner; anybody else needs to own what is to be touched.
        None => (!me.is_root()).then_some((me, None)),
    };
    let check = |path: &Path, dir: bool, mode: u32| check_entry(path, dir, mode, expected);
    check(root, true, ROOT_MODE)?;
    let chunks = root.join(".chunks");
    check(&chunks, true, CHUNKS_MODE)?;
    for_all_chunk_dirs(&chunks, |dir| check(dir, true, CHUNKS_MODE))?;
    check(&root.join(".lock"), false, LOCK_MODE)
}

fn check_entry(path: &Path, dir: bool, mode: u32, owner: Option<(Uid, Option<Gid>)>) -> Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(unsuitable(path, "is missing, so this is no complete datastore"));
        }
        Err(e) => return Err(DatastoreError::io("examine", path, e)),
    };
    if meta.is_dir() != dir || (!dir && !meta.is_file()) {
        return Err(unsuitable(path, if dir { "is not a directory" } else { "is not a regular file" }));
    }
    if let Some((uid, gid)) = owner {
        let wrong_group = gid.is_some_and(|gid| gid.as_raw() != meta.gid());
        if meta.uid() != uid.as_raw() || wrong_group {
            let wanted = gid.map_or_else(|| uid.to_string(), |gid| format!("{uid}:{gid}"));
            return Err(unsuitable(path, format!("belongs to {}:{}, not to {wanted}", meta.uid(), meta.gid())));
        }
    }
    let found = meta.mode() & 0o777;
    if found != mode && fs::set_permissions(path, fs::Permissions::from_mode(mode)).is_err() {
        return Err(unsuitable(path, format!("has mode {found:04o}, a datastore needs {mode:04o}")));
    }
    Ok(())
}

/// Refuses a path that a Proxmox Backup Server of this host has as a datastore of another name.
///
/// Object locks go by the datastore's name, so two programs that know one path under two names would not exclude each other.
/// `pbs_config` is that server's `datastore.cfg`; when it does not exist there is nothing to refuse.
///
/// # Errors
/// [`Unsuitable`](DatastoreError::Unsuitable) with the other name, or when the file cannot be read.
pub fn refuse_other_name(name: &StoreName, path: &Path, pbs_config: &Path) -> Result<()> {
    let text = match fs::read_to_string(pbs_config) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(DatastoreError::io("read", pbs_config, e)),
    };
    let resolve = |path: &Path| -> PathBuf { path.canonicalize().unwrap_or_else(|_| path.to_owned()) };
    let ours = resolve(path);
    let mut section = "";
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("datastore:") {
            section = header.trim();
        } else if let Some(theirs) = line.trim_start().strip_prefix("path ")
            && line.starts_with([' ', '\t'])
            && section != name.as_str()
            && resolve(Path::new(theirs.trim())) == ours
        {
            let reason = format!(
                "is datastore `{section}` of the Proxmox Backup Server on this host ({}): give it the same name here, \
                 since locks go by the name",
                pbs_config.display()
            );
            return Err(unsuitable(path, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_ignores_access_times_is_found_out() {
        assert!(keeps_access_times(1_000_000_000, 1_700_000_000));
        assert!(!keeps_access_times(1_700_000_000, 1_700_000_000), "it was never set");
        assert!(!keeps_access_times(1_000_000_000, 1_000_000_000), "it was set once and never again");
    }
}
