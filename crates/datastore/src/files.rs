//! The few ways this crate changes a file system: every write, rename, sync and removal goes through here.
//!
//! Files appear complete or not at all: written under a temporary name, then renamed. Whether they also survive a loss of
//! power is the caller's choice ([`Durability`]).

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::unistd::{Gid, Uid};

use crate::error::{DatastoreError, Result};
use crate::fault;

/// Longest file name that Linux file systems take.
pub(crate) const NAME_MAX: usize = 255;

/// Whether a new file is made to survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The kernel writes it when it likes.
    Lazy,
    /// The bytes are on disk before the file gets its name. The name itself is the directory's affair: [`sync_dir`].
    Synced,
}

/// Who new files shall belong to, where that is not simply the caller.
///
/// Set only for root, and then to the owner of the datastore's root directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership(pub(crate) Option<(Uid, Gid)>);

impl Ownership {
    /// Root takes over the owner of `root`; anybody else makes files of their own.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self(None));
        }
        let meta = fs::metadata(root).map_err(|e| DatastoreError::io("examine", root, e))?;
        let wanted = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
        Ok(Self((!wanted.0.is_root()).then_some(wanted)))
    }

    fn apply_file(self, file: &File, path: &Path) -> Result<()> {
        match self.0 {
            Some((uid, gid)) => nix::unistd::fchown(file.as_fd(), Some(uid), Some(gid))
                .map_err(|e| DatastoreError::io("change the owner of", path, e)),
            None => Ok(()),
        }
    }

    pub(crate) fn apply_path(self, path: &Path) -> Result<()> {
        match self.0 {
            Some((uid, gid)) => nix::unistd::chown(path, Some(uid), Some(gid))
                .map_err(|e| DatastoreError::io("change the owner of", path, e)),
            None => Ok(()),
        }
    }
}

/// Six random letters and digits.
fn random_suffix() -> Result<String> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|e| DatastoreError::io("read random bytes for a name in", "/dev/urandom", io::Error::other(e)))?;
    // 256 is no multiple of 62: a slight bias is fine in a name that only has to be unused.
    Ok(bytes.iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect())
}

/// A name beside `target` that no listing looks at: its last extension becomes `.tmp_XXXXXX`.
///
/// A stem too long for that is cut, so that every legal target has a legal temporary name.
pub(crate) fn temp_beside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().unwrap_or(OsStr::new("file")).to_string_lossy();
    let stem = match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => &name,
    };
    let mut keep = stem.len().min(NAME_MAX - ".tmp_XXXXXX".len());
    while !stem.is_char_boundary(keep) {
        keep -= 1;
    }
    Ok(target.with_file_name(format!("{}.tmp_{}", &stem[..keep], random_suffix()?)))
}

/// Tells whether this is the name of a file that is being written: ours, those of an index (`x.tmp_fidx`), those of a transfer
/// (`x.tmp`, `x.tmpdec`).
pub(crate) fn is_temporary_name(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, ending)) => ["tmp", "tmpdec"].contains(&ending) || ending.starts_with("tmp_"),
        None => false,
    }
}

/// Tells whether a file was last written longer ago than `age`. One that is gone is not; nor is one of the future.
pub(crate) fn is_older_than(path: &Path, age: Duration) -> Result<bool> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(DatastoreError::io("examine", path, e)),
    };
    let written = meta.modified().map_err(|e| DatastoreError::io("examine", path, e))?;
    Ok(written.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// A file being written under a temporary name; dropped without [`publish`](Self::publish) it disappears.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    done: bool,
}

impl TempFile {
    /// Writes `bytes` to a new temporary file beside `target`, with mode `mode` whatever the umask.
    pub(crate) fn write(
        target: &Path,
        bytes: &[u8],
        mode: u32,
        owner: Ownership,
        durability: Durability,
    ) -> Result<Self> {
        let path = temp_beside(target)?;
        fault::step("create", &path).map_err(|e| DatastoreError::io("create", &path, e))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| DatastoreError::io("create", &path, e))?;
        let temp = Self { path, done: false };
        let path = &temp.path;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(|e| DatastoreError::io("set the mode of", path, e))?;
        owner.apply_file(&file, path)?;
        fault::step("write", path).map_err(|e| DatastoreError::io("write", path, e))?;
        file.write_all(bytes).map_err(|e| DatastoreError::io("write", path, e))?;
        if durability == Durability::Synced {
            fault::step("sync file", path).map_err(|e| DatastoreError::io("sync", path, e))?;
            file.sync_all().map_err(|e| DatastoreError::io("sync", path, e))?;
        }
        Ok(temp)
    }

    /// Gives the file its name, replacing what has it now.
    pub(crate) fn publish(mut self, target: &Path) -> Result<()> {
        fault::step("rename", target).map_err(|e| DatastoreError::io("rename to", target, e))?;
        fs::rename(&self.path, target).map_err(|e| DatastoreError::io("rename to", target, e))?;
        self.done = true;
        Ok(())
    }

    /// Where the bytes are now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.done {
            // Nothing can be done about a failure here; the name is one that nobody reads.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a whole file atomically.
pub(crate) fn replace(target: &Path, bytes: &[u8], mode: u32, owner: Ownership, durability: Durability) -> Result<()> {
    TempFile::write(target, bytes, mode, owner, durability)?.publish(target)
}

/// Makes one directory of exactly `mode`. Returns false when it was there already.
pub(crate) fn make_dir(path: &Path, mode: u32, owner: Ownership) -> Result<bool> {
    fault::step("mkdir", path).map_err(|e| DatastoreError::io("create directory", path, e))?;
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(DatastoreError::io("create directory", path, e)),
    }
    // Written only where the umask (or an inherited set-group bit) made it differ: creating a datastore makes 65,536 directories.
    let made = fs::symlink_metadata(path).map_err(|e| DatastoreError::io("examine", path, e))?;
    if made.mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| DatastoreError::io("set the mode of", path, e))?;
    }
    owner.apply_path(path)?;
    Ok(true)
}

/// Makes `below` and the directories between it and `root`, which must exist. Mode 0755.
pub(crate) fn make_dirs(root: &Path, below: &Path, owner: Ownership) -> Result<()> {
    let mut path = root.to_owned();
    for part in below.components() {
        path.push(part);
        make_dir(&path, 0o755, owner)?;
    }
    Ok(())
}

/// Makes a directory and those above it that are missing, each of exactly `mode`, outermost first.
pub(crate) fn make_dir_all(dir: &Path, mode: u32, owner: Ownership) -> Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<_> = dir.ancestors().take_while(is_missing).collect();
    missing.into_iter().rev().try_for_each(|path| make_dir(path, mode, owner).map(drop))
}

/// Makes the names inside a directory survive a loss of power.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    fault::step("sync dir", path).map_err(|e| DatastoreError::io("sync directory", path, e))?;
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| DatastoreError::io("sync directory", path, e))
}

/// Writes out everything the file system below `path` still holds in memory.
pub(crate) fn sync_filesystem(path: &Path) -> Result<()> {
    fault::step("sync file system", path).map_err(|e| DatastoreError::io("sync the file system of", path, e))?;
    let dir = File::open(path).map_err(|e| DatastoreError::io("open", path, e))?;
    nix::unistd::syncfs(&dir).map_err(|e| DatastoreError::io("sync the file system of", path, e))
}

/// Unlinks a file; one that is gone already is fine. Returns whether it was there.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    fault::step("unlink", path).map_err(|e| DatastoreError::io("remove", path, e))?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(DatastoreError::io("remove", path, e)),
    }
}

/// Removes an empty directory. Returns false when it is not empty or not there.
pub(crate) fn remove_empty_dir(path: &Path) -> Result<bool> {
    fault::step("rmdir", path).map_err(|e| DatastoreError::io("remove directory", path, e))?;
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(e) => Err(DatastoreError::io("remove directory", path, e)),
    }
}

/// Removes a directory and all it holds, following no symbolic links; one that is gone is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    fault::step("remove tree", path).map_err(|e| DatastoreError::io("remove", path, e))?;
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(DatastoreError::io("remove", path, e)),
    }
}

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Dir,
    File,
    Other,
}

/// Lists the UTF-8 names in a directory, or `None` when there is no such directory.
///
/// An entry that vanishes meanwhile is left out; anything else that cannot be read is an error, never a shorter list: a short
/// list could make a caller delete what it does not see.
pub(crate) fn list(path: &Path) -> Result<Option<Vec<(String, EntryKind)>>> {
    let fail = |e| DatastoreError::io("list", path, e);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        // No name of ours has bytes outside ASCII, so one that is not UTF-8 is none of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_dir() => EntryKind::Dir,
            Ok(kind) if kind.is_file() => EntryKind::File,
            Ok(_) => EntryKind::Other,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(e)),
        };
        names.push((name, kind));
    }
    Ok(Some(names))
}

/// Tells whether a directory exists; a failure to look is an error.
pub(crate) fn dir_exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(meta.is_dir()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(DatastoreError::io("examine", path, e)),
    }
}

/// Tells whether any entry of this name exists; a failure to look is an error.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    fault::step("look for", path).map_err(|e| DatastoreError::io("examine", path, e))?;
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(DatastoreError::io("examine", path, e)),
    }
}

/// Opens a regular file for reading, following no symbolic link at its end, or `None` when it is not there.
pub(crate) fn open_regular(path: &Path) -> Result<Option<(File, u64)>> {
    // Non-blocking, so that a fifo of that name cannot hang us; it means nothing for regular files.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(DatastoreError::io("open", path, e)),
    };
    let meta = file.metadata().map_err(|e| DatastoreError::io("examine", path, e))?;
    if !meta.is_file() {
        return Err(DatastoreError::Corrupt { path: path.to_owned(), reason: "is not a regular file".to_owned() });
    }
    Ok(Some((file, meta.len())))
}

/// Reads a whole regular file of at most `max` bytes, or `None` when it is not there.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let Some((file, len)) = open_regular(path)? else { return Ok(None) };
    let too_long = || DatastoreError::Corrupt {
        path: path.to_owned(),
        reason: format!("is longer than the {max} bytes such a file may have"),
    };
    if len > max {
        return Err(too_long());
    }
    let capacity = usize::try_from(len).map_err(|_| too_long())?;
    let mut bytes = Vec::with_capacity(capacity);
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| DatastoreError::io("read", path, e))?;
    if bytes.len() as u64 > max {
        return Err(too_long());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_replace_the_last_extension() {
        let temp = temp_beside(Path::new("/x/index.json.blob")).unwrap();
        let name = temp.file_name().unwrap().to_str().unwrap();

        assert!(name.starts_with("index.json.tmp_"), "{name}");
        assert_eq!(name.len(), "index.json.tmp_".len() + 6);
    }

    #[test]
    fn a_hidden_name_keeps_its_stem() {
        let temp = temp_beside(Path::new("/x/.protected")).unwrap();

        assert!(temp.file_name().unwrap().to_str().unwrap().starts_with(".protected.tmp_"));
    }

    #[test]
    fn the_longest_legal_name_has_a_legal_temporary_name() {
        let target = format!("/x/{}.blob", "a".repeat(250));
        let temp = temp_beside(Path::new(&target)).unwrap();

        assert!(temp.file_name().unwrap().len() <= NAME_MAX);
    }

    #[test]
    fn temporary_names_of_all_writers_are_known_and_no_others() {
        for name in ["index.json.tmp_k3J2aa", "disk.img.tmp_fidx", "root.pxar.tmp_didx", "disk.img.tmp", "a.tmpdec"] {
            assert!(is_temporary_name(name), "{name}");
        }
        for name in ["index.json.blob", "a.tmp.blob", "a.tmp_1.fidx", ".protected", "tmp_x", "a.tmpfs", "owner"] {
            assert!(!is_temporary_name(name), "{name}");
        }
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("here");
        fs::create_dir(&target).unwrap();

        let refused = replace(&target, b"x", 0o644, Ownership::default(), Durability::Lazy);

        assert!(refused.is_err());
        assert_eq!(list(dir.path()).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn a_file_longer_than_its_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, [0; 10]).unwrap();

        assert!(read(&path, 9).unwrap_err().is_corrupt());
        assert_eq!(read(&path, 10).unwrap().unwrap().len(), 10);
        assert!(read(&dir.path().join("g"), 10).unwrap().is_none());
    }
}
