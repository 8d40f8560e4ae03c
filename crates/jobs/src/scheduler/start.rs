//! Starting a job as a process of its own.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use formats::JobId;

use super::due::Reason;

/// Starts a run of a job, without waiting for it.
pub trait Starter {
    /// Starts it, for this reason.
    ///
    /// # Errors
    /// Nothing was started.
    fn start(&self, job: &JobId, reason: &Reason) -> io::Result<()>;
}

/// Has the service manager start `backup-manager-job@ID.service`.
#[derive(Clone, Copy, Debug)]
pub struct Systemctl;

impl Systemctl {
    /// The unit that runs a job.
    pub fn unit(job: &JobId) -> String {
        format!("backup-manager-job@{job}.service")
    }

    /// Has the unit of a job started.
    ///
    /// # Errors
    /// There is no `systemctl`, or it refuses: what it says.
    pub fn start_unit(job: &JobId) -> io::Result<()> {
        let answer = Command::new("systemctl")
            .args(["start", "--no-block", &Self::unit(job)])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("systemctl: {error}")))?;
        if answer.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.stderr);
        Err(io::Error::other(format!("systemctl start: {}: {}", answer.status, said.trim())))
    }
}

impl Starter for Systemctl {
    fn start(&self, job: &JobId, _: &Reason) -> io::Result<()> {
        Self::start_unit(job)
    }
}

/// Starts a child that outlives this process: `backup-manager [--root DIR] sync-job run ID --scheduled`.
///
/// It is in a process group of its own and has no terminal, so that neither Ctrl-C nor a hang-up reaches it.
#[derive(Clone, Debug)]
pub struct Children {
    /// The program.
    pub program: PathBuf,
    /// The root, where one was given.
    pub root: Option<PathBuf>,
}

impl Starter for Children {
    fn start(&self, job: &JobId, _: &Reason) -> io::Result<()> {
        let root = self.root.iter().flat_map(|root| [Path::new("--root"), root]);
        // Whoever runs the scheduler collects the child; if that ends first, init does.
        Command::new(&self.program)
            .args(root)
            .args(["sync-job", "run", job.as_str(), "--scheduled"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What the service manager tells the scheduler is not meant for the job.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .process_group(0)
            .spawn()
            .map(drop)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.program.display())))
    }
}
