//! Small JSON files of state, below [`Paths::state`](crate::Paths::state): what is not configuration, and is remembered
//! from one run to the next.

use std::{fs, io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{ConfigError, Result},
    files::{self, MODE_NORMAL},
};

/// Reads a file; `None` when it is not there, or is damaged: state is never worth failing for.
///
/// # Errors
/// It is there and cannot be read.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = files::read_if_there(path)?;
    Ok(bytes.and_then(|bytes| match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a damaged state file counts as none");
            None
        }
    }))
}

/// Replaces a file as a whole, making its directory where it is missing. Whoever calls sees to it that nobody else writes.
///
/// # Errors
/// It cannot be written; the old content then stays.
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| ConfigError::io("write", path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    files::make_private_dir(files::directory(path))?;
    files::replace_file(path, &bytes, MODE_NORMAL)
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// It cannot be removed.
pub fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ConfigError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
