//! Where the programs' log lines go.
//!
//! A unit's standard error is the journal. Lines that are printed there arrive as bare text, so that nobody can ask for
//! "everything of this job"; there the programs speak the journal's own protocol instead, and each field of an event and
//! of the spans around it becomes a field of the journal: `upid` arrives as `UPID=`, `job` as `JOB=`
//! (`journalctl UPID=...`). Everywhere else the log is text on standard error.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Whether this process speaks the journal's protocol.
static TO_JOURNAL: AtomicBool = AtomicBool::new(false);

/// What lines of tasks are events of; they pass every filter.
const TASK: &str = "task";

/// How a line of text begins; the journal has its own time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// With the time: for a daemon.
    Time,
    /// With the level alone: for a command.
    Level,
}

/// Sends events that pass `filter` to the journal if standard error is the journal, else to standard error as text.
///
/// # Errors
/// A log has been started in this process already.
pub fn start(filter: EnvFilter, prefix: Prefix) -> Result<(), TryInitError> {
    if is_journal(std::env::var_os("JOURNAL_STREAM").as_deref(), io::stderr()) {
        // A journal that does not answer still takes what is printed.
        if let Ok(journal) = tracing_journald::layer() {
            // A constant that parses; if it did not, only the lines of tasks would be missing.
            let filter = format!("{filter},{TASK}=info").parse().unwrap_or(filter);
            tracing_subscriber::registry().with(filter).with(journal.with_field_prefix(None)).try_init()?;
            TO_JOURNAL.store(true, Ordering::Relaxed);
            return Ok(());
        }
    }
    let log = tracing_subscriber::registry().with(filter);
    let text = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match prefix {
        Prefix::Time => log.with(text).try_init(),
        Prefix::Level => log.with(text.with_target(false).without_time()).try_init(),
    }
}

/// Says a line of a task's log: to the journal with the field `UPID`, or as it is on standard error.
pub fn task_line(upid: &(impl Display + ?Sized), line: &str) {
    if TO_JOURNAL.load(Ordering::Relaxed) {
        tracing::info!(target: TASK, %upid, "{line}");
    } else {
        eprintln!("{line}");
    }
}

/// Whether `stream` is the one that `JOURNAL_STREAM` speaks of (`DEVICE:INODE`, decimal).
///
/// The variable is inherited, also by a command whose standard error was redirected since.
///
/// Source: systemd.exec(5), "Environment Variables Set or Propagated by the Service Manager".
fn is_journal(journal_stream: Option<&OsStr>, stream: impl AsFd) -> bool {
    let Some((device, inode)) = journal_stream.and_then(OsStr::to_str).and_then(|text| text.split_once(':')) else {
        return false;
    };
    nix::sys::stat::fstat(stream)
        .is_ok_and(|stat| stat.st_dev.to_string() == device && stat.st_ino.to_string() == inode)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn only_the_very_stream_of_the_journal_is_the_journal() {
        let (stream, other) = (File::open("/dev/null").unwrap(), File::open("/dev/zero").unwrap());
        let meta = stream.metadata().unwrap();
        let variable = format!("{}:{}", meta.dev(), meta.ino());
        let variable = Some(OsStr::new(&variable));

        assert!(is_journal(variable, &stream));
        assert!(!is_journal(variable, &other), "standard error was redirected");
        assert!(!is_journal(None, &stream));
        assert!(!is_journal(Some(OsStr::new("nonsense")), &stream));
    }
}
