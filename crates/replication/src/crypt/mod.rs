//! Encryption on the way: plain snapshots are encrypted while they are pushed, encrypted ones decrypted while they are
//! pulled.
//!
//! Both are ends wrapped around other ends, so planner and executor are the same with and without keys:
//!
//! * [`EncryptingSource`] shows plain snapshots as the encrypted ones they become. Their chunks have other names, so
//!   every chunk is read once to learn its name, and only those that the target lacks are read again and encrypted.
//! * [`DecryptingTarget`] takes encrypted snapshots and stores plain ones. A chunk is decrypted when it arrives, so each
//!   crosses the line once and many are on their way at a time.
//!
//! The name of an encrypted chunk depends on its key, so chunks of a snapshot under another key are never taken for
//! those of this one.

mod decide;
mod decrypt;
mod decrypt_probe;
mod encrypt;
#[cfg(test)]
mod tests;
mod translation;

use bytes::Bytes;
use formats::{ChunkDigest, DynamicIndexWriter, FixedIndexWriter, Index, IndexBytes, IndexEntry};

pub use self::decrypt::DecryptingTarget;
pub use self::encrypt::EncryptingSource;
use crate::error::EndError;

/// Returns `index` with other names for its chunks; everything else is kept.
fn renamed(index: &Index, name: impl Fn(&IndexEntry) -> Option<ChunkDigest>) -> Result<IndexBytes, EndError> {
    let failed = |error| EndError::skip("its index cannot be written anew").caused_by(error);
    let named = |entry: &IndexEntry| {
        name(entry).ok_or_else(|| EndError::skip(format!("chunk {} was never delivered", entry.digest)))
    };
    match index {
        Index::Fixed(fixed) => {
            let (size, chunk_size) = (fixed.size(), fixed.chunk_size());
            let mut writer =
                FixedIndexWriter::new(index.uuid(), index.ctime(), Some(size), chunk_size).map_err(failed)?;
            for (position, entry) in index.entries().enumerate() {
                writer.set(position as u64, named(&entry)?, entry.len()).map_err(failed)?;
            }
            writer.finish().map_err(failed)
        }
        Index::Dynamic(_) => {
            let mut writer = DynamicIndexWriter::new(index.uuid(), index.ctime());
            for entry in index.entries() {
                writer.push(named(&entry)?, entry.end).map_err(failed)?;
            }
            writer.finish().map_err(failed)
        }
    }
}

/// What became of a file on the way: its bytes, and what the new manifest says of it.
#[derive(Clone, Debug)]
struct Rewritten {
    info: formats::FileInfo,
    bytes: Bytes,
}
