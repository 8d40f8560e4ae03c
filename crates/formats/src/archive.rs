//! Names of the files inside a snapshot.

use std::fmt;
use std::str::FromStr;

use crate::name_error::{NAME_MAX, NameError, is_safe_id, serde_as_text};

/// Name of the manifest, the file whose presence makes a snapshot finished.
pub const MANIFEST_NAME: &str = "index.json.blob";
/// Name of the client's log, which no manifest lists.
pub const CLIENT_LOG_NAME: &str = "client.log.blob";
/// Name of the backup's own key, encrypted to a master key; a plain blob whatever its manifest entry says.
pub const RSA_KEY_NAME: &str = "rsa-encrypted.key.blob";

/// How an archive is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveKind {
    /// Fixed index, `.fidx`.
    Fixed,
    /// Dynamic index, `.didx`.
    Dynamic,
    /// A single blob, `.blob`.
    Blob,
}

impl ArchiveKind {
    /// Returns the file name's extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            ArchiveKind::Fixed => "fidx",
            ArchiveKind::Dynamic => "didx",
            ArchiveKind::Blob => "blob",
        }
    }
}

/// Name of a file in a snapshot: a safe id that ends in `.fidx`, `.didx` or `.blob`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveName {
    text: String,
    kind: ArchiveKind,
}

impl ArchiveName {
    /// Returns the manifest's name.
    pub fn manifest() -> Self {
        Self { text: MANIFEST_NAME.to_owned(), kind: ArchiveKind::Blob }
    }

    /// Returns the client log's name.
    pub fn client_log() -> Self {
        Self { text: CLIENT_LOG_NAME.to_owned(), kind: ArchiveKind::Blob }
    }

    /// Makes the stored name of a name that a person gives: `x.img` is stored as `x.img.fidx`, `x.pxar` as
    /// `x.pxar.didx`, `x.conf` as `x.conf.blob`. A stored name stays as it is.
    ///
    /// # Errors
    /// When the ending tells no kind of archive, or the result is no safe id.
    pub fn from_user_name(name: &str) -> Result<Self, NameError> {
        let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("fidx" | "didx" | "blob") => return name.parse(),
            Some("img") => ArchiveKind::Fixed,
            Some("pxar" | "mpxar" | "ppxar" | "pcat1") => ArchiveKind::Dynamic,
            Some("conf" | "json" | "key" | "log") => ArchiveKind::Blob,
            _ => {
                let rule = "must end in .img, .pxar, .mpxar, .ppxar, .pcat1, .conf, .json, .key or .log";
                return Err(NameError::new("archive name", name, rule));
            }
        };
        format!("{name}.{}", kind.extension()).parse()
    }

    /// Returns how the archive is stored.
    pub fn kind(&self) -> ArchiveKind {
        self.kind
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name without its extension: `root.pxar` for `root.pxar.didx`.
    pub fn stem(&self) -> &str {
        &self.text[..self.text.len() - 5]
    }

    /// Tells whether this is the manifest's name.
    pub fn is_manifest(&self) -> bool {
        self.text == MANIFEST_NAME
    }

    /// Tells whether this is the client log's name.
    pub fn is_client_log(&self) -> bool {
        self.text == CLIENT_LOG_NAME
    }
}

impl FromStr for ArchiveName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let kind = match text.rsplit_once('.') {
            Some((_, "fidx")) => ArchiveKind::Fixed,
            Some((_, "didx")) => ArchiveKind::Dynamic,
            Some((_, "blob")) => ArchiveKind::Blob,
            _ => return Err(NameError::new("archive name", text, "must end in .fidx, .didx or .blob")),
        };
        if !is_safe_id(text) {
            return Err(NameError::new("archive name", text, crate::name_error::SAFE_ID_RULE));
        }
        if text.len() > NAME_MAX {
            return Err(NameError::new("archive name", text, "must have at most 255 bytes"));
        }
        Ok(Self { text: text.to_owned(), kind })
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl AsRef<str> for ArchiveName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

serde_as_text!(ArchiveName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_kind() {
        for (name, kind, stem) in [
            ("drive-scsi0.img.fidx", ArchiveKind::Fixed, "drive-scsi0.img"),
            ("root.pxar.didx", ArchiveKind::Dynamic, "root.pxar"),
            ("index.json.blob", ArchiveKind::Blob, "index.json"),
        ] {
            let name: ArchiveName = name.parse().unwrap();
            assert_eq!((name.kind(), name.stem()), (kind, stem));
        }
    }

    #[test]
    fn names_that_leave_the_snapshot_are_refused() {
        for bad in ["", ".blob", "../x.blob", "a/b.blob", "..blob", "x", "x.fidx.tmp", "x.FIDX", "a b.blob", "x\0.blob"]
        {
            assert!(bad.parse::<ArchiveName>().is_err(), "{bad:?}");
        }
        assert!(format!("{}.blob", "x".repeat(251)).parse::<ArchiveName>().is_err());
    }

    #[test]
    fn a_person_gives_names_without_the_stored_ending() {
        let stored = |name: &str| ArchiveName::from_user_name(name).map(|name| name.to_string());
        assert_eq!(stored("disk.img").unwrap(), "disk.img.fidx");
        assert_eq!(stored("root.mpxar").unwrap(), "root.mpxar.didx");
        assert_eq!(stored("catalog.pcat1").unwrap(), "catalog.pcat1.didx");
        assert_eq!(stored("etc.conf").unwrap(), "etc.conf.blob");
        assert_eq!(stored("etc.conf.blob").unwrap(), "etc.conf.blob");
        assert!(stored("disk").is_err() && stored("disk.raw").is_err() && stored("../disk.img").is_err());
    }
}
