//! REST calls over a small pool of HTTP/1.1 connections, and the login they need.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use api_types::{
    Ticket,
    protocol::{CSRF_HEADER, HOST_TICKET_COOKIE, TICKET_COOKIE, TOKEN_PREFIX},
};
use bytes::Bytes;
use formats::AuthId;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, DATE, HOST, HeaderName, HeaderValue, SET_COOKIE, UPGRADE,
        USER_AGENT,
    },
};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    ClientError, Credentials, ProtocolError, RemoteAddress, Timeouts,
    body::{self, BodyError, Stalled, Watch},
    call::{self, Call},
    connect::{Connector, Link},
};

/// A ticket is renewed when it is older than this; it is valid for two hours.
const RENEW_AFTER: Duration = Duration::from_secs(15 * 60);

/// After a renewal that failed, the old ticket is used and the next attempt waits for this long.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Idle connections kept; more are closed.
const MAX_IDLE: usize = 8;

/// Longest answer to a REST call.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Longest error text that is read.
pub(crate) const MAX_ERROR_TEXT: u64 = 64 * 1024;

/// What an official client encodes in a token's secret, `%` not among it.
const SECRET_ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'{').add(b'}').add(b'`');

/// Names server and identity in errors.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: RemoteAddress,
    pub(crate) auth_id: AuthId,
}

impl Peer {
    pub(crate) fn timed_out(&self, call: &Call, after: Duration) -> ClientError {
        ClientError::Timeout { remote: self.address.clone(), waiting_for: call.label(), after }
    }

    pub(crate) fn closed(&self, call: &Call, source: hyper::Error) -> ClientError {
        ClientError::Closed { remote: self.address.clone(), call: call.label(), source }
    }

    pub(crate) fn protocol(&self, call: &Call, source: ProtocolError) -> ClientError {
        ClientError::Protocol { remote: self.address.clone(), call: call.label(), source: Box::new(source) }
    }

    pub(crate) fn request(&self, call: &Call, problem: impl Into<String>) -> ClientError {
        ClientError::Request { remote: self.address.clone(), call: call.label(), problem: problem.into() }
    }

    /// Says why the body of an answer could not be had; `alive` is whether the connection still stands.
    pub(crate) fn body(&self, call: &Call, error: BodyError, max: u64, alive: bool) -> ClientError {
        match error {
            BodyError::TooLong => ClientError::TooLong { remote: self.address.clone(), call: call.label(), limit: max },
            BodyError::Length { announced, found } => self.protocol(call, ProtocolError::Length { announced, found }),
            BodyError::Stalled(Stalled(after)) => self.timed_out(call, after),
            BodyError::Broken { announced: Some(announced), found, .. } if alive && found < announced => {
                self.protocol(call, ProtocolError::Length { announced, found })
            }
            BodyError::Broken { source, .. } => self.closed(call, source),
        }
    }

    /// Makes the error for an answer of status `status`.
    pub(crate) fn refused(&self, call: &Call, status: StatusCode, text: &[u8]) -> ClientError {
        let (remote, label, text) = (self.address.clone(), call.label(), body::one_line(text));
        match status {
            StatusCode::FORBIDDEN => {
                ClientError::Permission { remote, call: label, auth_id: Box::new(self.auth_id.clone()), text }
            }
            StatusCode::NOT_FOUND => ClientError::NotFound { remote, call: label, text },
            _ => ClientError::Api { remote, call: label, status: status.as_u16(), text },
        }
    }
}

/// Success envelope; unlike [`api_types::Envelope`] it insists on `data` even for optional results.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Answer<T> {
    #[serde(deserialize_with = "T::deserialize")]
    data: T,
}

/// Takes the result out of an envelope.
pub(crate) fn parse_answer<T: DeserializeOwned>(peer: &Peer, call: &Call, body: &[u8]) -> Result<T, ClientError> {
    let answer: Answer<T> =
        serde_json::from_slice(body).map_err(|error| peer.protocol(call, ProtocolError::Json(error)))?;
    Ok(answer.data)
}

/// A login that works.
struct Login {
    ticket: String,
    headers: HeaderMap,
    since: Instant,
    renew_at: Instant,
}

/// The headers that say who we are.
struct Identity {
    headers: HeaderMap,
    /// When the login behind them was made; absent for tokens.
    since: Option<Instant>,
}

/// The REST side of one remote.
pub(crate) struct Rest {
    pub(crate) peer: Peer,
    pub(crate) timeouts: Timeouts,
    credentials: Credentials,
    host: HeaderValue,
    connector: Connector,
    idle: Mutex<Vec<Link>>,
    login: tokio::sync::Mutex<Option<Login>>,
}

impl Rest {
    pub(crate) fn new(
        address: RemoteAddress,
        credentials: Credentials,
        connector: Connector,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        let host = HeaderValue::try_from(address.to_string()).map_err(|error| ClientError::Resolve {
            remote: address.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
        })?;
        let peer = Peer { address, auth_id: credentials.auth_id() };
        Ok(Self { peer, timeouts, credentials, host, connector, idle: Mutex::default(), login: Default::default() })
    }

    /// Makes a call and parses its result.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        Ok(self.json_and_time(call).await?.0)
    }

    /// Makes a call and parses its result and the server's time.
    pub(crate) async fn json_and_time<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<(T, Option<SystemTime>), ClientError> {
        let (response, link) = self.send(call, None).await?;
        let date = response.headers().get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let body = self.collect(call, response, link, MAX_ANSWER).await?;
        Ok((parse_answer(&self.peer, call, &body)?, date))
    }

    /// Opens a connection and keeps it for later.
    pub(crate) async fn connect(&self) -> Result<(), ClientError> {
        let link = self.connector.open().await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        Ok(())
    }

    /// Returns the certificate of the last handshake.
    pub(crate) fn certificate(&self) -> Option<crate::ShownCertificate> {
        self.connector.certificate()
    }

    /// Upgrades a connection to `protocol`.
    pub(crate) async fn upgrade(
        &self,
        call: &Call,
        protocol: &'static str,
    ) -> Result<(hyper::upgrade::Upgraded, Arc<crate::activity::Activity>), ClientError> {
        let (response, link) = self.send(call, Some(protocol)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            return Err(self.peer.protocol(call, ProtocolError::NoUpgrade { status }));
        }
        let activity = Arc::clone(&link.activity);
        let upgraded = timeout(self.timeouts.request, hyper::upgrade::on(response))
            .await
            .map_err(|_| self.peer.timed_out(call, self.timeouts.request))?
            .map_err(|source| self.peer.closed(call, source))?;
        Ok((upgraded, activity))
    }

    /// Sends a call with our identity; an answer that is no success becomes an error.
    async fn send(
        &self,
        call: &Call,
        upgrade: Option<&'static str>,
    ) -> Result<(Response<Incoming>, Link), ClientError> {
        let began = Instant::now();
        let mut identity = self.identity().await?;
        let mut prefix = "/api2/json";
        if upgrade.is_some() {
            prefix = "//api2/json"; // what an official client sends
        }
        let (mut response, mut link) = self.transact(call, prefix, &identity.headers, upgrade).await?;
        // A ticket that was good before may be void now, as after a restart of the server with other keys.
        if response.status() == StatusCode::UNAUTHORIZED && identity.since.is_some_and(|since| since < began) {
            self.forget_login(identity.since).await;
            identity = self.identity().await?;
            (response, link) = self.transact(call, prefix, &identity.headers, upgrade).await?;
        }
        let status = response.status();
        if status.is_success() || (upgrade.is_some() && status == StatusCode::SWITCHING_PROTOCOLS) {
            return Ok((response, link));
        }
        let text = self.collect(call, response, link, MAX_ERROR_TEXT).await.unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized(&text));
        }
        Err(self.peer.refused(call, status, &text))
    }

    fn unauthorized(&self, text: &[u8]) -> ClientError {
        ClientError::Authentication {
            remote: self.peer.address.clone(),
            auth_id: self.peer.auth_id.clone(),
            text: body::one_line(text),
        }
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// A pooled connection may have been closed by the server in the meantime: what was not sent, or may be sent twice,
    /// is then sent once more on a new connection.
    async fn transact(
        &self,
        call: &Call,
        prefix: &str,
        identity: &HeaderMap,
        upgrade: Option<&'static str>,
    ) -> Result<(Response<Incoming>, Link), ClientError> {
        let mut pooled = self.take_idle().await;
        loop {
            let reused = pooled.is_some();
            let mut link = match pooled.take() {
                Some(link) => link,
                None => self.connector.open().await?,
            };
            let request = self.request(call, prefix, identity, upgrade)?;
            let activity = Arc::clone(&link.activity);
            let sent = Watch::strict(&activity, self.timeouts.request)
                .step(link.sender.try_send_request(request))
                .await
                .map_err(|Stalled(after)| self.peer.timed_out(call, after))?;
            match sent {
                Ok(response) => return Ok((response, link)),
                Err(mut error) => {
                    let unsent = error.take_message().is_some();
                    if reused && (unsent || call.method() == Method::GET) {
                        continue;
                    }
                    return Err(self.peer.closed(call, error.into_error()));
                }
            }
        }
    }

    fn request(
        &self,
        call: &Call,
        prefix: &str,
        identity: &HeaderMap,
        upgrade: Option<&'static str>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let target: Uri =
            call.target(prefix).parse().map_err(|error| self.peer.request(call, format!("bad target: {error}")))?;
        let mut request = Request::new(Full::new(call.body()));
        *request.method_mut() = call.method().clone();
        *request.uri_mut() = target;
        // The order of an official client, should anyone look.
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, call::USER_AGENT);
        headers.insert(CONTENT_TYPE, call.content_type());
        for (name, value) in identity {
            headers.insert(name, value.clone());
        }
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
        }
        headers.insert(HOST, self.host.clone());
        Ok(request)
    }

    /// Collects an answer's body and puts the connection back into the pool.
    async fn collect(
        &self,
        call: &Call,
        response: Response<Incoming>,
        link: Link,
        max: u64,
    ) -> Result<Bytes, ClientError> {
        let mut watch = Watch::new(&link.activity, self.timeouts.stall);
        let body = body::collect(response, max, &mut watch)
            .await
            .map_err(|error| self.peer.body(call, error, max, !link.sender.is_closed()))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !link.sender.is_closed() {
            idle.push(link);
        }
        Ok(body)
    }

    /// Returns an idle connection that still stands.
    async fn take_idle(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            // Its last answer is complete, so it is ready at once or closed.
            let ready = timeout(Duration::from_secs(1), link.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(link);
            }
        }
    }

    /// Returns the headers that say who we are, after a login or a renewal where one is due.
    async fn identity(&self) -> Result<Identity, ClientError> {
        let (user, password) = match &self.credentials {
            Credentials::Token { auth_id, secret } => return self.token_identity(auth_id, secret),
            Credentials::Password { user, password } => (user, password),
        };
        let mut login = self.login.lock().await;
        let now = Instant::now();
        let renewed = match login.as_mut() {
            Some(login) if now < login.renew_at => None,
            None => Some(self.login(user.as_str(), password).await?),
            Some(old) => match self.login(user.as_str(), &old.ticket).await {
                Ok(new) => Some(new),
                // The ticket is no longer accepted, but the password may be.
                Err(ClientError::Authentication { .. }) => Some(self.login(user.as_str(), password).await?),
                Err(error) => {
                    tracing::warn!(%error, "the login was not renewed, the old one is used");
                    old.renew_at = now + RENEW_AGAIN;
                    None
                }
            },
        };
        if renewed.is_some() {
            *login = renewed;
        }
        let (headers, since) =
            login.as_ref().map_or_else(Default::default, |login| (login.headers.clone(), Some(login.since)));
        Ok(Identity { headers, since })
    }

    fn token_identity(&self, auth_id: &AuthId, secret: &str) -> Result<Identity, ClientError> {
        let text = format!("{TOKEN_PREFIX} {auth_id}:{}", utf8_percent_encode(secret, SECRET_ENCODED));
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| self.unauthorized(b"the secret has characters that cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Identity { headers: HeaderMap::from_iter([(AUTHORIZATION, value)]), since: None })
    }

    /// Forgets the login made at `since`, unless there is a newer one.
    async fn forget_login(&self, since: Option<Instant>) {
        let mut login = self.login.lock().await;
        if login.as_ref().map(|login| login.since) == since {
            *login = None;
        }
    }

    /// Logs in with a password, or with a ticket in its place.
    async fn login(&self, user: &str, password: &str) -> Result<Login, ClientError> {
        let parameters = BTreeMap::from([("username", Value::from(user)), ("password", Value::from(password))]);
        let call = Call::post("/access/ticket").json(&parameters);
        let (response, link) = self.transact(&call, "//api2/json", &HeaderMap::new(), None).await?;
        let status = response.status();
        let host_cookie = response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok()?.split_once('='))
            .any(|(name, value)| name.trim() == HOST_TICKET_COOKIE && !value.starts_with(';'));
        let text = self.collect(&call, response, link, MAX_ERROR_TEXT).await?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized(&text));
        }
        if !status.is_success() {
            return Err(self.peer.refused(&call, status, &text));
        }
        let answer: Ticket = parse_answer(&self.peer, &call, &text)?;
        let cookie = if host_cookie { HOST_TICKET_COOKIE } else { TICKET_COOKIE };
        let mut headers = HeaderMap::new();
        for (name, text) in
            [(COOKIE, format!("{cookie}={}", answer.ticket)), (HeaderName::from_static(CSRF_HEADER), answer.csrf_token)]
        {
            let mut value =
                HeaderValue::try_from(text).map_err(|_| self.peer.protocol(&call, ProtocolError::Ticket))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let now = Instant::now();
        Ok(Login { ticket: answer.ticket, headers, since: now, renew_at: now + RENEW_AFTER })
    }
}
