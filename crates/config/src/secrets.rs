//! Files of one JSON object, name to hash, readable by their owner alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    error::{ConfigError, Result},
    files::{self, FileLock, MODE_SECRET},
};

/// One such file.
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
}

impl SecretFile {
    pub(crate) fn load(&self) -> Result<BTreeMap<String, String>> {
        parse(&self.path, &files::read(&self.path)?)
    }

    /// Changes the file under its lock; nothing is written if nothing changes.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
        let lock = FileLock::take(&self.path)?;
        let before = self.load()?;
        let mut after = before.clone();
        change(&mut after);
        if before == after {
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(&after)
            .map_err(|error| ConfigError::Refused(format!("cannot write {}: {error}", self.path.display())))?;
        text.push('\n');
        lock.replace(text.as_bytes(), MODE_SECRET)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    // The cause is left out: it could quote a hash.
    serde_json::from_slice(bytes)
        .map_err(|error| ConfigError::line(path, error.line(), "not a JSON object of names and hashes"))
}
