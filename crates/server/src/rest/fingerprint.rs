//! Whether anything changed, without listing it. Only our own clients ask (`docs/protocol-additions.md`).

use api_types::ListingFingerprintAnswer;
use config::acl::Privileges;
use datastore::Viewer;
use formats::{AuthId, GroupId, Namespace, StoreName};

use super::call::Call;
use crate::auth::directory::Rights;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `GET listing-fingerprint`: one hash over what `namespace`, `groups` and `snapshots` would list to this caller.
pub(crate) async fn fingerprint(call: Call) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.parse("store")?;
    let below = call.namespace()?;
    let depth = call.params.opt_uint("max-depth").and_then(|depth| usize::try_from(depth).ok());
    if !call.sees_anything_in(&name, &below) {
        return Err(ApiError::forbidden("permission check failed"));
    }
    let store = call.datastore(Purpose::Read)?;
    let manifests = call.state.stores.manifests(&name);
    let caller = Caller { identity: call.identity()?.clone(), store: name, rights: call.rights().clone() };
    let found = call.state.blocking(move || store.listing_fingerprint(&below, depth, &caller, &manifests)).await??;
    Reply::json(&ListingFingerprintAnswer { fingerprint: found })
}

/// Sees what the listing calls would show.
struct Caller {
    identity: AuthId,
    store: StoreName,
    rights: Rights,
}

impl Caller {
    fn privileges(&self, ns: &Namespace) -> Privileges {
        self.rights.on_datastore(&self.identity, &self.store, ns)
    }
}

impl Viewer for Caller {
    fn sees_namespace(&self, ns: &Namespace) -> bool {
        self.privileges(ns).intersects(Privileges::DATASTORE_ANY)
    }

    fn sees_group(&self, ns: &Namespace, _: &GroupId, owner: Option<&AuthId>) -> bool {
        let held = self.privileges(ns);
        held.intersects(Privileges::DATASTORE_AUDIT)
            || (held.intersects(Privileges::DATASTORE_BACKUP) && owner.is_some_and(|owner| self.identity.owns(owner)))
    }
}
