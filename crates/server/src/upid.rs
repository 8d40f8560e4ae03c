//! Names for what the server does in the background.

use std::sync::atomic::{AtomicU64, Ordering};

use formats::{AuthId, Upid};

use crate::state::now;

static TASKS: AtomicU64 = AtomicU64::new(0);

/// Makes the name of a task that begins now.
pub(crate) fn new(worker_type: &str, worker_id: String, caller: &AuthId) -> Upid {
    Upid {
        node: node(),
        pid: std::process::id(),
        pstart: process_start().unwrap_or_default(),
        task_id: TASKS.fetch_add(1, Ordering::Relaxed),
        start_time: now(),
        worker_type: worker_type.to_owned(),
        worker_id: Some(worker_id),
        auth_id: caller.clone(),
    }
}

/// The host's short name, reduced to what a UPID takes.
pub(crate) fn node() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let short = name.split('.').next().unwrap_or_default();
    let clean: String = short.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    let clean = clean.trim_matches('-');
    if clean.is_empty() { "localhost".to_owned() } else { clean.to_owned() }
}

/// Kernel ticks between boot and the start of this process: field 22 of its `stat`, counted behind the name in parentheses.
fn process_start() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks & 0xF_FFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_back_and_differ() {
        let caller: AuthId = "a@pbs!t".parse().unwrap();
        let one = new("verify", "store:host/a/00000001".into(), &caller);
        let two = new("verify", "store:host/a/00000001".into(), &caller);
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse::<Upid>().unwrap(), one);
    }
}
