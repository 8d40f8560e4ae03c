//! Random keys that this server makes once and keeps.

use std::path::Path;

use crate::{
    error::{ConfigError, Result},
    files::{self, FileLock, MODE_SECRET},
    hashes,
    paths::Paths,
};

/// The 32 bytes that sign login tickets; made on first use.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub fn auth_key(paths: &Paths) -> Result<[u8; 32]> {
    key(&paths.auth_key())
}

/// The 32 bytes behind CSRF prevention tokens; made on first use.
///
/// # Errors
/// As for [`auth_key`].
pub fn csrf_key(paths: &Paths) -> Result<[u8; 32]> {
    key(&paths.csrf_key())
}

fn key(path: &Path) -> Result<[u8; 32]> {
    if let Some(key) = present(path)? {
        return Ok(key);
    }
    let lock = FileLock::take(path)?;
    // Another process may have been faster.
    if let Some(key) = present(path)? {
        return Ok(key);
    }
    let key = hashes::random()?;
    lock.replace(&key, MODE_SECRET)?;
    Ok(key)
}

fn present(path: &Path) -> Result<Option<[u8; 32]>> {
    let Some(bytes) = files::read_if_there(path)? else { return Ok(None) };
    bytes.try_into().map(Some).map_err(|_| {
        ConfigError::line(path, 0, "does not hold exactly 32 bytes; remove it to have a new key made (sessions end)")
    })
}
