//! One fingerprint for everything a listing of namespaces shows (`docs/protocol-additions.md`, "Listing fingerprint").

use std::fmt;
use std::str::FromStr;

use crate::group::GroupId;
use crate::name_error::{NameError, serde_as_text};
use crate::namespace::Namespace;
use crate::owner::AuthId;
use crate::snapshot::BackupTime;

/// Says what the fingerprint is about, and by which rules.
const CONTEXT: &str = "backup-replicator 2026 listing fingerprint v1";

/// BLAKE3 over a listing, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListingFingerprint([u8; 32]);

impl ListingFingerprint {
    /// Makes a fingerprint of its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for ListingFingerprint {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(NameError::new("listing fingerprint", text, "must be 64 lower-case hex digits"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ListingFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for ListingFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

serde_as_text!(ListingFingerprint);

/// Hash of a manifest exactly as it is stored, notes and verify state included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestHash([u8; 32]);

impl ManifestHash {
    /// Hashes the stored bytes of a manifest.
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }
}

/// What the fingerprint says of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSnapshot {
    /// Its time.
    pub time: BackupTime,
    /// Its manifest.
    pub manifest: ManifestHash,
    /// Whether it is protected.
    pub protected: bool,
    /// Length of the client's log in bytes, which may be stored long after the manifest; `None` without one.
    pub client_log: Option<u64>,
}

/// Computes a [`ListingFingerprint`] from what is listed, in this order: namespaces sorted by name, in each its groups sorted
/// by type and id, in each its finished snapshots, oldest first.
///
/// Every part begins with its kind and every text with its length, so that no two listings give the same bytes.
#[derive(Debug)]
pub struct ListingHasher(Box<blake3::Hasher>);

impl Default for ListingHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ListingHasher {
    /// Begins with nothing listed.
    pub fn new() -> Self {
        Self(Box::new(blake3::Hasher::new_derive_key(CONTEXT)))
    }

    /// Adds a namespace. The groups that follow are in it.
    pub fn namespace(&mut self, ns: &Namespace) {
        self.kind(b'n');
        self.text(ns.as_str());
    }

    /// Adds a group. The snapshots that follow are in it.
    pub fn group(&mut self, group: &GroupId, owner: Option<&AuthId>, notes: &str) {
        self.kind(b'g');
        self.text(&group.to_string());
        match owner {
            None => self.kind(b'-'),
            Some(owner) => {
                self.kind(b'o');
                self.text(&owner.to_string());
            }
        }
        self.text(notes);
    }

    /// Adds a finished snapshot.
    pub fn snapshot(&mut self, snapshot: &ListedSnapshot) {
        self.kind(b's');
        self.0.update(&snapshot.time.unix().to_le_bytes());
        self.0.update(&snapshot.manifest.0);
        self.0.update(&[u8::from(snapshot.protected), u8::from(snapshot.client_log.is_some())]);
        self.0.update(&snapshot.client_log.unwrap_or(0).to_le_bytes());
    }

    /// Returns the fingerprint of all that was added.
    pub fn finish(&self) -> ListingFingerprint {
        ListingFingerprint(*self.0.finalize().as_bytes())
    }

    fn kind(&mut self, kind: u8) {
        self.0.update(&[kind]);
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(time: i64) -> ListedSnapshot {
        let time = BackupTime::from_unix(time).unwrap();
        ListedSnapshot { time, manifest: ManifestHash::of(b"m"), protected: false, client_log: None }
    }

    fn listing(group: &str, owner: Option<&str>, notes: &str, snapshots: &[ListedSnapshot]) -> ListingFingerprint {
        let mut hasher = ListingHasher::new();
        hasher.namespace(&Namespace::root());
        let owner = owner.map(|owner| owner.parse().unwrap());
        hasher.group(&group.parse().unwrap(), owner.as_ref(), notes);
        snapshots.iter().for_each(|snapshot| hasher.snapshot(snapshot));
        hasher.finish()
    }

    #[test]
    fn whatever_a_listing_shows_changes_the_fingerprint() {
        let plain = snapshot(1_700_000_000);
        let all = [
            listing("vm/1", Some("a@pbs"), "", &[plain]),
            listing("vm/2", Some("a@pbs"), "", &[plain]),
            listing("vm/1", Some("b@pbs"), "", &[plain]),
            listing("vm/1", None, "", &[plain]),
            listing("vm/1", Some("a@pbs"), "note", &[plain]),
            listing("vm/1", Some("a@pbs"), "", &[]),
            listing("vm/1", Some("a@pbs"), "", &[snapshot(1_700_000_001)]),
            listing("vm/1", Some("a@pbs"), "", &[plain, snapshot(1_700_000_001)]),
            listing("vm/1", Some("a@pbs"), "", &[ListedSnapshot { protected: true, ..plain }]),
            listing("vm/1", Some("a@pbs"), "", &[ListedSnapshot { client_log: Some(0), ..plain }]),
            listing("vm/1", Some("a@pbs"), "", &[ListedSnapshot { manifest: ManifestHash::of(b"n"), ..plain }]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at} is like an earlier one");
        }
        assert_eq!(all[0], listing("vm/1", Some("a@pbs"), "", &[plain]));
    }

    /// Two builds must agree, so the rules never change without a new name.
    #[test]
    fn the_fingerprint_of_a_known_listing_stays() {
        let fingerprint = listing("vm/1", Some("a@pbs"), "note", &[snapshot(1_700_000_000)]);
        assert_eq!(fingerprint.to_string(), "88c905ec4f03ad48e772fcbf138cc04965e62bb60cd88ab57f4420605d0520ed");
        assert_eq!(fingerprint.to_string().parse::<ListingFingerprint>().unwrap(), fingerprint);
        assert!("zz".parse::<ListingFingerprint>().is_err());
    }
}
