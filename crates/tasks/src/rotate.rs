//! Rotation of the archive, and removal of what is old.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use formats::Upid;

use crate::error::TaskError;
use crate::index::Finished;
use crate::log::is_held;
use crate::store::{TaskStore, all_logs};

/// Size from which the archive is packed away, in bytes.
const ROTATE_AT: u64 = 512 * 1024;

const DAY: i64 = 24 * 60 * 60;

/// How long finished tasks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days after its end at which a task goes; 0 for never.
    pub days: u32,
    /// The last so many tasks stay, however old.
    pub count: usize,
}

impl Default for Retention {
    /// 90 days, and the last thousand in any case.
    fn default() -> Self {
        Self { days: 90, count: 1000 }
    }
}

impl TaskStore {
    /// Packs a large archive away, and removes tasks beyond `retention` with their logs. Returns how many went.
    ///
    /// Logs that are in no index go by the time of their last line. Those of running tasks stay.
    ///
    /// # Errors
    /// The index cannot be read or written, or a log not removed.
    pub fn rotate(&self, now: i64, retention: Retention) -> Result<usize, TaskError> {
        self.reap()?;
        let lock = self.index.lock()?;
        self.index.rotate(&lock, ROTATE_AT)?;
        if retention.days == 0 {
            return Ok(0);
        }
        let oldest = now - i64::from(retention.days) * DAY;
        let mut kept: HashSet<Upid> = self.index.active_tasks()?.into_iter().collect();
        let (mut seen, mut removed) = (0, 0);
        let parts = self.index.parts();
        for part in &parts {
            let text = self.index.read_part(part)?;
            let mut lines = Vec::new();
            let mut expired = 0;
            for line in text.lines().rev() {
                // What is no task is kept: somebody may want to look at it.
                if let Some(finished) = Finished::parse(line) {
                    seen += 1;
                    if seen > retention.count && finished.endtime < oldest {
                        expired += 1;
                        continue;
                    }
                    kept.insert(finished.upid);
                }
                lines.push(line);
            }
            if expired > 0 {
                let text: String = lines.iter().rev().map(|line| format!("{line}\n")).collect();
                self.index.write_part(&lock, part, &text)?;
                removed += expired;
            }
        }
        self.index.renumber(&lock, &parts)?;
        drop(lock);
        self.remove_logs(&kept, oldest)?;
        Ok(removed)
    }

    fn remove_logs(&self, kept: &HashSet<Upid>, oldest: i64) -> Result<(), TaskError> {
        let dir = self.index.dir();
        let oldest = UNIX_EPOCH + Duration::from_secs(u64::try_from(oldest).unwrap_or(0));
        for (upid, path) in all_logs(dir).map_err(TaskError::io("list the logs in", dir))? {
            let old = fs::metadata(&path).and_then(|data| data.modified()).is_ok_and(|time: SystemTime| time < oldest);
            if kept.contains(&upid) || !old || is_held(&path)? {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(TaskError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
