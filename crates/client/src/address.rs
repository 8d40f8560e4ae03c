use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use api_types::protocol::DEFAULT_PORT;
use formats::{AuthId, Fingerprint, UserId};

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteAddress {
    /// Host name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl RemoteAddress {
    /// Makes an address; brackets around an IPv6 address are taken off.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::to_owned);
        Self { host: bare.unwrap_or(host), port }
    }
}

/// `host:port`, with brackets around an IPv6 address.
impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT` or a bare IPv6 address; the port defaults to 8007.
impl FromStr for RemoteAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self::new(text, DEFAULT_PORT));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (text, DEFAULT_PORT),
        };
        let address = Self::new(host, port);
        let plain = |c: char| c.is_ascii_graphic() && !"/@?#[]".contains(c);
        let colons_belong = !address.host.contains(':') || address.host.parse::<IpAddr>().is_ok();
        if address.host.is_empty() || !address.host.chars().all(plain) || !colons_belong {
            return Err(bad());
        }
        Ok(address)
    }
}

/// A text that is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST or HOST:PORT")]
pub struct BadAddress(String);

/// Who we are to the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user, logged in by password before the first request.
    Password {
        /// The user.
        user: UserId,
        /// The password.
        password: String,
    },
    /// An API token; needs no login.
    Token {
        /// The token.
        auth_id: AuthId,
        /// Its secret.
        secret: String,
    },
}

impl Credentials {
    /// Returns the name the server knows us by, which owns the groups we create there.
    pub fn auth_id(&self) -> AuthId {
        match self {
            Self::Password { user, .. } => AuthId::from(user.clone()),
            Self::Token { auth_id, .. } => auth_id.clone(),
        }
    }
}

/// Leaves the secret out.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::Token { auth_id, .. } => f.debug_struct("Token").field("auth_id", auth_id).finish_non_exhaustive(),
        }
    }
}

/// Which certificates are accepted.
///
/// A chain that leads to a root of this system and names the host is always accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nothing beyond that.
    SystemRoots,
    /// Also a certificate with one of these SHA-256 fingerprints, whatever its expiry, name or issuer. The first is
    /// the present one, the others are pinned for a planned renewal: meeting one of those is worth a warning.
    Fingerprints(Vec<Fingerprint>),
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands: name resolution and TCP together, and again TLS.
    pub connect: Duration,
    /// Until the head of an answer to a REST call, login or upgrade arrived.
    pub request: Duration,
    /// Without a byte moving on the connection while a body or an answer inside a session is due. A request that gets
    /// nothing while its connection stays busy otherwise fails after 30 times as long.
    pub stall: Duration,
    /// Until a finished backup is committed: the server may have to write everything to disk first.
    pub finish: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(120),
            stall: Duration::from_secs(120),
            finish: Duration::from_secs(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_with_and_without_port() {
        let parse = |text: &str| text.parse::<RemoteAddress>().unwrap();

        assert_eq!(parse("pbs.example.org"), RemoteAddress::new("pbs.example.org", 8007));
        assert_eq!(parse("10.0.0.1:8107"), RemoteAddress::new("10.0.0.1", 8107));
        assert_eq!(parse("::1"), RemoteAddress::new("::1", 8007));
        assert_eq!(parse("[::1]:99"), RemoteAddress::new("::1", 99));
        assert_eq!(parse("[fe80::1]").to_string(), "[fe80::1]:8007");
    }

    #[test]
    fn texts_that_are_no_address_are_refused() {
        for text in ["", ":8007", "host:port", "a b", "http://host", "host:99999", "a:b:c", "user@host"] {
            assert!(text.parse::<RemoteAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credentials = Credentials::Token { auth_id: "a@pbs!t".parse().unwrap(), secret: "hunter2".into() };

        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
