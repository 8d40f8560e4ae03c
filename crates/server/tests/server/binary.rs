//! The daemon as a process.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use config::Paths;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::prepare;

/// A daemon that is killed when the test ends, whatever happens.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(root: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backup-server"));
    command.arg("--root").arg(root).stdout(Stdio::piped()).stderr(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Waits for the ready line and returns the address in it.
fn ready(daemon: &mut Daemon) -> String {
    let mut line = String::new();
    BufReader::new(daemon.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned()
}

#[test]
fn the_daemon_says_where_it_listens_and_ends_at_sigterm() {
    let root = tempfile::tempdir().unwrap();
    prepare(&Paths::under_root(root.path()), root.path());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon(command(root.path()).args(["--listen", "127.0.0.1:0"]).spawn().unwrap());
        let address = ready(&mut daemon);
        std::net::TcpStream::connect(&address).unwrap();
        kill(Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()), signal).unwrap();
        assert!(daemon.0.wait().unwrap().success(), "{signal}");
        let mut rest = String::new();
        daemon.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "standard output has that one line");
    }
}

#[test]
fn the_daemon_takes_a_socket_that_it_is_given() {
    let root = tempfile::tempdir().unwrap();
    prepare(&Paths::under_root(root.path()), root.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fd = listener.as_raw_fd();
    let mut command = command(root.path());
    command.env("LISTEN_FDS", "1");
    // As the service manager does it: descriptor 3, and the process id of the daemon itself.
    let shell = format!("exec 3<&{fd}; LISTEN_PID=$$ exec \"$0\" \"$@\"");
    let mut through_shell = Command::new("sh");
    through_shell.arg("-c").arg(shell).arg(command.get_program()).args(command.get_args());
    through_shell.env("LISTEN_FDS", "1").stdout(Stdio::piped()).stderr(Stdio::null());
    nix::fcntl::fcntl(&listener, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut daemon = Daemon(through_shell.process_group(0).spawn().unwrap());
    assert_eq!(ready(&mut daemon), address.to_string());
}
