//! Starting the scheduler where no service manager watches for requests.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The command that looks what is due: `backup-manager [--root DIR] scheduler tick`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl SchedulerCommand {
    /// A command of that program and with these arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().collect() }
    }

    /// The command where it is needed: with `root`, whose requests no unit watches, and where there is no systemd.
    ///
    /// The program is the one beside our own, else it is looked for on PATH.
    pub fn where_needed(root: Option<&Path>, systemd: &Path, own: Option<&Path>) -> Option<Self> {
        if root.is_none() && systemd.is_dir() {
            return None;
        }
        let name = "backup-manager";
        let beside = own.and_then(Path::parent).map(|dir| dir.join(name)).filter(|path| path.is_file());
        let root = root.map(|root| ["--root".into(), root.as_os_str().to_owned()]);
        let arguments = root.into_iter().flatten().chain(["scheduler".into(), "tick".into()]);
        Some(Self::new(beside.unwrap_or_else(|| name.into()), arguments))
    }

    /// Starts it. It is not waited for, and goes on when the server ends.
    ///
    /// # Errors
    /// It cannot be started; the error names the program.
    pub(crate) fn start(&self) -> io::Result<()> {
        let started = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        let mut child =
            started.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.program.display())))?;
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) if !status.success() => tracing::warn!(%status, "the scheduler did not end well"),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot tell how the scheduler ended"),
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_is_started_where_no_service_manager_does() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("backup-server");
        let none = Path::new("/nonexistent");
        let arguments = |command: Option<SchedulerCommand>| command.unwrap().arguments;

        assert_eq!(SchedulerCommand::where_needed(None, dir.path(), Some(&own)), None);
        assert_eq!(arguments(SchedulerCommand::where_needed(None, none, Some(&own))), ["scheduler", "tick"]);
        let rooted = SchedulerCommand::where_needed(Some(Path::new("/r")), dir.path(), Some(&own));
        assert_eq!(rooted.as_ref().unwrap().program, Path::new("backup-manager"));
        assert_eq!(arguments(rooted), ["--root", "/r", "scheduler", "tick"]);

        std::fs::write(dir.path().join("backup-manager"), "").unwrap();
        let beside = SchedulerCommand::where_needed(None, none, Some(&own)).unwrap();
        assert_eq!(beside.program, dir.path().join("backup-manager"));
    }
}
