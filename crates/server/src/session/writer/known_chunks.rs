//! `known_chunks`: which chunks need not be sent. Only our own clients ask (`docs/protocol-additions.md`).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use api_types::protocol::MAX_KNOWN_CHUNKS;
use config::acl::Privileges;
use formats::{AuthId, ChunkDigest, Namespace, StoreName};

use super::Writer;
use crate::auth::directory::Rights;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::reply::Reply;
use crate::rest::call::OwnerCheck;
use crate::session::h2::SessionCall;
use crate::vouch::Reader;

/// `POST known_chunks`: the plain lengths of those chunks that the session may name from now on, `null` for the others.
///
/// A chunk is marked as used before it becomes known, exactly as one that is sent and found to be there already; the
/// session's [`WriterGuard`](datastore::WriterGuard) keeps it until the end. So it does no harm when the snapshot that
/// vouched for it is removed meanwhile.
pub(crate) async fn known_chunks(call: SessionCall<Writer>) -> Result<Reply, ApiError> {
    let session = Arc::clone(&call.session);
    session.phase.require_open()?;
    let digests = digests(&call.params)?;
    let rights = call.state.directory.rights();
    let (asking, wanted) = (Arc::clone(&session), digests.clone());
    let vouched = call.state.blocking(move || asking.vouched(&wanted, &rights)).await?;
    let named: Vec<ChunkDigest> = vouched.keys().copied().collect();
    // The one test of existence there is; nothing else has looked for a file yet.
    let there = session.store.chunks().touch_many(named.clone()).await?;
    let there: HashMap<ChunkDigest, u64> = named
        .iter()
        .zip(there)
        .filter(|(_, there)| *there)
        .filter_map(|(digest, _)| Some((*digest, *vouched.get(digest)?)))
        .collect();
    for (digest, length) in &there {
        session.known.add(*digest, *length);
    }
    let answer: Vec<Option<u64>> = digests.iter().map(|digest| there.get(digest).copied()).collect();
    Reply::json(&answer)
}

impl Writer {
    /// The lengths of those chunks that the caller may name. Only for blocking threads.
    fn vouched(&self, digests: &[ChunkDigest], rights: &Rights) -> HashMap<ChunkDigest, u64> {
        let mut wanted: HashMap<ChunkDigest, Option<u64>> =
            digests.iter().map(|digest| (*digest, self.known.find(digest))).collect();
        if wanted.values().any(Option::is_none) {
            let reader = Caller { identity: &self.caller, store: self.store.name(), rights };
            let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            self.voucher.vouch(&self.store, &reader, &mut view, &mut wanted);
        }
        wanted.into_iter().filter_map(|(digest, length)| Some((digest, length?))).collect()
    }
}

/// The digests that a call asks about.
pub(crate) fn digests(params: &Params) -> Result<Vec<ChunkDigest>, ApiError> {
    let texts = params.texts("digest-list");
    if texts.len() > MAX_KNOWN_CHUNKS {
        return Err(ApiError::parameter("digest-list", format!("more than {MAX_KNOWN_CHUNKS} digests")));
    }
    texts.iter().map(|text| text.parse().map_err(|error| ApiError::parameter("digest-list", error))).collect()
}

/// An identity that asks: it may read what a reader session or a download would give it.
pub(crate) struct Caller<'a> {
    pub(crate) identity: &'a AuthId,
    pub(crate) store: &'a StoreName,
    pub(crate) rights: &'a Rights,
}

impl Caller<'_> {
    fn privileges(&self, ns: &Namespace) -> Privileges {
        self.rights.on_datastore(self.identity, self.store, ns)
    }
}

impl Reader for Caller<'_> {
    fn identity(&self) -> &AuthId {
        self.identity
    }

    fn may_look_into(&self, ns: &Namespace) -> bool {
        self.privileges(ns).intersects(Privileges::DATASTORE_READ | Privileges::DATASTORE_BACKUP)
    }

    fn may_read(&self, ns: &Namespace, owner: &AuthId) -> bool {
        let held = self.privileges(ns);
        held.intersects(Privileges::DATASTORE_READ)
            || (held.intersects(Privileges::DATASTORE_BACKUP) && OwnerCheck::always(self.identity).passes(owner))
    }
}
