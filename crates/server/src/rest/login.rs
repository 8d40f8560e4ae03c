//! Logging in and out, realms, and what the caller may do.

use std::sync::Arc;

use api_types::{Domain, Ticket};
use config::acl::AclPath;
use formats::{AuthId, UserId};
use http::HeaderValue;
use serde_json::json;

use super::call::Call;
use crate::auth::{cookie, ticket};
use crate::http::error::ApiError;
use crate::http::reply::{CLEARING_COOKIE, Reply, to_json};

/// `POST /access/ticket`: by password, or by a ticket that is still good.
pub(crate) async fn login(call: Call) -> Result<Reply, ApiError> {
    let user: UserId = call.params.parse("username")?;
    let http_only = call.params.bool("http-only", false);
    let from_cookie = http_only.then(|| cookie::host_ticket(&call.headers)).flatten();
    let password = call.params.opt_text("password").map(str::to_owned);
    if password.is_none() && from_cookie.is_none() {
        return Err(ApiError::bad_request("no password provided"));
    }
    let now = tasks::now();
    let keys = &call.state.keys;
    let renews = |text: &str| ticket::check(keys, text, now).is_some_and(|owner| owner == user);
    let renewed = from_cookie.as_deref().is_some_and(renews)
        || (from_cookie.is_none() && password.as_deref().is_some_and(|text| text.starts_with("PBS:") && renews(text)));
    let id = AuthId::from(user.clone());
    let active = call.rights().is_active(&id, now);
    let good = if renewed {
        active
    } else if let Some(password) = password {
        let (state, user) = (Arc::clone(&call.state), user.clone());
        // Checked even when the user is not active, so that the time taken tells nothing.
        active & call.state.compute(move || state.directory.verify_password(&user, &password)).await??
    } else {
        false
    };
    if !good {
        tracing::info!(%user, "login refused");
        return Err(ApiError::login_failed());
    }
    answer(&call, &user, http_only, now)
}

fn answer(call: &Call, user: &UserId, http_only: bool, now: i64) -> Result<Reply, ApiError> {
    let keys = &call.state.keys;
    let new = ticket::issue(keys, user, now);
    let csrf_token = ticket::issue_csrf(keys, user, now);
    if !http_only {
        let data = to_json(&Ticket { username: user.clone(), ticket: new, csrf_token })?;
        return Ok(Reply::Login { data, cookie: None });
    }
    let data = to_json(&json!({
        "username": user,
        "ticket-info": ticket::info(user, now),
        "CSRFPreventionToken": csrf_token,
    }))?;
    let cookie = format!("__Host-PBSAuthCookie={new}; Secure; SameSite=Lax; HttpOnly; Path=/;");
    let cookie =
        HeaderValue::from_str(&cookie).map_err(|_| ApiError::internal("cannot put the ticket into a cookie"))?;
    Ok(Reply::Login { data, cookie: Some(cookie) })
}

/// `DELETE /access/ticket`: the browser forgets its ticket.
pub(crate) async fn logout(_: Call) -> Result<Reply, ApiError> {
    Ok(Reply::Data { data: b"{}".to_vec(), attributes: Vec::new(), cookie: Some(CLEARING_COOKIE) })
}

/// `GET /access/domains`.
pub(crate) async fn domains(_: Call) -> Result<Reply, ApiError> {
    Reply::json(&[Domain {
        realm: "pbs".to_owned(),
        kind: "pbs".to_owned(),
        default: Some(true),
        comment: Some("Users of this server".to_owned()),
    }])
}

/// `GET /access/permissions`: the caller's own.
pub(crate) async fn permissions(call: Call) -> Result<Reply, ApiError> {
    let caller = call.identity()?;
    let asked: AuthId = call.params.opt("auth-id")?.unwrap_or_else(|| caller.clone());
    if !caller.owns(&asked) && !call.rights().may_audit_access(caller) {
        return Err(ApiError::forbidden("not allowed to see the permissions of others"));
    }
    let only = call.params.opt::<AclPath>("path")?;
    Reply::json(&call.rights().permissions(&asked, only.as_ref()))
}
