//! Names and bytes of the datastore: every grammar on disk or wire has its type here.
//!
//! This crate turns bytes and text into values and back. It opens no file, reads no clock and knows no network; what it
//! decodes may come from anyone, so nothing here panics on input or trusts a length that it has not compared with what
//! is there. The bytes themselves are described in `docs/formats.md`.
//!
//! ```
//! use formats::{ChunkDigest, DataBlob, SnapshotId};
//!
//! let snapshot: SnapshotId = "vm/100/2022-05-02T08:11:33Z".parse()?;
//! assert_eq!(snapshot.group.to_string(), "vm/100");
//!
//! let chunk = DataBlob::encode(b"hello", true, None)?;
//! chunk.verify_chunk(&ChunkDigest::of(b"hello"), 5, None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod blob;
mod compress;
mod crypt;
mod digest;
mod escape;
pub mod filter;
mod group;
mod ids;
mod index;
mod key_file;
mod listing;
mod manifest;
mod name_error;
mod namespace;
mod owner;
mod removal_limit;
mod snapshot;
mod upid;

pub use archive::{ArchiveKind, ArchiveName, CLIENT_LOG_NAME, MANIFEST_NAME, RSA_KEY_NAME};
pub use blob::{BlobError, BlobKind, DataBlob, FIXED_CHUNK_SIZE, MAX_BLOB_PLAIN, MAX_CHUNK_ENCODED, MAX_CHUNK_PLAIN};
pub use crypt::{CryptKey, NoRandomness};
pub use digest::{ChunkDigest, Fingerprint, sha256};
pub use escape::{escape_unit_name, escape_unit_path, lock_path, unescape_unit_name};
pub use filter::{FilterAction, FilterSet, GroupFilter};
pub use group::{BackupId, BackupType, GroupId};
pub use ids::{JobId, RemoteName, StoreName};
pub use index::{
    DynamicIndex, DynamicIndexWriter, FixedIndex, FixedIndexWriter, INDEX_HEADER_LEN, Index, IndexBytes, IndexEntry,
    IndexError,
};
pub use key_file::{KeyError, KeyFile, Protection};
pub use listing::{ListedSnapshot, ListingFingerprint, ListingHasher, ManifestHash};
pub use manifest::{
    CryptMode, FileInfo, MAX_MANIFEST_PLAIN, Manifest, ManifestError, SignatureState, UploadStats, VerifyResult,
    VerifyState,
};
pub use name_error::{NameError, is_safe_id};
pub use namespace::Namespace;
pub use owner::{AuthId, TokenName, UserId};
pub use removal_limit::{BadRemovalLimit, RemovalLimit};
pub use snapshot::{BackupTime, SnapshotId};
pub use upid::Upid;
