use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use client::{ClientError, ErrorClass, Timeouts};
use serde_json::json;

use crate::server::{Reply, Seen, Server, data, password, token};

const LOGIN: &str = "POST //api2/json/access/ticket";
const CALL: &str = "GET /api2/json/admin/datastore";

fn ticket(number: usize) -> Reply {
    let ticket = format!("PBS:u@pbs:{number:08X}::a+b/c");
    data(json!({"username": "u@pbs", "ticket": ticket, "CSRFPreventionToken": format!("CSRF{number}")}))
}

fn is_login(seen: &Seen) -> bool {
    seen.line() == LOGIN
}

/// Answers logins with tickets 1, 2, 3... and everything else with an empty list.
async fn counting() -> Server {
    let count = AtomicUsize::new(0);
    Server::start(
        move |seen| {
            if is_login(seen) { ticket(1 + count.fetch_add(1, Ordering::SeqCst)) } else { data(json!([])) }
        },
    )
    .await
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_needs_no_login_and_its_secret_is_percent_encoded() {
    let server = Server::start(|_| data(json!([]))).await;

    server.remote_as(token("u@pbs!t1", "a b%\"ü"), Timeouts::default()).datastores().await.unwrap();

    let seen = server.seen();
    assert_eq!(server.lines(), [CALL]);
    assert_eq!(seen[0].header("authorization"), Some("PBSAPIToken u@pbs!t1:a%20b%%22%C3%BC"));
    assert_eq!(seen[0].header("csrfpreventiontoken"), None);
}

#[tokio::test]
async fn a_password_logs_in_once_and_sends_ticket_and_csrf_token_as_they_are() {
    let server = counting().await;
    let remote = server.remote_as(password("u@pbs", "geheim"), Timeouts::default());

    let (first, second) = tokio::join!(remote.datastores(), remote.datastores());

    first.unwrap();
    second.unwrap();
    assert_eq!(server.lines(), [LOGIN, CALL, CALL]);
    let seen = server.seen();
    assert_eq!(seen[0].body, r#"{"password":"geheim","username":"u@pbs"}"#);
    assert_eq!(seen[1].header("cookie"), Some("PBSAuthCookie=PBS:u@pbs:00000001::a+b/c"));
    assert_eq!(seen[1].header("csrfpreventiontoken"), Some("CSRF1"));
}

#[tokio::test]
async fn a_server_that_sets_the_host_cookie_gets_its_ticket_under_that_name() {
    let server = Server::start(|seen| {
        let answer = json!({"username": "u@pbs", "ticket": "T", "CSRFPreventionToken": "C"});
        if is_login(seen) { Reply::Cookie(answer, "__Host-PBSAuthCookie=T; Secure; Path=/;") } else { data(json!([])) }
    })
    .await;

    server.remote_as(password("u@pbs", "geheim"), Timeouts::default()).datastores().await.unwrap();

    assert_eq!(server.seen()[1].header("cookie"), Some("__Host-PBSAuthCookie=T"));
}

#[tokio::test]
async fn after_15_minutes_the_ticket_is_renewed_with_the_ticket_itself() {
    let server = counting().await;
    let remote = server.remote_as(password("u@pbs", "geheim"), Timeouts::default());
    remote.datastores().await.unwrap();

    pass(Duration::from_secs(14 * 60)).await;
    remote.datastores().await.unwrap();
    pass(Duration::from_secs(2 * 60)).await;
    remote.datastores().await.unwrap();

    assert_eq!(server.lines(), [LOGIN, CALL, CALL, LOGIN, CALL]);
    let seen = server.seen();
    assert_eq!(seen[3].json()["password"], "PBS:u@pbs:00000001::a+b/c");
    assert_eq!(seen[4].header("cookie"), Some("PBSAuthCookie=PBS:u@pbs:00000002::a+b/c"));
}

#[tokio::test]
async fn a_renewal_that_fails_keeps_the_old_ticket() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| match is_login(seen) {
        true if count.fetch_add(1, Ordering::SeqCst) > 0 => Reply::Status(500, "out of order"),
        true => ticket(1),
        false => data(json!([])),
    })
    .await;
    let remote = server.remote_as(password("u@pbs", "geheim"), Timeouts::default());
    remote.datastores().await.unwrap();

    pass(Duration::from_secs(16 * 60)).await;
    remote.datastores().await.unwrap();

    assert_eq!(server.lines(), [LOGIN, CALL, LOGIN, CALL]);
    assert_eq!(server.seen()[3].header("csrfpreventiontoken"), Some("CSRF1"));
}

#[tokio::test]
async fn a_ticket_that_is_no_longer_accepted_is_replaced_with_the_password() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| match is_login(seen) {
        true if seen.json()["password"] != "geheim" => Reply::Status(401, "permission check failed."),
        true => ticket(1 + count.fetch_add(1, Ordering::SeqCst)),
        false => data(json!([])),
    })
    .await;
    let remote = server.remote_as(password("u@pbs", "geheim"), Timeouts::default());
    remote.datastores().await.unwrap();

    pass(Duration::from_secs(3 * 3600)).await;
    remote.datastores().await.unwrap();

    assert_eq!(server.lines(), [LOGIN, CALL, LOGIN, LOGIN, CALL]);
    assert_eq!(server.seen()[4].header("csrfpreventiontoken"), Some("CSRF2"));
}

#[tokio::test]
async fn a_ticket_refused_in_the_middle_of_a_job_leads_to_one_new_login() {
    let logins = AtomicUsize::new(0);
    let server = Server::start(move |seen| match is_login(seen) {
        true => ticket(1 + logins.fetch_add(1, Ordering::SeqCst)),
        // After its second login the server has forgotten the first ticket.
        false if seen.header("csrfpreventiontoken") == Some("CSRF1") && seen.target.ends_with("/status") => {
            Reply::Status(401, "authentication failed")
        }
        false if seen.target.ends_with("/status") => data(json!({"total": 1, "used": 0, "avail": 1})),
        false => data(json!([])),
    })
    .await;
    let remote = server.remote_as(password("u@pbs", "geheim"), Timeouts::default());
    remote.datastores().await.unwrap();

    let status = remote.datastore_status(&"tank".parse().unwrap()).await.unwrap();

    assert_eq!(status.total, 1);
    assert_eq!(server.lines().iter().filter(|line| *line == LOGIN).count(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_an_authentication_error_that_names_the_user() {
    let server = Server::start(|_| Reply::Status(401, "permission check failed.")).await;

    let error = server.remote_as(password("u@pbs", "falsch"), Timeouts::default()).datastores().await.unwrap_err();

    assert!(matches!(error, ClientError::Authentication { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("{}: authentication as u@pbs failed: permission check failed.", server.address)
    );
    assert!(error.hint().unwrap().contains("password"));
    assert_eq!(error.class(), ErrorClass::Stop);
    assert_eq!(server.lines(), [LOGIN], "a wrong password is not tried twice");
}

#[tokio::test]
async fn a_wrong_token_is_an_authentication_error_after_one_request() {
    let server = Server::start(|_| Reply::Status(401, "authentication failed")).await;

    let error = server.remote().datastores().await.unwrap_err();

    assert!(matches!(error, ClientError::Authentication { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("token"));
    assert_eq!(server.lines(), [CALL]);
}

#[tokio::test]
async fn a_ticket_that_cannot_be_a_header_is_a_protocol_error() {
    let server =
        Server::start(|_| data(json!({"username": "u@pbs", "ticket": "a\nb", "CSRFPreventionToken": "C"}))).await;

    let error = server.remote_as(password("u@pbs", "geheim"), Timeouts::default()).datastores().await.unwrap_err();

    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}
