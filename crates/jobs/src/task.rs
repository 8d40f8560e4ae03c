//! The name of a run: its UPID.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use formats::{AuthId, Upid};

/// Numbers the tasks of this process.
static NEXT_TASK: AtomicU64 = AtomicU64::new(0);

/// Names a task that starts now in this process, of kind `worker_type` about `worker_id`, for `auth_id`.
pub fn new_upid(worker_type: &str, worker_id: Option<String>, auth_id: AuthId) -> Upid {
    Upid {
        node: node_name(),
        pid: std::process::id(),
        pstart: process_start().unwrap_or(0),
        task_id: NEXT_TASK.fetch_add(1, Ordering::Relaxed),
        start_time: now(),
        worker_type: worker_type.to_owned(),
        worker_id,
        auth_id,
    }
}

/// `root@pam`, for whom commands and schedules run.
pub fn superuser() -> AuthId {
    #[expect(clippy::unwrap_used, reason = "a constant that a test parses")]
    "root@pam".parse().unwrap()
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|span| i64::try_from(span.as_secs()).ok()).unwrap_or(0)
}

/// The host name up to its first dot.
pub fn node_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    match name.split('.').next() {
        Some(short) if !short.is_empty() => short.to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// When this process started, in clock ticks since the machine did: with its pid, this names it for good.
fn process_start() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    start_of_stat(&stat).ok_or_else(|| io::Error::other("/proc/self/stat has no start time"))
}

/// Field 22 of a stat line. The command name in field 2 may hold blanks and brackets, so count from its last bracket.
fn start_of_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        assert_eq!(start_of_stat(stat), Some(987_654));
        assert_eq!(start_of_stat("42 (cut"), None);
    }

    #[test]
    fn two_tasks_of_a_process_have_different_names() {
        let root: AuthId = "root@pam".parse().unwrap();
        let first = new_upid("syncjob", Some("-:a:b::job".into()), root.clone());
        let second = new_upid("syncjob", Some("-:a:b::job".into()), root);

        assert_ne!(first.to_string(), second.to_string());
        assert_eq!(first.to_string().parse::<Upid>().unwrap(), first);
        assert!(first.pstart > 0);
    }
}
