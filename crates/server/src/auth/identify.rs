//! From request headers to an identity.

use std::sync::Arc;

use api_types::protocol::CSRF_HEADER;
use formats::AuthId;
use http::{HeaderMap, Method};

use super::{cookie, ticket, token};
use crate::http::error::ApiError;
use crate::state::State;

/// Finds out who sends a request.
///
/// A ticket cookie, even a bad one, wins over the `Authorization` header. Requests by ticket that change something must
/// carry a CSRF token of the same user.
///
/// # Errors
/// 401, to be sent late, when nobody known does.
pub(crate) async fn identify(state: &Arc<State>, method: &Method, headers: &HeaderMap) -> Result<AuthId, ApiError> {
    match cookie::ticket(headers) {
        Some(value) => by_ticket(state, method, headers, &value),
        None => by_token(state, headers).await,
    }
}

fn by_ticket(state: &Arc<State>, method: &Method, headers: &HeaderMap, value: &str) -> Result<AuthId, ApiError> {
    let refuse = |why: &'static str| {
        tracing::debug!(why, "ticket refused");
        ApiError::unauthenticated()
    };
    let now = tasks::now();
    let user = ticket::check(&state.keys, value, now).ok_or_else(|| refuse("not ours, or too old"))?;
    if *method != Method::GET {
        let csrf = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        if !csrf.is_some_and(|csrf| ticket::check_csrf(&state.keys, csrf, &user, now)) {
            return Err(refuse("no CSRF token, or a bad one"));
        }
    }
    let id = AuthId::from(user);
    if state.directory.rights().is_active(&id, now) { Ok(id) } else { Err(refuse("user unknown, disabled or expired")) }
}

async fn by_token(state: &Arc<State>, headers: &HeaderMap) -> Result<AuthId, ApiError> {
    let Some((id, secret)) = token::credentials(headers) else { return Err(ApiError::unauthenticated()) };
    if !state.directory.rights().is_active(&id, tasks::now()) {
        return Err(ApiError::unauthenticated());
    }
    if state.tokens.knows(&id, &secret) {
        return Ok(id);
    }
    let checked = {
        let (state, id, secret) = (Arc::clone(state), id.clone(), secret.clone());
        let worker = Arc::clone(&state);
        worker.compute(move || state.directory.verify_token(&id, &secret)).await?
    };
    if !checked? {
        return Err(ApiError::unauthenticated());
    }
    state.tokens.note(&id, &secret);
    Ok(id)
}
