//! Owners of groups.

use formats::AuthId;

use super::access::Scope;
use super::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::stores::Purpose;

/// `POST change-owner`: to anyone with the full privilege, else only between a user and the user's own tokens.
pub(crate) async fn change(call: Call) -> Result<Reply, ApiError> {
    let (ns, group) = (call.namespace()?, call.params.group()?);
    let new: AuthId = call.params.parse("new-owner")?;
    let (caller, scope) = (call.identity()?.clone(), call.scope);
    let active = call.rights().is_active(&new, tasks::now());
    let store = call.datastore(Purpose::Write)?;
    call.state
        .blocking(move || {
            let old = store.owner(&ns, &group)?;
            if scope == Scope::Owned && !may_hand_over(&caller, &old, &new) {
                return Err(ApiError::unauthorized(format!("{caller} may not change the owner from {old} to {new}")));
            }
            if !active {
                return Err(ApiError::bad_request(format!("{new} is unknown, disabled or expired")));
            }
            Ok(store.set_owner(&ns, &group, &new)?)
        })
        .await??;
    Ok(Reply::null())
}

/// Whether a caller with the lesser privilege may change the owner: both sides must belong to the same user, and the
/// caller must pass for both, which a token does for itself alone.
fn may_hand_over(caller: &AuthId, old: &AuthId, new: &AuthId) -> bool {
    caller.owns(old) && caller.owns(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_move_between_a_user_and_own_tokens_only() {
        let id = |text: &str| text.parse::<AuthId>().unwrap();
        let (user, token, other) = (id("a@pbs"), id("a@pbs!t"), id("b@pbs"));
        assert!(may_hand_over(&user, &user, &token));
        assert!(may_hand_over(&user, &token, &user));
        assert!(may_hand_over(&user, &token, &id("a@pbs!u")));
        assert!(!may_hand_over(&user, &user, &other));
        assert!(!may_hand_over(&user, &other, &user));
        assert!(!may_hand_over(&token, &user, &token));
    }
}
