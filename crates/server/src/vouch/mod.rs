//! Which chunks of a datastore somebody may name in a backup without sending them (`docs/protocol-additions.md`).
//!
//! Never "whatever the datastore has": that would let anybody find out about foreign data, or read it by a reference. A
//! chunk is vouched for only to who may read a snapshot that names it, and to who sent it.

mod snapshots;
mod uploads;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datastore::Datastore;
use formats::{AuthId, ChunkDigest};

use snapshots::Snapshots;
pub(crate) use snapshots::{Reader, View};
use uploads::Uploads;

/// The vouchers of all datastores.
pub(crate) struct Vouchers {
    memory: u64,
    stores: Mutex<HashMap<PathBuf, Arc<Voucher>>>,
}

impl Vouchers {
    /// Each keeps at most `memory` bytes of digests from snapshots, and as many of uploads.
    pub(crate) fn new(memory: u64) -> Self {
        Self { memory, stores: Mutex::default() }
    }

    /// The voucher of a datastore.
    pub(crate) fn of(&self, store: &Datastore) -> Arc<Voucher> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let voucher = stores.entry(store.path().to_owned());
        Arc::clone(voucher.or_insert_with(|| Arc::new(Voucher::new(self.memory))))
    }
}

/// Vouches for chunks of one datastore.
pub(crate) struct Voucher {
    uploads: Uploads,
    snapshots: Snapshots,
}

impl Voucher {
    fn new(memory: u64) -> Self {
        Self { uploads: Uploads::new(memory), snapshots: Snapshots::new(memory) }
    }

    /// Remembers that `who` sent a chunk of `length` plain bytes.
    pub(crate) fn sent(&self, who: &AuthId, digest: ChunkDigest, length: u64) {
        self.uploads.add(who, digest, length, Instant::now());
    }

    /// Adds the lengths of those `wanted` chunks that `reader` may name. Whether they are there is another question.
    ///
    /// Reads from the disk. `view` belongs to the session that asks.
    pub(crate) fn vouch(
        &self,
        store: &Datastore,
        reader: &dyn Reader,
        view: &mut View,
        wanted: &mut HashMap<ChunkDigest, Option<u64>>,
    ) {
        let now = Instant::now();
        self.uploads.find(reader.identity(), now, wanted);
        if wanted.values().any(Option::is_none) {
            self.snapshots.refresh(store, reader, view, now);
            view.find(wanted);
        }
    }
}
