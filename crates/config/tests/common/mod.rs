//! A configuration directory of a test's own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that each use a part of it")]

use std::{fs, path::Path, str::FromStr};

use config::Paths;
use tempfile::TempDir;

/// A temporary root and the paths below it.
pub struct Root {
    pub dir: TempDir,
    pub paths: Paths,
}

impl Root {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(dir.path());
        Self { dir, paths }
    }

    /// Puts a file where it is looked for.
    pub fn with(self, path: impl Fn(&Paths) -> std::path::PathBuf, text: impl AsRef<[u8]>) -> Self {
        let path = path(&self.paths);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }
}

pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Parses a name.
pub fn n<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
