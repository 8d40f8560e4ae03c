//! What one may do, and the roles that bundle it.

use std::{fmt, ops, str::FromStr};

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Privileges(u32);

macro_rules! privileges {
    ($($bit:literal $constant:ident $name:literal,)*) => {
        impl Privileges {
            $(#[doc = concat!("`", $name, "`.")] pub const $constant: Self = Self(1 << $bit);)*

            /// Every privilege with its name, in the order stock servers have them.
            const NAMES: &[(Self, &'static str)] = &[$((Self::$constant, $name),)*];
        }
    };
}

privileges! {
    0 SYS_AUDIT "Sys.Audit",
    1 SYS_MODIFY "Sys.Modify",
    2 SYS_POWER_MANAGEMENT "Sys.PowerManagement",
    3 DATASTORE_AUDIT "Datastore.Audit",
    4 DATASTORE_ALLOCATE "Datastore.Allocate",
    5 DATASTORE_MODIFY "Datastore.Modify",
    6 DATASTORE_READ "Datastore.Read",
    7 DATASTORE_VERIFY "Datastore.Verify",
    8 DATASTORE_BACKUP "Datastore.Backup",
    9 DATASTORE_PRUNE "Datastore.Prune",
    10 PERMISSIONS_MODIFY "Permissions.Modify",
    11 REMOTE_AUDIT "Remote.Audit",
    12 REMOTE_MODIFY "Remote.Modify",
    13 REMOTE_READ "Remote.Read",
    14 REMOTE_DATASTORE_BACKUP "Remote.DatastoreBackup",
    15 REMOTE_DATASTORE_MODIFY "Remote.DatastoreModify",
    16 REMOTE_DATASTORE_PRUNE "Remote.DatastorePrune",
    17 SYS_CONSOLE "Sys.Console",
    18 TAPE_AUDIT "Tape.Audit",
    19 TAPE_MODIFY "Tape.Modify",
    20 TAPE_WRITE "Tape.Write",
    21 TAPE_READ "Tape.Read",
    22 REALM_ALLOCATE "Realm.Allocate",
}

impl Privileges {
    /// No privilege.
    pub const NONE: Self = Self(0);
    /// Every privilege.
    pub const ALL: Self = Self((1 << 23) - 1);
    /// Those that let one see something inside a datastore.
    pub const DATASTORE_ANY: Self =
        Self(Self::DATASTORE_AUDIT.0 | Self::DATASTORE_MODIFY.0 | Self::DATASTORE_READ.0 | Self::DATASTORE_BACKUP.0);

    /// Says whether every privilege of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Says whether any privilege of `other` is in here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Says whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The names, such as `Datastore.Audit`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(one, _)| self.contains(*one)).map(|(_, name)| *name)
    }

    /// The privilege with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(one, _)| *one)
    }
}

impl ops::BitOr for Privileges {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl ops::BitAnd for Privileges {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Privileges({self})")
    }
}

macro_rules! roles {
    ($($role:ident $comment:literal [$($privilege:ident)*],)*) => {
        /// A named set of privileges.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role {
            $(#[doc = concat!($comment, ".")] $role,)*
        }

        impl Role {
            /// Every role, by name.
            pub const ALL: &[Self] = &[$(Self::$role,)*];

            /// Its name in files and requests.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$role => stringify!($role),)* }
            }

            /// One line about it.
            pub const fn comment(self) -> &'static str {
                match self { $(Self::$role => $comment,)* }
            }

            /// What it permits.
            pub const fn privileges(self) -> Privileges {
                match self { $(Self::$role => Privileges::NONE $(.union(Privileges::$privilege))*,)* }
            }
        }
    };
}

// By name, so that the derived order is the order in files.
roles! {
    Admin "Everything" [ALL],
    Audit "See the system and its datastores" [SYS_AUDIT DATASTORE_AUDIT],
    DatastoreAdmin "Everything inside a datastore" [
        DATASTORE_AUDIT DATASTORE_MODIFY DATASTORE_READ DATASTORE_VERIFY DATASTORE_BACKUP DATASTORE_PRUNE
    ],
    DatastoreAudit "See a datastore" [DATASTORE_AUDIT],
    DatastoreBackup "Back up, and restore one's own backups" [DATASTORE_BACKUP],
    DatastorePowerUser "Back up, restore and prune one's own backups" [DATASTORE_PRUNE DATASTORE_BACKUP],
    DatastoreReader "See a datastore, verify it and restore from it" [DATASTORE_AUDIT DATASTORE_VERIFY DATASTORE_READ],
    NoAccess "Nothing" [],
    RemoteAdmin "Everything about remotes" [REMOTE_AUDIT REMOTE_MODIFY REMOTE_READ],
    RemoteAudit "See remotes" [REMOTE_AUDIT],
    RemoteDatastoreAdmin "Push to a remote datastore, prune it and change its namespaces" [
        REMOTE_AUDIT REMOTE_DATASTORE_BACKUP REMOTE_DATASTORE_MODIFY REMOTE_DATASTORE_PRUNE
    ],
    RemoteDatastorePowerUser "Push to a remote datastore and prune it" [
        REMOTE_AUDIT REMOTE_DATASTORE_BACKUP REMOTE_DATASTORE_PRUNE
    ],
    RemoteSyncOperator "Pull from remotes" [REMOTE_AUDIT REMOTE_READ],
    RemoteSyncPushOperator "Push to remotes" [REMOTE_AUDIT REMOTE_DATASTORE_BACKUP],
    TapeAdmin "Everything about tapes" [TAPE_AUDIT TAPE_MODIFY TAPE_WRITE TAPE_READ],
    TapeAudit "See tapes" [TAPE_AUDIT],
    TapeOperator "Write and read tapes" [TAPE_AUDIT TAPE_WRITE TAPE_READ],
    TapeReader "Read tapes" [TAPE_AUDIT TAPE_READ],
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{0}`")]
pub struct UnknownRole(pub(crate) String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .iter()
            .copied()
            .find(|role| role.name() == text)
            .ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Role {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_exactly_its_privileges() {
        for (role, names) in [
            (Role::Audit, "Sys.Audit, Datastore.Audit"),
            (Role::NoAccess, ""),
            (
                Role::DatastoreAdmin,
                "Datastore.Audit, Datastore.Modify, Datastore.Read, Datastore.Verify, Datastore.Backup, Datastore.Prune",
            ),
            (Role::DatastoreReader, "Datastore.Audit, Datastore.Read, Datastore.Verify"),
            (Role::DatastoreBackup, "Datastore.Backup"),
            (Role::DatastorePowerUser, "Datastore.Backup, Datastore.Prune"),
            (Role::DatastoreAudit, "Datastore.Audit"),
            (Role::RemoteAudit, "Remote.Audit"),
            (Role::RemoteAdmin, "Remote.Audit, Remote.Modify, Remote.Read"),
            (Role::RemoteSyncOperator, "Remote.Audit, Remote.Read"),
            (Role::RemoteSyncPushOperator, "Remote.Audit, Remote.DatastoreBackup"),
            (Role::RemoteDatastorePowerUser, "Remote.Audit, Remote.DatastoreBackup, Remote.DatastorePrune"),
            (
                Role::RemoteDatastoreAdmin,
                "Remote.Audit, Remote.DatastoreBackup, Remote.DatastoreModify, Remote.DatastorePrune",
            ),
            (Role::TapeAudit, "Tape.Audit"),
            (Role::TapeAdmin, "Tape.Audit, Tape.Modify, Tape.Write, Tape.Read"),
            (Role::TapeOperator, "Tape.Audit, Tape.Write, Tape.Read"),
            (Role::TapeReader, "Tape.Audit, Tape.Read"),
        ] {
            assert_eq!(role.privileges().to_string(), names, "{role}");
        }
        assert_eq!(Role::Admin.privileges().names().count(), 23);
        assert_eq!(Role::ALL.len(), 18);
    }

    #[test]
    fn names_lead_back_to_roles_and_privileges() {
        for &role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        for name in Privileges::ALL.names() {
            assert_eq!(Privileges::from_name(name).unwrap().names().collect::<Vec<_>>(), [name]);
        }
        assert!("admin".parse::<Role>().is_err());
        assert_eq!(Privileges::from_name("Datastore.Everything"), None);
    }

    #[test]
    fn roles_are_listed_by_name() {
        assert!(Role::ALL.is_sorted_by_key(|role| role.name()));
    }
}
