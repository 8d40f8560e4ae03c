//! What a push would not have to send. Only our own clients ask (`docs/protocol-additions.md`).

use std::collections::HashMap;

use formats::{ChunkDigest, StoreName};

use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::session::writer::known_chunks::{Caller, digests};
use crate::stores::Purpose;
use crate::vouch::View;

/// `POST known-chunks`: the plain lengths of those chunks that a writer session of this caller would be let name, `null`
/// for the others. Nothing is kept or marked as used: it is the answer for a dry run, which changes nothing.
pub(crate) async fn known_chunks(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    if !call.sees_anything_in(&name, &formats::Namespace::root()) {
        return Err(ApiError::forbidden("permission check failed"));
    }
    let asked = digests(&call.params)?;
    let store = call.datastore(Purpose::Read)?;
    let voucher = call.state.vouchers.of(&store);
    let (identity, rights) = (call.identity()?.clone(), call.rights().clone());
    let (of_store, wanted) = (store.clone(), asked.clone());
    let vouched = call
        .state
        .blocking(move || {
            let mut wanted: HashMap<ChunkDigest, Option<u64>> =
                wanted.into_iter().map(|digest| (digest, None)).collect();
            let caller = Caller { identity: &identity, store: &name, rights: &rights };
            voucher.vouch(&of_store, &caller, &mut View::default(), &mut wanted);
            wanted
        })
        .await?;
    let mut answer = Vec::with_capacity(asked.len());
    for digest in &asked {
        let length = vouched.get(digest).copied().flatten();
        let there = length.is_some() && store.chunks().stored_len(digest).await?.is_some();
        answer.push(length.filter(|_| there));
    }
    Reply::json(&answer)
}
