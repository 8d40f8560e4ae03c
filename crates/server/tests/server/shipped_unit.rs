//! The daemon as the service manager runs it: the very command, user and environment of the shipped unit.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use config::{Paths, ServerConf};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use super::support::{PATIENCE, Pinned, prepare};

/// `[Service]` of the shipped unit.
struct Unit(Vec<(String, String)>);

impl Unit {
    fn shipped() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/systemd/backup-server.service");
        let text = fs::read_to_string(path).unwrap();
        let (_, service) = text.split_once("[Service]").unwrap();
        let lines = service.lines().take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }

    fn one(&self, key: &str) -> &str {
        let [value] = self.all(key)[..] else { panic!("{key} stands once") };
        value
    }
}

/// The service manager's side of a running daemon.
struct Service {
    daemon: Child,
    address: SocketAddr,
    notifications: UnixDatagram,
    paths: Paths,
    _root: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Service {
    /// Does what the service manager would do, below a root of the test's own and with a port of the test's own.
    fn start(unit: &Unit, watchdog_micros: &str) -> Self {
        assert_eq!(unit.one("Type"), "notify");
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        prepare(&paths, root.path());
        let notifications = UnixDatagram::bind(root.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();

        let mut words = unit.one("ExecStart").split(' ');
        assert_eq!(words.next(), Some("/usr/bin/backup-server"));
        // Where the unit's user can reach it, wherever this was built.
        let program = root.path().join("backup-server");
        fs::copy(env!("CARGO_BIN_EXE_backup-server"), &program).unwrap();
        if geteuid().is_root() {
            let user = User::from_name(unit.one("User")).unwrap().expect("the unit's user exists");
            give_all(root.path(), &user);
        }

        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = port.as_raw_fd();
        nix::fcntl::fcntl(&port, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        // The socket is descriptor 3, and both process ids are the daemon's own.
        let exec = format!("exec 3<&{fd}; LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$0\" \"$@\"");
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let (user, group) = (unit.one("User"), unit.one("Group"));
            command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--init-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.arg("-c").arg(exec).arg(&program).args(words).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(unit.all("Environment").into_iter().filter_map(|pair| pair.split_once('=')));
        command.env("BACKUP_MANAGER_ROOT", root.path()).env("LISTEN_FDS", "1");
        command.env("NOTIFY_SOCKET", root.path().join("notify")).env("WATCHDOG_USEC", watchdog_micros);
        let daemon = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        Self { daemon, address: port.local_addr().unwrap(), notifications, paths, _root: root }
    }

    /// The next notification that `wanted` accepts; others are passed over.
    fn notification(&self, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            let length = self.notifications.recv(&mut buffer).expect("a notification");
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if wanted(text) {
                return text.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "it never came; the last one was {text:?}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.daemon.id()).unwrap()), signal).unwrap();
    }

    /// A connection on which a first request has been answered. The server must show exactly this certificate.
    fn connect(&self, certificate_pem: &str) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
        let config = Arc::new(Pinned::client_config(certificate));
        let tls = rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let tcp = std::net::TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, tcp);
        ask(&mut stream);
        stream
    }
}

/// One request and its answer, on a connection that stays open.
fn ask(stream: &mut (impl Read + Write)) {
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
}

/// `chown -R`, and a way in.
fn give_all(path: &Path, user: &User) {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn the_shipped_unit_starts_a_daemon_that_says_how_it_is() {
    let service = Service::start(&Unit::shipped(), "200000");

    let ready = service.notification(|text| text.contains("READY=1"));
    assert!(ready.contains(&format!("STATUS=listening on {}", service.address)), "{ready}");
    for _ in 0..3 {
        service.notification(|text| text == "WATCHDOG=1\n");
    }
    service.signal(Signal::SIGTERM);
    service.notification(|text| text == "STOPPING=1\n");
}

#[test]
fn a_reload_gives_new_connections_the_new_certificate_and_leaves_running_ones_alone() {
    let service = Service::start(&Unit::shipped(), "60000000");
    service.notification(|text| text.contains("READY=1"));
    let old = fs::read_to_string(service.paths.cert()).unwrap();
    let mut running = service.connect(&old);
    let elsewhere = tempfile::tempdir().unwrap();
    let new = config::cert::ensure(&Paths::under_root(elsewhere.path()), &ServerConf::default(), chrono::Utc::now());
    let new = new.unwrap();
    fs::write(service.paths.cert(), &new.certificate_pem).unwrap();
    fs::write(service.paths.key(), &new.key_pem).unwrap();

    assert!(Unit::shipped().one("ExecReload").ends_with("kill -HUP $MAINPID"));
    service.signal(Signal::SIGHUP);

    let reloading = service.notification(|text| text.contains("RELOADING=1"));
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    service.notification(|text| text.contains("READY=1"));
    service.connect(&new.certificate_pem);
    ask(&mut running);
}

#[test]
fn the_configuration_is_checked_before_the_daemon_starts_and_a_broken_job_does_not_stop_it() {
    assert_eq!(Unit::shipped().one("ExecStartPre"), "/usr/bin/backup-manager config check --start");
}
