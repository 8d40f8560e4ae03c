use formats::ListingFingerprint;
use serde::{Deserialize, Serialize};

/// Answer of `GET listing-fingerprint`, which only our own servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingFingerprintAnswer {
    /// The fingerprint of what the caller may list.
    pub fingerprint: ListingFingerprint,
}
