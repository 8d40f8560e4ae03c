//! The golden datastore for tests: what a stock server and client wrote, and what is in it.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! let dir = tempfile::tempdir()?;
//! golden::unpack(dir.path(), golden::Dirs::Lazy)?;
//! for snapshot in golden::expected()? {
//!     let manifest = dir.path().join(snapshot.dir_path()).join("index.json.blob");
//!     assert!(manifest.exists());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The files come from `tests/golden` and are part of the binary, so a test needs no path to them. What they are and
//! where they come from is told in the README there.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

static ARCHIVE: &[u8] = include_bytes!("../../../tests/golden/datastore.tar.zst");
static EXPECTED: &[u8] = include_bytes!("../../../tests/golden/expected.json");
static PLAIN_KEY: &[u8] = include_bytes!("../../../tests/golden/keys/plain.json");
static SCRYPT_KEY: &[u8] = include_bytes!("../../../tests/golden/keys/scrypt.json");

/// Passphrase of [`scrypt_key_file`].
pub const PASSPHRASE: &str = "golden-passphrase";
/// The one chunk that no index names.
pub const UNREFERENCED_CHUNK: &str = "ab4dafb145d2671050e05d95c86e5fc99fd8e5bcdc3f1f56e4b2049e3669f89c";
/// Number of chunk files, the unreferenced one included.
pub const CHUNKS: usize = 35;
/// Number of snapshots.
pub const SNAPSHOTS: usize = 12;
/// Namespaces, root first, parents before children.
pub const NAMESPACES: [&str; 4] = ["", "empty-ns", "site-a", "site-a/lab"];
/// Groups with their namespaces.
pub const GROUPS: [(&str, &str); 7] = [
    ("", "host/alpha"),
    ("", "host/signed"),
    ("", "host/split"),
    ("", "vm/100"),
    ("", "vm/101"),
    ("site-a", "ct/200"),
    ("site-a/lab", "host/secret"),
];

/// Which chunk directories are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dirs {
    /// Only those that chunks are in: quick, but no server would attach such a datastore.
    Lazy,
    /// All 65,536, as the format wants; takes seconds on a disk.
    All,
}

/// A snapshot of the golden datastore.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExpectedSnapshot {
    /// Its namespace, empty for the root.
    pub ns: String,
    /// `type/id/time`.
    pub snapshot: String,
    /// Its files, the manifest included.
    pub files: Vec<ExpectedFile>,
}

impl ExpectedSnapshot {
    /// Returns the snapshot's directory below the datastore's.
    pub fn dir_path(&self) -> PathBuf {
        let components = self.ns.split('/').filter(|component| !component.is_empty());
        components.fold(PathBuf::new(), |path, component| path.join("ns").join(component)).join(&self.snapshot)
    }
}

/// A file of a snapshot, as the stock server listed it and the stock client restored it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExpectedFile {
    /// Name with its stored ending.
    pub name: String,
    /// Size in the server's list: of the stream for an index, of the file for a blob.
    pub size: u64,
    /// Crypt mode in the server's list. (For the manifest itself the list says how its files are protected.)
    pub crypt_mode: String,
    /// SHA-256 of the decoded content in hex; `None` for split archives, which the client does not pipe.
    pub plain_sha256: Option<String>,
    /// Length of the decoded content.
    pub plain_bytes: Option<u64>,
}

/// Unpacks the datastore into `dir`, which may exist: `.lock`, `.chunks`, groups and namespaces, with the format's
/// modes, owned by whoever runs the test.
///
/// # Errors
/// Whatever the file system says.
pub fn unpack(dir: &Path, dirs: Dirs) -> io::Result<()> {
    make_dir(dir, 0o755)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let chunks = dir.join(".chunks");
    make_dir(&chunks, 0o750)?;
    if dirs == Dirs::All {
        for number in 0..=u16::MAX {
            make_dir(&chunks.join(format!("{number:04x}")), 0o750)?;
        }
    }
    let mut archive = tar::Archive::new(zstd::stream::read::Decoder::with_buffer(ARCHIVE)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = inner_path(&entry.path()?)?;
        let is_dir = entry.header().entry_type().is_dir();
        let parents = if is_dir { Some(path.as_path()) } else { path.parent() };
        make_dirs_below(dir, parents.unwrap_or(Path::new("")))?;
        if !is_dir {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            write_file(&dir.join(path), &content)?;
        }
    }
    Ok(())
}

/// Returns every snapshot with its files.
///
/// # Errors
/// None; the file is part of this crate and its test reads it.
pub fn expected() -> io::Result<Vec<ExpectedSnapshot>> {
    Ok(serde_json::from_slice(EXPECTED)?)
}

/// Returns the key file, without passphrase, of the encrypted and the signed snapshots.
pub fn key_file() -> &'static [u8] {
    PLAIN_KEY
}

/// Returns a key file under [`PASSPHRASE`]; no snapshot uses its key.
pub fn scrypt_key_file() -> &'static [u8] {
    SCRYPT_KEY
}

/// Takes the archive's own top directory off a path, and refuses what is no plain path.
fn inner_path(path: &Path) -> io::Result<PathBuf> {
    let inner = path.strip_prefix("golden").map_err(io::Error::other)?;
    if inner.components().any(|component| !matches!(component, Component::Normal(_))) {
        return Err(io::Error::other(format!("strange path in the archive: {}", path.display())));
    }
    Ok(inner.to_owned())
}

fn make_dirs_below(dir: &Path, path: &Path) -> io::Result<()> {
    let mode = if path.starts_with(".chunks") { 0o750 } else { 0o755 };
    let mut whole = dir.to_owned();
    for component in path.components() {
        whole.push(component);
        make_dir(&whole, mode)?;
    }
    Ok(())
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Once more, whatever the umask.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) => Err(error),
    }
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datastore_unpacks_with_everything_that_is_expected() {
        let dir = tempfile::tempdir().unwrap();

        unpack(dir.path(), Dirs::Lazy).unwrap();

        let expected = expected().unwrap();
        assert_eq!(expected.len(), SNAPSHOTS);
        for snapshot in &expected {
            for file in &snapshot.files {
                assert!(dir.path().join(snapshot.dir_path()).join(&file.name).is_file(), "{snapshot:?}");
            }
        }
        for (namespace, group) in GROUPS {
            assert!(expected.iter().any(|s| s.ns == namespace && s.snapshot.starts_with(&format!("{group}/"))));
        }
        let dirs = fs::read_dir(dir.path().join(".chunks")).unwrap();
        let chunks: Vec<_> = dirs.flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap()).collect();
        assert_eq!(chunks.len(), CHUNKS);
        assert!(dir.path().join(".lock").is_file() && dir.path().join("ns/empty-ns").is_dir());
        assert!(dir.path().join(".chunks").join(&UNREFERENCED_CHUNK[..4]).join(UNREFERENCED_CHUNK).is_file());
    }

    #[test]
    fn the_keys_are_key_files() {
        assert!(key_file().starts_with(b"{\"kdf\":null") && scrypt_key_file().starts_with(b"{\"kdf\":{\"Scrypt\""));
    }
}
