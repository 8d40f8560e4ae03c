//! Reading, locking and replacing whole files.
//!
//! A file is never written in place: a temporary file beside it is filled, flushed and renamed over it, so that a
//! reader sees the old bytes or the new ones. Writers exclude each other by a lock file of their own, because the
//! locked file itself is replaced; readers take no lock.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ConfigError, Result};

/// Mode of ordinary configuration files.
pub(crate) const MODE_NORMAL: u32 = 0o640;
/// Mode of files that hold secrets.
pub(crate) const MODE_SECRET: u32 = 0o600;

/// How long a writer waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Largest configuration file that is read; far above any real one.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// SHA-256 over the bytes of a file, those of an absent file being none. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigDigest([u8; 32]);

impl ConfigDigest {
    /// Digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(formats::sha256(bytes))
    }
}

impl fmt::Display for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigDigest({self})")
    }
}

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct BadDigest;

impl FromStr for ConfigDigest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let mut bytes = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BadDigest);
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadDigest)?;
        Ok(Self(bytes))
    }
}

impl Serialize for ConfigDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConfigDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An exclusive lock on a file, among writers. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    _lock: Flock<File>,
}

impl FileLock {
    /// Takes the lock of `path`, waiting up to ten seconds; makes the directory if needed.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        Self::take_within(path, LOCK_WAIT)
    }

    pub(crate) fn take_within(path: &Path, limit: Duration) -> Result<Self> {
        make_private_dir(directory(path))?;
        let lock_path = sibling(path, "lck");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o660)
            .open(&lock_path)
            .map_err(ConfigError::io("open the lock file", &lock_path))?;
        give_to_owner_of(directory(path), &file).map_err(ConfigError::io("change the owner of", &lock_path))?;

        let deadline = Instant::now() + limit;
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((returned, Errno::EWOULDBLOCK | Errno::EINTR)) => file = returned,
                Err((_, errno)) => return Err(ConfigError::io("lock", &lock_path)(errno.into())),
            }
            if Instant::now() >= deadline {
                return Err(ConfigError::LockTimeout { path: path.to_owned(), seconds: limit.as_secs() });
            }
            thread::sleep(Duration::from_millis(10));
        };
        let lock = Self { path: path.to_owned(), _lock: lock };
        lock.remove_leftovers();
        Ok(lock)
    }

    /// Replaces the locked file: all of `bytes`, or the old content.
    pub(crate) fn replace(&self, bytes: &[u8], mode: u32) -> Result<()> {
        replace_file(&self.path, bytes, mode)
    }

    /// Removes temporary files of writers that died: nobody else writes while we hold the lock.
    fn remove_leftovers(&self) {
        let prefix = temporary_prefix(&self.path);
        let Ok(entries) = fs::read_dir(directory(&self.path)) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // A leftover that stays does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Replaces a file, all of it or nothing: `bytes` with `mode`, durable on return. The directory must be there.
///
/// Nothing is locked: of two writers one wins. What the superuser writes belongs to the owner of the directory.
///
/// # Errors
/// [`ConfigError::Io`] with the file; then it is as it was.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    swap(path, bytes, mode, true)?;
    File::open(directory(path)).and_then(|dir| dir.sync_all()).map_err(ConfigError::io("flush the directory of", path))
}

/// Replaces a file as [`replace_file`] does, but for what need not outlive a power cut: nothing is flushed.
///
/// # Errors
/// [`ConfigError::Io`] with the file; then it is as it was.
pub fn swap_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    swap(path, bytes, mode, false)
}

fn swap(path: &Path, bytes: &[u8], mode: u32, flush: bool) -> Result<()> {
    let dir = directory(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(&temporary_prefix(path))
        .permissions(fs::Permissions::from_mode(MODE_SECRET))
        .tempfile_in(dir)
        .map_err(ConfigError::io("make a temporary file beside", path))?;
    temporary
        .write_all(bytes)
        .and_then(|()| give_to_owner_of(dir, temporary.as_file()))
        .and_then(|()| temporary.as_file().set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| if flush { temporary.as_file().sync_all() } else { Ok(()) })
        .map_err(ConfigError::io("write a temporary file beside", path))?;
    temporary.persist(path).map_err(|error| ConfigError::io("replace", path)(error.error))?;
    Ok(())
}

/// Reads a file; an absent one is empty.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(read_if_there(path)?.unwrap_or_default())
}

/// Reads a file of at most 64 MiB if there is one.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(ConfigError::io("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ConfigError::line(path, 0, format!("larger than {MAX_FILE} bytes: no configuration file")));
    }
    Ok(Some(bytes))
}

/// Makes a directory that only its owner may look into, with its parents.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(ConfigError::io("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(ConfigError::io("create", dir)(error)),
        _ => Ok(()),
    }
}

/// The superuser's writes belong to the owner of the directory, so that the daemon can read them.
fn give_to_owner_of(dir: &Path, file: &File) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let (dir, present) = (fs::metadata(dir)?, file.metadata()?);
    if (dir.uid(), dir.gid()) == (present.uid(), present.gid()) {
        return Ok(());
    }
    fchown(file, Some(dir.uid()), Some(dir.gid()))
}

/// Gives what the superuser made to the owner of the directory around it.
pub(crate) fn belong_to_parent(path: &Path) -> io::Result<()> {
    give_to_owner_of(directory(path), &File::open(path)?)
}

pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `.NAME.SUFFIX` beside the file, NAME being its name without `.cfg`.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!(".{}.{suffix}", base_name(path)))
}

fn temporary_prefix(path: &Path) -> String {
    format!(".{}.tmp.", base_name(path))
}

fn base_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".cfg").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_leaves_nothing_beside_it_but_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("etc/sync.cfg");

        FileLock::take(&path).unwrap().replace(b"one", MODE_NORMAL).unwrap();
        FileLock::take(&path).unwrap().replace(b"two", MODE_SECRET).unwrap();

        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(visible(path.parent().unwrap()), [".sync.lck", "sync.cfg"]);
    }

    #[test]
    fn a_failed_replace_leaves_no_temporary_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sync.cfg");
        fs::create_dir_all(path.join("in the way")).unwrap();

        let error = FileLock::take(&path).unwrap().replace(b"one", MODE_NORMAL).unwrap_err();

        assert!(error.to_string().contains("sync.cfg"), "{error}");
        assert_eq!(visible(root.path()), [".sync.lck", "sync.cfg"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_cleaned_up_by_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sync.cfg");
        fs::write(root.path().join(".sync.tmp.Ab12"), "half").unwrap();
        fs::write(root.path().join(".remote.tmp.Ab12"), "somebody else's").unwrap();

        drop(FileLock::take(&path).unwrap());

        assert_eq!(visible(root.path()), [".remote.tmp.Ab12", ".sync.lck"]);
    }

    #[test]
    fn a_lock_that_is_held_ends_the_wait_with_a_clear_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sync.cfg");
        let held = FileLock::take(&path).unwrap();

        let error = FileLock::take_within(&path, Duration::from_millis(30)).unwrap_err();

        assert!(matches!(error, ConfigError::LockTimeout { .. }), "{error}");
        assert!(error.to_string().contains("sync.cfg is locked by another process"), "{error}");
        drop(held);
        FileLock::take_within(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn the_digest_of_an_absent_file_is_that_of_no_bytes() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

        assert_eq!(ConfigDigest::of(&read(Path::new("/nonexistent/x.cfg")).unwrap()).to_string(), text);
        assert_eq!(text.parse::<ConfigDigest>().unwrap(), ConfigDigest::of(b""));
        assert!(text.to_uppercase().parse::<ConfigDigest>().is_err());
        assert!(text[1..].parse::<ConfigDigest>().is_err());
    }
}
