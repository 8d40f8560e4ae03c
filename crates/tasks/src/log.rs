//! The log of one running task.
//!
//! Whoever has a [`TaskLog`] runs the task: it holds an exclusive `flock` on the log file. Writing never fails the
//! caller: a task is not to die of a full disk with logs. Lines that could not be written are counted, and the count is
//! written as soon as there is room again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use formats::Upid;
use nix::fcntl::{Flock, FlockArg};

use crate::end::TaskEnd;
use crate::error::{TaskError, chain};
use crate::index::{Finished, Index, MODE, lock_within, make_dir};
use crate::line::lines;
use crate::name::now;
use crate::store::log_path;

/// How long the lock of a log is waited for: others look for a moment only whether it is held.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The log of a running task. Without [`TaskLog::finish`] the task ends as broken off when this is dropped.
#[derive(Debug)]
pub struct TaskLog {
    upid: Upid,
    index: Index,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The log; `None` while it could not be made.
    file: Option<Flock<File>>,
    /// Bytes of whole lines in it.
    length: u64,
    /// Whether the task is among the active ones.
    listed: bool,
    lost: u64,
    why: String,
    warnings: u64,
    ended: bool,
}

impl TaskLog {
    /// Begins the log of a new task. What cannot be made now is tried again with every line.
    pub(crate) fn start(index: Index, upid: Upid) -> Self {
        let log = Self { upid, index, state: Mutex::default() };
        log.with(|state| {
            if let Err(error) = log.open(state, true) {
                tracing::warn!(upid = %log.upid, error = chain(&error), "cannot write the log of a task, which goes on");
                state.why = chain(&error);
            }
        });
        log
    }

    /// Goes on with the log of a task that another process began.
    pub(crate) fn adopt(index: Index, upid: Upid) -> Result<Self, TaskError> {
        let log = Self { upid, index, state: Mutex::default() };
        let opened = log.with(|state| log.open(state, false).inspect_err(|_| state.ended = true));
        opened.map(|()| log)
    }

    /// The name of the task.
    pub fn upid(&self) -> &Upid {
        &self.upid
    }

    /// Writes what may be told.
    pub fn info(&self, text: impl AsRef<str>) {
        self.with(|state| self.write(state, text.as_ref()));
    }

    /// Writes what somebody should look at, and counts it.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.with(|state| {
            state.warnings += 1;
            self.write(state, text.as_ref());
        });
    }

    /// How many warnings there were.
    pub fn warnings(&self) -> u64 {
        self.with(|state| state.warnings)
    }

    /// Ends the task; [`TaskEnd::Ok`] becomes [`TaskEnd::Warnings`] when there were any. Only the first end counts.
    ///
    /// Returns how it ended.
    pub fn finish(&self, end: TaskEnd) -> TaskEnd {
        self.with(|state| {
            let end = if end == TaskEnd::Ok && state.warnings > 0 { TaskEnd::Warnings(state.warnings) } else { end };
            if !std::mem::replace(&mut state.ended, true) {
                self.write(state, &end.log_line());
                if let Err(error) = self.archive(&end) {
                    tracing::warn!(upid = %self.upid, error = chain(&error), "cannot record the end of a task");
                }
                state.file = None;
            }
            end
        })
    }

    /// Lets go of the task without ending it: the run that was asked for will go on with it.
    pub(crate) fn leave(self) {
        self.with(|state| {
            state.ended = true;
            state.file = None;
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes or opens the log, locks it, and lists the task, as far as this is not done.
    fn open(&self, state: &mut State, new: bool) -> Result<(), TaskError> {
        if state.file.is_some() && state.listed {
            return Ok(());
        }
        let lock = self.index.lock()?;
        if state.file.is_none() {
            let path = log_path(self.index.dir(), &self.upid);
            if let Some(dir) = path.parent() {
                make_dir(dir)?;
            }
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).create_new(new).mode(MODE).open(&path);
            let file = file.map_err(TaskError::io("open", &path))?;
            let locked = lock_within(file, FlockArg::LockExclusiveNonblock, LOCK_WAIT);
            let file = locked.map_err(TaskError::io("lock", &path))?;
            let file = file.ok_or_else(|| TaskError::Running(Box::new(self.upid.clone())))?;
            state.length = file.metadata().map_err(TaskError::io("read", &path))?.len();
            state.file = Some(file);
        }
        if !self.index.active_tasks()?.contains(&self.upid) {
            self.index.add_active(&lock, &self.upid)?;
        }
        state.listed = true;
        Ok(())
    }

    fn write(&self, state: &mut State, text: &str) {
        let mut written = lines(now(), text);
        let count = written.matches('\n').count() as u64;
        if state.lost > 0 {
            let notice = format!("{} lines of this log are lost: {}", state.lost, state.why);
            written.insert_str(0, &lines(now(), &notice));
        }
        match self.try_write(state, written.as_bytes()) {
            Ok(()) => state.lost = 0,
            Err(error) => {
                if state.lost == 0 {
                    let error = chain(&error);
                    tracing::warn!(upid = %self.upid, error, "cannot write the log of a task, which goes on");
                    state.why = error;
                }
                state.lost += count;
            }
        }
    }

    fn try_write(&self, state: &mut State, bytes: &[u8]) -> Result<(), TaskError> {
        if let Err(error) = self.open(state, false)
            && state.file.is_none()
        {
            return Err(error);
        }
        let path = || -> PathBuf { log_path(self.index.dir(), &self.upid) };
        let Some(file) = &mut state.file else { return Err(TaskError::NoLog(Box::new(self.upid.clone()))) };
        file.write_all(bytes).map_err(|source| {
            // Half a line must not run into the next one.
            let _ = file.set_len(state.length);
            TaskError::Io { action: "write", path: path(), source }
        })?;
        state.length += bytes.len() as u64;
        Ok(())
    }

    fn archive(&self, end: &TaskEnd) -> Result<(), TaskError> {
        let lock = self.index.lock()?;
        let finished = Finished { upid: self.upid.clone(), endtime: now(), end: end.clone() };
        self.index.add_finished(&lock, &finished)?;
        self.index.remove_active(&lock, std::slice::from_ref(&self.upid))
    }
}

impl Drop for TaskLog {
    fn drop(&mut self) {
        self.finish(TaskEnd::Error("the task broke off".to_owned()));
    }
}

/// Whether somebody runs the task of this log; not when there is no log.
pub(crate) fn is_held(path: &std::path::Path) -> Result<bool, TaskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TaskError::io("open", path)(error)),
    };
    let lock = lock_within(file, FlockArg::LockSharedNonblock, Duration::ZERO).map_err(TaskError::io("lock", path))?;
    Ok(lock.is_none())
}
