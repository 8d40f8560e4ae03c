//! Backup groups: all backups of one machine.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::name_error::{NAME_MAX, NameError, SAFE_ID_RULE, is_safe_id, serde_as_text};

/// What was backed up. The order is that of lists: `ct`, `host`, `vm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupType {
    /// A container.
    Ct,
    /// A physical or other host.
    Host,
    /// A virtual machine.
    Vm,
}

impl BackupType {
    /// All types, in order.
    pub const ALL: [BackupType; 3] = [BackupType::Ct, BackupType::Host, BackupType::Vm];

    /// Returns the name, which is also the directory's: `ct`, `host` or `vm`.
    pub fn as_str(self) -> &'static str {
        match self {
            BackupType::Ct => "ct",
            BackupType::Host => "host",
            BackupType::Vm => "vm",
        }
    }
}

impl FromStr for BackupType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| NameError::new("backup type", text, "must be ct, host or vm"))
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Name of a group among those of its type; a safe id of at most 255 bytes.
///
/// Ids that are decimal numbers (fitting 64 bits) come first, by value; all others follow bytewise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_safe_id(text) {
            return Err(NameError::new("backup id", text, SAFE_ID_RULE));
        }
        if text.len() > NAME_MAX {
            return Err(NameError::new("backup id", text, "must have at most 255 bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Ord for BackupId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0.parse::<u64>(), other.0.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b).then_with(|| self.0.cmp(&other.0)),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for BackupId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A backup group, `type/id`. Ordered by type, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// What was backed up.
    pub backup_type: BackupType,
    /// Which one of them.
    pub id: BackupId,
}

impl GroupId {
    /// Makes the group of a type and an id.
    pub fn new(backup_type: BackupType, id: BackupId) -> Self {
        Self { backup_type, id }
    }

    /// Returns the directory of this group below its namespace's: `vm/100`.
    pub fn dir_path(&self) -> PathBuf {
        PathBuf::from(self.backup_type.as_str()).join(self.id.as_str())
    }
}

impl FromStr for GroupId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((backup_type, id)) = text.split_once('/') else {
            return Err(NameError::new("backup group", text, "must be type/id"));
        };
        Ok(Self { backup_type: backup_type.parse()?, id: id.parse()? })
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.backup_type, self.id))
    }
}

serde_as_text!(BackupType, BackupId, GroupId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_sort_by_type_then_numbers_then_text() {
        let sorted = ["ct/9", "ct/a", "host/100", "host/alpha", "vm/9", "vm/10", "vm/010", "vm/100", "vm/1x", "vm/a"];
        let mut groups: Vec<GroupId> = sorted.iter().rev().map(|text| text.parse().unwrap()).collect();

        groups.sort();

        let texts: Vec<String> = groups.iter().map(GroupId::to_string).collect();
        assert_eq!(
            texts,
            ["ct/9", "ct/a", "host/100", "host/alpha", "vm/9", "vm/010", "vm/10", "vm/100", "vm/1x", "vm/a"]
        );
    }

    #[test]
    fn a_group_path_has_exactly_two_parts() {
        assert_eq!("vm/100".parse::<GroupId>().unwrap().dir_path(), PathBuf::from("vm/100"));
        for bad in ["", "vm", "vm/", "/100", "VM/100", "vm/100/x", "vm/..", "vm/.x", "pod/1", "vm//1"] {
            assert!(bad.parse::<GroupId>().is_err(), "{bad:?}");
        }
    }
}
