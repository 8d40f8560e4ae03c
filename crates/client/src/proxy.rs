//! HTTP proxies: which one leads to a server, and the tunnel through it (`CONNECT`, RFC 9110 section 9.3.6).

use std::{fmt, io, net::IpAddr, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::RemoteAddress;

/// Longest head of a proxy's answer.
const MAX_HEAD: usize = 16 * 1024;

/// An HTTP proxy that opens tunnels.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    address: RemoteAddress,
    /// `user:password`.
    login: Option<String>,
}

/// Leaves the login out.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A text that names no proxy we can use. Never shows the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no proxy that can be used: {0}")]
pub struct BadProxy(&'static str);

/// `[http://][USER[:PASSWORD]@]HOST:PORT[/]`; user and password percent-encoded.
impl FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(BadProxy("only http:// proxies are supported")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(decoded(login)?), place),
            None => (None, rest),
        };
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
        if !has_port || place.parse::<IpAddr>().is_ok() {
            return Err(BadProxy("it has no port; write http://HOST:PORT"));
        }
        let address = place.parse().map_err(|_| BadProxy("write http://[USER:PASSWORD@]HOST:PORT"))?;
        Ok(Self { address, login })
    }
}

fn decoded(login: &str) -> Result<String, BadProxy> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decode = |text: &str| {
        percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| BadProxy("its login is not UTF-8"))
    };
    let (user, password) = (decode(user)?, decode(password)?);
    if user.contains(':') {
        return Err(BadProxy("its user has a colon"));
    }
    Ok(format!("{user}:{password}"))
}

impl Proxy {
    /// Returns where the proxy is.
    pub fn address(&self) -> &RemoteAddress {
        &self.address
    }

    /// Finds the proxy that `environment` names for connections to `server`.
    ///
    /// The first that is set of `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` counts; `no_proxy` or
    /// `NO_PROXY` lists hosts, domains, addresses and networks that are reached directly, `*` all. This machine itself
    /// is never reached through a proxy.
    ///
    /// # Errors
    /// The variable names no proxy that can be used.
    pub fn from_environment(
        server: &RemoteAddress,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, BadProxy> {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| environment(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()))
        };
        let Some(proxy) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]) else { return Ok(None) };
        let exceptions = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        if is_loopback(&server.host) || is_excepted(server, &exceptions) {
            return Ok(None);
        }
        proxy.parse().map(Some)
    }

    /// Leaves a proxy out for this machine itself.
    pub fn unless_loopback(self, server: &RemoteAddress) -> Option<Self> {
        Some(self).filter(|_| !is_loopback(&server.host))
    }

    /// Asks for a tunnel to `server`; afterwards `stream` leads there.
    pub(crate) async fn tunnel<S>(&self, stream: &mut S, server: &RemoteAddress) -> Result<(), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
        if let Some(login) = &self.login {
            request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login)));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        // Byte by byte, so that nothing of the tunnel is taken.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(Refusal::text("its answer has no end"));
            }
            head.push(stream.read_u8().await?);
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(200).collect();
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .filter(|code| code.len() == 3)
            .and_then(|code| code.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(407) => Err(Refusal { status, problem: "it asks for a user and password".into() }),
            Some(_) => Err(Refusal { status, problem: format!("it answered {line:?}") }),
            None => Err(Refusal::text("it does not answer as an HTTP proxy")),
        }
    }
}

/// Why a proxy opened no tunnel.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Its HTTP status, if it gave one.
    pub(crate) status: Option<u16>,
    pub(crate) problem: String,
}

impl Refusal {
    fn text(problem: &str) -> Self {
        Self { status: None, problem: problem.to_owned() }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::text("it closed the connection"),
            _ => Self { status: None, problem: error.to_string() },
        }
    }
}

/// Whether a host name or address means this machine itself.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether a `no_proxy` list names the server.
fn is_excepted(server: &RemoteAddress, list: &str) -> bool {
    let host = server.host.to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return match (network.parse(), bits.parse(), address) {
                (Ok(network), Ok(bits), Some(address)) => in_network(address, network, bits),
                _ => false,
            };
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
        if let Ok(named) = bare(&entry).parse::<IpAddr>() {
            return address == Some(named);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (bare(name), Some(port.to_owned())),
            None => (entry.clone(), None),
        };
        if port.is_some_and(|port| port != server.port.to_string()) {
            return false;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        match (address, name.parse::<IpAddr>()) {
            (Some(address), Ok(named)) => address == named,
            (None, Err(_)) => host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.')),
            _ => false,
        }
    })
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, variables: &[(&str, &str)]) -> Option<String> {
        let environment =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::from_environment(&RemoteAddress::new(host, 8007), environment).unwrap();
        proxy.map(|proxy| proxy.address().to_string())
    }

    #[test]
    fn a_proxy_is_an_http_url_or_a_host_with_a_port() {
        let parse = |text: &str| text.parse::<Proxy>().unwrap();

        assert_eq!(parse("http://proxy.lan:3128").address, RemoteAddress::new("proxy.lan", 3128));
        assert_eq!(parse("proxy.lan:3128/"), parse("http://proxy.lan:3128"));
        assert_eq!(parse("http://[fd00::1]:3128").address, RemoteAddress::new("fd00::1", 3128));
        assert_eq!(parse("http://me:p%40ss@proxy.lan:3128").login.as_deref(), Some("me:p@ss"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_the_password() {
        for text in
            ["", "proxy.lan", "https://u:hunter2@p:1", "socks5://p:1080", "http://u:hunter2@p", "[::1]", "a b:1"]
        {
            let error = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", "http://u:hunter2@p:1".parse::<Proxy>().unwrap()).contains("hunter2"));
    }

    #[test]
    fn the_variable_in_lower_case_and_for_https_comes_first() {
        let all = [("ALL_PROXY", "c:3"), ("HTTPS_PROXY", "b:2"), ("https_proxy", "a:1")];

        assert_eq!(found("pbs.test", &all).as_deref(), Some("a:1"));
        assert_eq!(found("pbs.test", &all[..2]).as_deref(), Some("b:2"));
        assert_eq!(found("pbs.test", &all[..1]).as_deref(), Some("c:3"));
        assert_eq!(found("pbs.test", &[("https_proxy", ""), ("http_proxy", "x:1")]), None);
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(found(host, &[("https_proxy", "a:1")]), None, "{host}");
            assert_eq!("a:1".parse::<Proxy>().unwrap().unless_loopback(&RemoteAddress::new(host, 1)), None, "{host}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        for (list, host, direct) in [
            ("*", "pbs.test", true),
            ("pbs.test", "pbs.test", true),
            ("test", "pbs.test", true),
            (".test, other", "PBS.test", true),
            ("*.test", "pbs.test", true),
            ("bs.test", "pbs.test", false),
            ("pbs.test:8007", "pbs.test", true),
            ("pbs.test:443", "pbs.test", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("[fd12::1]", "fd12::1", true),
            ("fd12::1", "fd12::2", false),
            ("10.0.0.0/99,nonsense/x", "10.1.2.3", false),
        ] {
            let proxy = found(host, &[("https_proxy", "a:1"), ("NO_PROXY", list)]);
            assert_eq!(proxy.is_none(), direct, "{list} and {host}");
        }
    }
}
