//! The names of tasks: UPIDs.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use formats::{AuthId, Upid};

/// Numbers the tasks of this process.
static NEXT_TASK: AtomicU64 = AtomicU64::new(0);

/// Longest name of a task: that of its log file.
const MAX_NAME: usize = 255;

/// What a start time of a process has room for in a UPID: nine hex digits.
const MAX_PSTART: u64 = 0xF_FFFF_FFFF;

/// Names a task that starts now in this process, of kind `worker_type` about `worker_id`, for `auth_id`.
///
/// An id that would make the name too long for a file loses its end.
pub fn new_upid(worker_type: &str, worker_id: Option<String>, auth_id: AuthId) -> Upid {
    let mut upid = Upid {
        node: node_name(),
        pid: std::process::id(),
        pstart: process_start().unwrap_or(0) & MAX_PSTART,
        task_id: NEXT_TASK.fetch_add(1, Ordering::Relaxed),
        start_time: now(),
        worker_type: worker_type.to_owned(),
        worker_id,
        auth_id,
    };
    while upid.to_string().len() > MAX_NAME && upid.worker_id.as_mut().is_some_and(|id| id.pop().is_some()) {}
    upid
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

/// The host's short name, reduced to what a UPID takes.
pub fn node_name() -> String {
    short_name(&nix::unistd::gethostname().unwrap_or_default().to_string_lossy())
}

fn short_name(host: &str) -> String {
    let short = host.split('.').next().unwrap_or_default();
    let clean: String = short.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    match clean.trim_matches('-') {
        "" => "localhost".to_owned(),
        clean => clean.to_owned(),
    }
}

/// When this process started, in clock ticks since the machine did: with its pid, this names it for good.
fn process_start() -> Option<u64> {
    start_of_stat(&fs::read_to_string("/proc/self/stat").ok()?)
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
        let first = new_upid("syncjob", Some("-:a:b::job".into()), superuser());
        let second = new_upid("syncjob", Some("-:a:b::job".into()), superuser());

        assert_ne!(first.to_string(), second.to_string());
        assert_eq!(first.to_string().parse::<Upid>().unwrap(), first);
        assert!(first.pstart > 0);
    }

    #[test]
    fn a_name_is_never_too_long_for_a_file() {
        let deep = "name-".repeat(60);
        let upid = new_upid("syncjob", Some(format!("-:a:b:{deep}:job")), superuser());

        assert!(upid.to_string().len() <= MAX_NAME);
        assert!(upid.worker_id.as_deref().unwrap().starts_with("-:a:b:name-"), "{upid}");
        assert_eq!(upid.to_string().parse::<Upid>().unwrap(), upid);
    }

    #[test]
    fn the_node_is_the_short_name_of_the_host_in_letters_digits_and_dashes() {
        assert_eq!(short_name("pbs-a.example.org"), "pbs-a");
        assert_eq!(short_name("_my_host-"), "myhost");
        assert_eq!(short_name(""), "localhost");
    }
}
