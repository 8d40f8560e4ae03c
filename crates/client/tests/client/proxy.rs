//! Through an HTTP proxy, and over IPv6.

use std::sync::{Arc, Mutex};

use client::{ClientError, ErrorClass, Proxy, Remote, RemoteAddress, Timeouts, Traffic, Trust, Verdict};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::server::{Reply, Server, data, remote_address, token};

/// A proxy that leads every tunnel to one server, or refuses, and remembers the heads it got.
struct Scripted {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    async fn start(server: &RemoteAddress, refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, server) = (Arc::clone(&heads), server.to_string());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                if let Some(refusal) = refusal {
                    near.write_all(refusal.as_bytes()).await.unwrap();
                    continue;
                }
                let mut far = TcpStream::connect(&server).await.unwrap();
                near.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
                tunnels.spawn(async move { drop(copy_bidirectional(&mut near, &mut far).await) });
            }
        });
        Self { address, heads, _tasks: tasks }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn version() -> Reply {
    data(json!({"version": "4.2", "release": "3", "repoid": "abc"}))
}

fn through(proxy: &str, address: RemoteAddress, trust: Trust) -> Remote {
    let proxy: Proxy = proxy.parse().unwrap();
    let credentials = token("sync@pbs!t1", "SECRET");
    Remote::through(Some(proxy), address, credentials, trust, Traffic::new(), Timeouts::default()).unwrap()
}

#[tokio::test]
async fn a_tunnel_leads_to_the_server_by_the_name_we_know() {
    let server = Server::start(|_| version()).await;
    let proxy = Scripted::start(&server.address, None).await;
    let trust = Trust::Fingerprints(vec![server.fingerprint]);
    // The name is for the proxy to resolve.
    let remote = through(&proxy.address, RemoteAddress::new("pbs.invalid", 8007), trust);

    assert_eq!(remote.version().await.unwrap().version, "4.2");
    remote.version().await.unwrap();

    let heads = proxy.heads();
    assert_eq!(heads, ["CONNECT pbs.invalid:8007 HTTP/1.1\r\nHost: pbs.invalid:8007\r\n\r\n"], "one kept connection");
    assert_eq!(server.seen()[0].header("host"), Some("pbs.invalid:8007"));
}

#[tokio::test]
async fn an_ipv6_address_has_brackets_in_the_tunnel_and_the_host_header() {
    let server = Server::start(|_| version()).await;
    let proxy = Scripted::start(&server.address, None).await;
    let trust = Trust::Fingerprints(vec![server.fingerprint]);

    through(&proxy.address, RemoteAddress::new("2001:db8::1", 8007), trust).version().await.unwrap();

    assert!(proxy.heads()[0].starts_with("CONNECT [2001:db8::1]:8007 HTTP/1.1\r\nHost: [2001:db8::1]:8007\r\n"));
    assert_eq!(server.seen()[0].header("host"), Some("[2001:db8::1]:8007"));
}

#[tokio::test]
async fn a_login_in_the_address_goes_to_the_proxy_alone() {
    let server = Server::start(|_| version()).await;
    let proxy = Scripted::start(&server.address, None).await;
    let trust = Trust::Fingerprints(vec![server.fingerprint]);
    let address = format!("http://me:p%40ss@{}", proxy.address);

    through(&address, RemoteAddress::new("pbs.invalid", 8007), trust).version().await.unwrap();

    // base64 of me:p@ss
    assert!(proxy.heads()[0].contains("\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n"), "{:?}", proxy.heads());
    assert_eq!(server.seen()[0].header("proxy-authorization"), None);
}

#[tokio::test]
async fn a_proxy_that_wants_a_login_or_refuses_says_so_and_what_to_do() {
    for (answer, class, words, hint) in [
        ("HTTP/1.1 407 Authentication\r\n\r\n", ErrorClass::Stop, "user and password", "USER:PASSWORD@"),
        ("HTTP/1.0 403 Forbidden\r\n\r\n", ErrorClass::Stop, "403 Forbidden", "no_proxy"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", ErrorClass::Retry, "502", "no_proxy"),
        ("SSH-2.0-OpenSSH\r\n\r\n", ErrorClass::Retry, "HTTP proxy", "is an HTTP proxy"),
    ] {
        let server = Server::start(|_| version()).await;
        let proxy = Scripted::start(&server.address, Some(answer)).await;
        let remote = through(&proxy.address, RemoteAddress::new("pbs.invalid", 8007), Trust::SystemRoots);

        let error = remote.version().await.unwrap_err();

        assert!(matches!(error, ClientError::Proxy { .. }), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains(&proxy.address), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        assert_eq!(error.class(), class, "{answer}");
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_proxy_whose_answer_never_ends_is_given_up() {
    let endless: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(20_000)).into_boxed_str());
    let server = Server::start(|_| version()).await;
    let proxy = Scripted::start(&server.address, Some(endless)).await;
    let remote = through(&proxy.address, RemoteAddress::new("pbs.invalid", 8007), Trust::SystemRoots);

    assert!(remote.version().await.unwrap_err().to_string().contains("has no end"));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap().to_string();
    drop(listener);

    let error =
        through(&free, RemoteAddress::new("pbs.invalid", 8007), Trust::SystemRoots).version().await.unwrap_err();

    assert!(error.to_string().contains(&free), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
}

#[tokio::test]
async fn a_server_is_reached_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("SKIPPED: this machine has no IPv6 loopback, nothing was tested");
        return;
    };
    let server = Server::start(|_| version()).await;
    let near = listener.local_addr().unwrap();
    let far = server.address.to_string();
    let _line = {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(far).await.unwrap();
            drop(copy_bidirectional(&mut near, &mut far).await);
        });
        tasks
    };
    let trust = Trust::Fingerprints(vec![server.fingerprint]);
    let credentials = token("sync@pbs!t1", "SECRET");
    let remote = Remote::new(remote_address(near), credentials, trust, Traffic::new()).unwrap();

    remote.version().await.unwrap();

    assert_eq!(server.seen()[0].header("host"), Some(near.to_string().as_str()));
}

#[tokio::test]
async fn the_certificate_of_a_server_is_shown_without_asking_it_anything() {
    let server = Server::start(|_| version()).await;

    let shown = client::shown_certificate(&server.address, None, Timeouts::default()).await.unwrap();

    assert_eq!(shown.fingerprint, server.fingerprint);
    assert_eq!(formats::Fingerprint::of_certificate(&shown.der), server.fingerprint);
    assert!(matches!(shown.verdict, Verdict::Untrusted(_)), "{:?}", shown.verdict);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn the_second_pin_is_told_from_the_first() {
    let server = Server::start(|_| version()).await;
    let trust = Trust::Fingerprints(vec![formats::Fingerprint::from_bytes([1; 32]), server.fingerprint]);
    let remote = Remote::new(server.address.clone(), token("a@pbs!t", "S"), trust, Traffic::new()).unwrap();
    assert_eq!(remote.certificate(), None);

    remote.connect().await.unwrap();

    assert_eq!(remote.certificate().unwrap().verdict, Verdict::Pinned(1));
    let (_, time) = remote.version_and_time().await.unwrap();
    let off = std::time::SystemTime::now().duration_since(time.unwrap()).unwrap();
    assert!(off.as_secs() < 60, "{off:?}");
}
