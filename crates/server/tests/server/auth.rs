//! Who may come in, and how it is asked.

use std::time::{Duration, Instant};

use bytes::Bytes;
use config::acl::Role;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use super::support::{ADMIN, Answer, PASSWORD, TestServer, until};

async fn with_headers(server: &TestServer, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut builder = Request::builder().method(method).uri(format!("/api2/json{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    server.send(builder.body(Full::default()).unwrap()).await
}

async fn login(server: &TestServer, body: serde_json::Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("//api2/json/access/ticket")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body.to_string()))
        .unwrap();
    server.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_three_seconds_later_and_others_do_not_wait() {
    let server = TestServer::start().await;
    let wrong = format!("{}x", server.admin.authorization());
    let headers = [("authorization", wrong.as_str())];
    let started = Instant::now();
    let refused = with_headers(&server, Method::GET, "/version", &headers);
    let good = async {
        let answer = server.call(Method::GET, "/version").await;
        (answer, started.elapsed())
    };
    let (refused, (good, good_after)) = tokio::join!(refused, good);
    assert_eq!((refused.status.as_u16(), refused.text().as_str()), (401, "authentication failed"));
    assert!(refused.headers.get(CONTENT_TYPE).is_none());
    assert!(refused.headers[SET_COOKIE].to_str().unwrap().starts_with("__Host-PBSAuthCookie=;"));
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!(good.status, 200);
    assert!(good_after < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_separators_of_a_token_are_understood() {
    let server = TestServer::start().await;
    for separator in ["=", " "] {
        let value = server.admin.authorization().replacen('=', separator, 1);
        let answer = with_headers(&server, Method::GET, "/version", &[("authorization", &value)]).await;
        assert_eq!(answer.status, 200, "{separator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_ticket_that_serves_as_cookie_and_renews_itself() {
    let server = TestServer::start().await;
    let data = login(&server, json!({ "username": ADMIN, "password": PASSWORD })).await.data();
    assert_eq!(data["username"], ADMIN);
    let ticket = data["ticket"].as_str().unwrap();
    let renewed = login(&server, json!({ "username": ADMIN, "password": ticket })).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(renewed.headers[CONTENT_TYPE], "application/json");
    for cookie in [format!("PBSAuthCookie={ticket}"), format!("a=b; __Host-PBSAuthCookie={ticket}; secure; x=y")] {
        let answer = with_headers(&server, Method::GET, "/version", &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, 200, "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_renews_nobody_else() {
    let server = TestServer::start().await;
    server.caller("other@pbs", "/", Role::Audit);
    let data = login(&server, json!({ "username": ADMIN, "password": PASSWORD })).await.data();
    let answer = login(&server, json!({ "username": "other@pbs", "password": data["ticket"] })).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (401, "permission check failed."));
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_by_ticket_needs_a_csrf_token_of_the_same_user() {
    let server = TestServer::start().await;
    server.caller("other@pbs", "/", Role::Admin);
    let data = login(&server, json!({ "username": ADMIN, "password": PASSWORD })).await.data();
    let foreign = login(&server, json!({ "username": "other@pbs", "password": PASSWORD })).await.data();
    let cookie = format!("PBSAuthCookie={}", data["ticket"].as_str().unwrap());
    let create = |csrf: Option<String>| {
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri("/api2/json/admin/datastore/main/namespace")
            .header(COOKIE, &cookie)
            .header(CONTENT_TYPE, "application/json");
        if let Some(csrf) = csrf {
            builder = builder.header("CSRFPreventionToken", csrf);
        }
        server.send(builder.body(Full::from(json!({ "name": "a" }).to_string())).unwrap())
    };
    let text = |data: &serde_json::Value| data["CSRFPreventionToken"].as_str().unwrap().to_owned();
    let (none, wrong, right) = tokio::join!(create(None), create(Some(text(&foreign))), create(Some(text(&data))));
    assert_eq!([none.status, wrong.status, right.status].map(|status| status.as_u16()), [401, 401, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_cookie_wins_over_a_good_token() {
    let server = TestServer::start().await;
    let token = server.admin.authorization();
    let headers = [("cookie", "PBSAuthCookie=nonsense"), ("authorization", token.as_str())];
    assert_eq!(with_headers(&server, Method::GET, "/version", &headers).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_for_a_browser_hides_the_ticket_in_a_cookie() {
    let server = TestServer::start().await;
    let answer = login(&server, json!({ "username": ADMIN, "password": PASSWORD, "http-only": true })).await;
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().to_owned();
    let data = answer.data();
    assert!(data.get("ticket").is_none());
    assert!(data["ticket-info"].as_str().unwrap().ends_with("::ticketinfo"));
    let ticket = cookie.split(';').next().unwrap();
    assert!(cookie.ends_with("Secure; SameSite=Lax; HttpOnly; Path=/;"), "{cookie}");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api2/json/access/ticket")
        .header(CONTENT_TYPE, "application/json")
        .header(COOKIE, ticket)
        .body(Full::<Bytes>::from(json!({ "username": ADMIN, "http-only": true }).to_string()))
        .unwrap();
    assert_eq!(server.send(request).await.status, 200, "renewal by cookie");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_disabled_is_out_within_seconds() {
    let server = TestServer::start().await;
    let caller = server.caller("leaving@pbs", "/", Role::Admin);
    assert_eq!(server.call_as(&caller, Method::GET, "/version").await.status, 200);
    let user = caller.id.user().clone();
    config::users::update(&server.paths, &user, None, |user| {
        user.enable = Some(false);
        Ok(())
    })
    .unwrap();
    until("the token of a disabled user is refused", async || {
        server.call_as(&caller, Method::GET, "/version").await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_told_only_to_known_callers() {
    let server = TestServer::start().await;
    assert_eq!(with_headers(&server, Method::GET, "/nothing", &[]).await.status, 401);
    assert_eq!(server.call(Method::GET, "/nothing").await.status, 404);
    assert_eq!(server.call(Method::POST, "/version").await.status, 404);
    let answer = with_headers(&server, Method::GET, "/ping", &[(AUTHORIZATION.as_str(), "nonsense")]).await;
    assert_eq!(answer.status, 200);
}
