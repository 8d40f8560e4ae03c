use std::fmt;

use serde::{Deserialize, Serialize};

/// Answer of `GET /version`.
///
/// Peers parse `version` as exactly `MAJOR.MINOR` and `release` as an integer in a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// `MAJOR.MINOR`, with exactly one dot.
    pub version: String,
    /// Release within the version: an integer, as a string.
    pub release: String,
    /// Identifies the build.
    pub repoid: String,
    /// Extensions of our own servers, absent on a stock one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "backup-replicator")]
    pub extensions: Vec<String>,
}

impl VersionInfo {
    /// Whether the server has one of our own extensions, such as [`KNOWN_CHUNKS`](crate::protocol::KNOWN_CHUNKS).
    pub fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|offered| offered == extension)
    }

    /// Returns the version as numbers, for comparing.
    ///
    /// # Errors
    /// When a part is no number.
    pub fn release(&self) -> Result<ReleaseVersion, VersionError> {
        let bad = || VersionError { version: self.version.clone(), release: self.release.clone() };
        let (major, minor) = self.version.split_once('.').ok_or_else(bad)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        // "4.2.3" in `version` is tolerated when reading: what follows the minor number is ignored.
        let minor = minor.split_once('.').map_or(minor, |(minor, _)| minor);
        Ok(ReleaseVersion { major: number(major)?, minor: number(minor)?, release: number(&self.release)? })
    }
}

/// A server version, compared numerically part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseVersion {
    /// First number of `version`.
    pub major: u32,
    /// Second number of `version`.
    pub minor: u32,
    /// The `release`.
    pub release: u32,
}

impl ReleaseVersion {
    /// First release with namespaces, and so with everything a push needs.
    pub const NAMESPACES: ReleaseVersion = ReleaseVersion { major: 2, minor: 2, release: 0 };
    /// First release that answers group and namespace removal with statistics and knows `error-on-protected`.
    pub const DELETE_STATS: ReleaseVersion = ReleaseVersion { major: 3, minor: 2, release: 11 };
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.release)
    }
}

/// A version answer that is not made of numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server version {version:?} release {release:?} is not MAJOR.MINOR and a number")]
pub struct VersionError {
    version: String,
    release: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, release: &str) -> VersionInfo {
        VersionInfo { version: version.into(), release: release.into(), repoid: "abc".into(), extensions: Vec::new() }
    }

    #[test]
    fn versions_compare_numerically() {
        let v = |a, b| info(a, b).release().unwrap();
        assert!(v("4.2", "3") > v("3.10", "9"));
        assert!(v("3.2", "11") >= ReleaseVersion::DELETE_STATS);
        assert!(v("3.2", "9") < ReleaseVersion::DELETE_STATS);
        assert!(v("4.2.3", "3") == v("4.2", "3"));
    }

    #[test]
    fn a_version_without_numbers_is_an_error_that_shows_it() {
        let error = info("four", "3").release().unwrap_err();
        assert!(error.to_string().contains("four"));
    }
}
