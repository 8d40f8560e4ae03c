//! Command lines of other people: run in a clean environment, heard line by line, and ended with all they started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Where commands are looked for, whatever the caller's own path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a script that was asked to end may take for it.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for that something left behind by a script may still write.
const AFTERTHOUGHT: Duration = Duration::from_millis(500);

/// Longest line that is kept whole, in bytes.
const MAX_LINE: usize = 4096;

/// Lines of output that are passed on.
const MAX_LINES: usize = 10_000;

/// A command line for `/bin/sh -c`, and what it may know.
#[derive(Clone, Debug)]
pub(crate) struct Script<'a> {
    /// The command line.
    pub(crate) line: &'a str,
    /// Variables besides `PATH`.
    pub(crate) environment: Vec<(String, String)>,
    /// The longest it may take.
    pub(crate) limit: Duration,
}

/// How a script failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// It did not even start.
    #[error("cannot be started")]
    Start(#[source] io::Error),
    /// It ended with something else than 0.
    #[error("{0}")]
    Failed(ExitStatus),
    /// It took too long and was ended.
    #[error("still running after {0:?}")]
    TooLong(Duration),
}

impl Script<'_> {
    /// Runs the command line to its end and passes its output on, line by line, as it comes.
    ///
    /// It and all it started in its process group end when the limit has passed, and at once when the future is dropped.
    ///
    /// # Errors
    /// It cannot be started, fails, or takes too long.
    pub(crate) async fn run(&self, output: &(dyn Fn(&str) + Sync)) -> Result<(), ScriptError> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(self.line)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ScriptError::Start)?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        let (sender, mut lines) = mpsc::channel(64);
        let readers = [
            child.stdout.take().map(|pipe| tokio::spawn(read_lines(pipe, sender.clone()))),
            child.stderr.take().map(|pipe| tokio::spawn(read_lines(pipe, sender.clone()))),
        ];
        drop(sender);

        let mut told = 0;
        let mut tell = |line: String| {
            told += 1;
            match told.cmp(&MAX_LINES) {
                std::cmp::Ordering::Less => output(&line),
                std::cmp::Ordering::Equal => output("(more output is left out)"),
                std::cmp::Ordering::Greater => {}
            }
        };
        let ended = timeout(self.limit, async {
            loop {
                tokio::select! {
                    biased;
                    Some(line) = lines.recv() => tell(line),
                    ended = child.wait() => return ended,
                }
            }
        });
        let ended = match ended.await {
            Ok(ended) => ended.map_err(ScriptError::Start),
            Err(_) => {
                group.signal(Signal::SIGTERM);
                let graceful = timeout(GRACE, child.wait()).await;
                group.signal(Signal::SIGKILL);
                if graceful.is_err() {
                    drop(child.wait().await);
                }
                Err(ScriptError::TooLong(self.limit))
            }
        };
        // A process it left behind on purpose may keep the pipes open for ever.
        drop(
            timeout(AFTERTHOUGHT, async {
                while let Some(line) = lines.recv().await {
                    tell(line)
                }
            })
            .await,
        );
        for reader in readers.into_iter().flatten() {
            reader.abort();
        }
        group.0 = None;
        match ended? {
            status if status.success() => Ok(()),
            status => Err(ScriptError::Failed(status)),
        }
    }
}

/// The processes of a script; ended when dropped.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Nobody may be left to hear it.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

async fn read_lines(mut pipe: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = [0; MAX_LINE];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            pending.extend_from_slice(part);
            if pending.ends_with(b"\n") || pending.len() >= MAX_LINE {
                let line = String::from_utf8_lossy(&pending).trim_end().to_owned();
                pending.clear();
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        }
    }
    if !pending.is_empty() {
        drop(lines.send(String::from_utf8_lossy(&pending).trim_end().to_owned()).await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    fn script(line: &str) -> Script<'_> {
        Script { line, environment: Vec::new(), limit: Duration::from_secs(60) }
    }

    async fn hear(script: Script<'_>) -> (Result<(), ScriptError>, Vec<String>) {
        let heard = Mutex::new(Vec::new());
        let ended = script.run(&|line| heard.lock().unwrap().push(line.to_owned())).await;
        (ended, heard.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_script_knows_its_path_and_what_it_is_told_and_nothing_else() {
        let environment = vec![("BACKUP_SYNC_ID".to_owned(), "nightly".to_owned())];
        let (ended, heard) = hear(Script { environment, ..script("/usr/bin/env | sort") }).await;

        ended.unwrap();
        // The shell itself makes PWD and the like.
        let own = |line: &&String| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
        let heard: Vec<&String> = heard.iter().filter(own).collect();
        assert_eq!(heard, ["BACKUP_SYNC_ID=nightly", &format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn output_of_both_kinds_is_heard_while_the_script_runs_and_so_is_how_it_failed() {
        let (ended, mut heard) = hear(script("echo one; printf two >&2; exit 7")).await;

        assert!(matches!(&ended, Err(ScriptError::Failed(status)) if status.code() == Some(7)), "{ended:?}");
        heard.sort();
        assert_eq!(heard, ["one", "two"]);

        let (first, gone) = (Mutex::new(Some(())), tokio::sync::Notify::new());
        let waits = script("echo here; exec sleep 600");
        let output = |_: &str| {
            if first.lock().unwrap().take().is_some() {
                gone.notify_one();
            }
        };
        tokio::select! {
            ended = waits.run(&output) => panic!("{ended:?}"),
            () = gone.notified() => {}
        }
    }

    #[tokio::test]
    async fn a_script_that_takes_too_long_is_ended_with_all_it_started() {
        let root = tempfile::tempdir().unwrap();
        let pid_file = root.path().join("pid");
        let line = format!("trap '' TERM; sleep 600 & echo $! > {}; wait; wait", pid_file.display());
        let start = Instant::now();

        let (ended, _) = hear(Script { limit: Duration::from_millis(300), ..script(&line) }).await;

        assert!(matches!(ended, Err(ScriptError::TooLong(_))), "{ended:?}");
        assert!(start.elapsed() < Duration::from_secs(60));
        let stat = format!("/proc/{}/stat", std::fs::read_to_string(pid_file).unwrap().trim());
        // Gone, or dead and not yet collected by whoever adopts orphans here.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(start.elapsed() < Duration::from_secs(60), "the sleeper lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
