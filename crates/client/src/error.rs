use std::{io, time::Duration};

use formats::{AuthId, BlobError, Fingerprint};

use crate::RemoteAddress;

/// What went wrong between us and a server; every variant names the server.
///
/// The message tells this layer's part, [`std::error::Error::source`] carries the rest, [`ClientError::hint`] says
/// what to do about it and [`ClientError::class`] what a caller should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The host name has no address.
    #[error("{remote}: the host name could not be resolved")]
    Resolve {
        /// Which server.
        remote: RemoteAddress,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing listens on that port.
    #[error("{remote}: connection refused")]
    Refused {
        /// Which server.
        remote: RemoteAddress,
    },
    /// No connection came about, for another reason.
    #[error("{remote}: no connection")]
    Connect {
        /// Which server.
        remote: RemoteAddress,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy on the way did not let us through.
    #[error("{remote}: the proxy {proxy} does not let us through: {problem}")]
    Proxy {
        /// Which server.
        remote: RemoteAddress,
        /// Which proxy.
        proxy: RemoteAddress,
        /// The proxy's HTTP status, if it gave one.
        status: Option<u16>,
        /// What is the matter.
        problem: String,
    },
    /// The server did not do its part in time.
    #[error("{remote}: {waiting_for}: timed out after {after:?}")]
    Timeout {
        /// Which server.
        remote: RemoteAddress,
        /// `connect`, `TLS handshake` or the call.
        waiting_for: String,
        /// How long we waited.
        after: Duration,
    },
    /// The TLS handshake failed for another reason than the certificate.
    #[error("{remote}: TLS handshake failed")]
    Tls {
        /// Which server.
        remote: RemoteAddress,
        /// What TLS said.
        source: io::Error,
    },
    /// The server's certificate is not trusted.
    #[error("{remote}: certificate not trusted ({reason}), its fingerprint is {found}{}", expectation(expected))]
    Fingerprint {
        /// Which server.
        remote: RemoteAddress,
        /// The fingerprints that would have been accepted.
        expected: Vec<Fingerprint>,
        /// The fingerprint of the certificate the server showed.
        found: Fingerprint,
        /// Why the system's roots do not vouch for it.
        reason: String,
    },
    /// The server does not accept our name and secret (401).
    #[error("{remote}: authentication as {auth_id} failed: {text}")]
    Authentication {
        /// Which server.
        remote: RemoteAddress,
        /// Who we said we are.
        auth_id: AuthId,
        /// What the server said.
        text: String,
    },
    /// We lack a right (403).
    #[error("{remote}: {call}: permission denied for {auth_id}: {text}")]
    Permission {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// Who we are there.
        auth_id: Box<AuthId>,
        /// What the server said.
        text: String,
    },
    /// The thing does not exist (404).
    #[error("{remote}: {call}: not found: {text}")]
    NotFound {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// What the server said.
        text: String,
    },
    /// The server refused the call with another status; 400 is a stock server's answer to nearly everything.
    #[error("{remote}: {call}: {status}: {text}")]
    Api {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// The HTTP status.
        status: u16,
        /// What the server said.
        text: String,
    },
    /// The connection broke while a call was under way.
    #[error("{remote}: {call}: connection lost")]
    Closed {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// How it broke.
        source: hyper::Error,
    },
    /// The server sends more than the call can have for an answer.
    #[error("{remote}: {call}: answer is longer than {limit} bytes")]
    TooLong {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// The most that was allowed.
        limit: u64,
    },
    /// The server answered something the protocol does not know.
    #[error("{remote}: {call}: answer breaks the protocol")]
    Protocol {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// What is wrong with it.
        source: Box<ProtocolError>,
    },
    /// What the caller wants to send cannot be sent.
    #[error("{remote}: {call}: {problem}")]
    Request {
        /// Which server.
        remote: RemoteAddress,
        /// Method and path.
        call: String,
        /// Why.
        problem: String,
    },
}

/// An answer outside the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// No JSON of the expected shape.
    #[error("the JSON is not what was expected")]
    Json(#[source] serde_json::Error),
    /// No data blob.
    #[error("the body is no data blob")]
    Blob(#[source] BlobError),
    /// Fewer or more bytes than announced.
    #[error("{found} bytes arrived, {announced} were announced")]
    Length {
        /// By `content-length`.
        announced: u64,
        /// In fact.
        found: u64,
    },
    /// The server did not switch protocols.
    #[error("the upgrade was answered with status {status}")]
    NoUpgrade {
        /// The HTTP status.
        status: u16,
    },
    /// A chunk was confirmed under another digest.
    #[error("the upload was confirmed as {found}")]
    OtherDigest {
        /// The digest in the answer.
        found: String,
    },
    /// A list of answers is not as long as the list of questions.
    #[error("{answered} answers to {asked} questions")]
    OtherCount {
        /// How many were asked.
        asked: usize,
        /// How many were answered.
        answered: usize,
    },
    /// The version is not made of numbers.
    #[error("the version cannot be compared")]
    Version(#[source] api_types::VersionError),
    /// A ticket or CSRF token that cannot be sent back.
    #[error("the ticket contains characters that cannot be sent back")]
    Ticket,
    /// A time before 1970 or otherwise out of range.
    #[error("{0} is no backup time")]
    Time(i64),
}

/// What a caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may work later: the network or the server was not there.
    Retry,
    /// This call, and so this snapshot or group, fails; others may not.
    Skip,
    /// Nothing on this server will work until a person changes something.
    Stop,
}

impl ClientError {
    /// Returns what a caller should do.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Resolve { .. }
            | Self::Refused { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Closed { .. }
            | Self::Api { status: 502..=504, .. } => ErrorClass::Retry,
            Self::Api { .. } if self.is_busy() => ErrorClass::Retry,
            // The connection broke in the handshake, as when the server restarts.
            Self::Tls { source, .. } if !source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                ErrorClass::Retry
            }
            Self::Proxy { status: None | Some(500..), .. } => ErrorClass::Retry,
            Self::Tls { .. } | Self::Fingerprint { .. } | Self::Authentication { .. } | Self::Proxy { .. } => {
                ErrorClass::Stop
            }
            Self::Permission { .. }
            | Self::NotFound { .. }
            | Self::Api { .. }
            | Self::TooLong { .. }
            | Self::Protocol { .. }
            | Self::Request { .. } => ErrorClass::Skip,
        }
    }

    /// Tells whether the server refused the call because somebody else holds a lock.
    ///
    /// The protocol has no status of its own for that: it is a 400 like any other, so the text decides.
    pub fn is_busy(&self) -> bool {
        let Self::Api { status: 400, text, .. } = self else { return false };
        let text = text.to_lowercase();
        text.contains("is locked by") || (text.contains("unable to ") && text.contains(" lock"))
    }

    /// Returns what a person can do about it, as one sentence or two.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Resolve { remote, .. } => format!("check the spelling of \"{}\" and the DNS settings", remote.host),
            Self::Refused { remote } => format!(
                "the host is up, but nothing listens on port {}: check the port (default 8007) and that the backup \
                 server runs",
                remote.port
            ),
            Self::Connect { .. } => "check that the host is up and that routes and firewalls let us through".into(),
            Self::Proxy { status: Some(407), .. } => {
                "put the login into the proxy's address: http://USER:PASSWORD@HOST:PORT".into()
            }
            Self::Proxy { remote, proxy, status: Some(_), .. } => format!(
                "check that the proxy {proxy} may connect to {remote}, or leave it out (no_proxy, or the remote's \
                 use-node-proxy)"
            ),
            Self::Proxy { proxy, .. } => format!(
                "check that {proxy} is an HTTP proxy and runs (https_proxy, or `[node] http-proxy` with use-node-proxy)"
            ),
            Self::Timeout { waiting_for, .. } if waiting_for == "connect" => {
                "check that the host is up and that no firewall drops the packets".into()
            }
            Self::Timeout { .. } => "the server is overloaded, hangs, or the network drops packets; try again".into(),
            Self::Tls { remote, .. } => format!(
                "check that port {} is the one of a backup server (default 8007) and that nothing intercepts TLS",
                remote.port
            ),
            Self::Fingerprint { expected, found, .. } if expected.is_empty() => format!(
                "compare with what the server shows (cert info); if it is the same, set the remote's fingerprint to \
                 {found}"
            ),
            Self::Fingerprint { found, .. } => format!(
                "if the server's certificate was renewed, compare with what it shows (cert info) and set the remote's \
                 fingerprint to {found}; otherwise someone may be in between"
            ),
            Self::Authentication { auth_id, .. } if auth_id.is_token() => {
                "check the token's name and secret, and that token and user are enabled and not expired".into()
            }
            Self::Authentication { .. } => {
                "check user name, realm and password, and that the user is enabled and not expired".into()
            }
            Self::Permission { auth_id, call, .. } => {
                let own =
                    if auth_id.is_token() { "; a token needs an entry of its own, and its user the same" } else { "" };
                format!("{auth_id} needs {}{own}", needed_role(call))
            }
            Self::Api { .. } if self.is_busy() => {
                "another backup, a removal or a verification works on the same thing; try again later".into()
            }
            Self::Api { call, status: 400, .. } if call.starts_with("GET /reader") => {
                "the snapshot is gone, or we may not read it (the server does not tell these apart): reading needs \
                 the role DatastoreReader, or DatastoreBackup and ownership of the group"
                    .into()
            }
            Self::Api { call, status: 400, .. } if call.starts_with("GET /backup") => {
                "the datastore is missing or in maintenance, the group belongs to someone else, or it already has a \
                 snapshot as new as this one"
                    .into()
            }
            Self::Closed { .. } => "the server or the network ended the connection; try again".into(),
            Self::TooLong { .. } | Self::Protocol { .. } => {
                "check that this is a backup server and which version it runs; it may be damaged or hostile".into()
            }
            Self::NotFound { .. } | Self::Api { .. } | Self::Request { .. } => return None,
        })
    }

    /// Returns the server's status when it refused the call.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Authentication { .. } => Some(401),
            Self::Permission { .. } => Some(403),
            Self::NotFound { .. } => Some(404),
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Says which role a server wants for a call, given as method and path.
fn needed_role(call: &str) -> &'static str {
    let path = call.split('?').next().unwrap_or(call);
    match path.split(' ').next() {
        Some("GET") if path == "GET /backup" => "the role DatastoreBackup on the datastore or namespace",
        Some("GET") => {
            "a role on the datastore or namespace: DatastoreReader to read from it, DatastoreBackup to write to it"
        }
        Some("POST" | "DELETE") if path.ends_with("/namespace") => {
            "the role DatastoreAdmin on the datastore or the parent namespace"
        }
        Some("DELETE") => "the role DatastorePowerUser on the datastore or namespace, and to own the group",
        Some("POST") => "the role DatastoreBackup on the datastore or namespace, and to own the group",
        _ => "the role DatastoreAdmin on the datastore or namespace, or DatastoreBackup and to own the group",
    }
}

fn expectation(expected: &[Fingerprint]) -> String {
    match expected {
        [] => String::new(),
        [one] => format!(", expected {one}"),
        many => {
            let list: Vec<String> = many.iter().map(Fingerprint::to_string).collect();
            format!(", expected one of {}", list.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> ClientError {
        let (remote, call) = (RemoteAddress::new("pbs", 8007), "GET /backup?store=tank".into());
        ClientError::Api { remote, call, status: 400, text: text.into() }
    }

    #[test]
    fn what_is_locked_may_be_tried_again_and_other_refusals_may_not() {
        for text in [
            "unable to acquire backup group lock \"/run/locks/s/host-a\" while creating locked backup group \"/s/host/a\"",
            "failed to delete snapshot - while destroying snapshot \"/s\": unable to acquire snapshot lock \"/run/x\"",
            "group host/a is locked by another operation (/run/locks/s/host-a)",
        ] {
            assert_eq!(refused(text).class(), ErrorClass::Retry, "{text}");
            assert!(refused(text).hint().unwrap().contains("another backup"), "{text}");
        }
        for text in [
            "backup owner check failed (a@pbs != b@pbs)",
            "backup timestamp is older than last backup.",
            "while creating locked backup group \"/s/host/a\": No space left on device",
            "unable to open blocklist",
        ] {
            assert_eq!(refused(text).class(), ErrorClass::Skip, "{text}");
        }
    }

    #[test]
    fn a_handshake_that_breaks_off_may_be_tried_again_and_one_that_fails_may_not() {
        let tls = |source| ClientError::Tls { remote: RemoteAddress::new("pbs", 8007), source };

        let broken = tls(io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"));
        let refused = tls(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError));

        assert_eq!((broken.class(), refused.class()), (ErrorClass::Retry, ErrorClass::Stop));
    }

    #[test]
    fn a_refused_call_names_the_role_it_needs() {
        for (call, role) in [
            ("GET /admin/datastore/tank/namespace?max-depth=1", "DatastoreReader"),
            ("GET /admin/datastore/tank/groups", "DatastoreReader"),
            ("GET /admin/datastore/tank/snapshots?backup-id=1", "DatastoreReader"),
            ("GET /reader?store=tank", "DatastoreReader"),
            ("GET /backup?store=tank", "role DatastoreBackup"),
            ("POST /admin/datastore/tank/namespace", "DatastoreAdmin"),
            ("DELETE /admin/datastore/tank/namespace?ns=a", "DatastoreAdmin"),
            ("DELETE /admin/datastore/tank/groups?backup-id=1", "DatastorePowerUser"),
            ("DELETE /admin/datastore/tank/snapshots?backup-id=1", "DatastorePowerUser"),
        ] {
            for whom in ["sync@pbs", "sync@pbs!run"] {
                let error = ClientError::Permission {
                    remote: RemoteAddress::new("pbs", 8007),
                    call: call.into(),
                    auth_id: Box::new(whom.parse().unwrap()),
                    text: "permission check failed".into(),
                };
                let hint = error.hint().unwrap();
                assert!(hint.contains(role) && hint.starts_with(whom), "{call}: {hint}");
                assert_eq!(hint.contains("a token needs"), whom.contains('!'), "{hint}");
            }
        }
    }
}
