//! The tasks of a host.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use config::Paths;
use formats::{JobId, Upid};

use crate::control::{self, ControlError};
use crate::end::TaskEnd;
use crate::error::TaskError;
use crate::index::{Finished, Index, IndexLock};
use crate::line;
use crate::log::{TaskLog, is_held};
use crate::request::RunRequest;

/// How much of the end of a log is read to learn how its task ended.
const TAIL: u64 = 8 * 1024;

/// The tasks of a host: their logs and their index.
///
/// Nothing is kept in memory, so any number of these, in any number of processes, see the same.
#[derive(Clone, Debug)]
pub struct TaskStore {
    pub(crate) index: Index,
    requests: PathBuf,
    control: PathBuf,
}

/// What came of asking a task to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It was asked, and ends by itself.
    Asked,
    /// It had not begun, and will not.
    Withdrawn,
    /// It has ended already.
    Ended(TaskEnd),
    /// Nothing is known of it.
    NoTask,
}

/// Whether a task runs, and how it ended if not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// It runs, or was asked for and waits.
    Running,
    /// It has ended.
    Stopped {
        /// When, as far as that is known.
        endtime: Option<i64>,
        /// How.
        end: TaskEnd,
    },
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The lines with their numbers, from 1.
    pub lines: Vec<(u64, String)>,
    /// How many lines the whole log has.
    pub total: u64,
    /// Whether the task was running before these lines were read, so that more may come.
    pub active: bool,
}

impl TaskStore {
    /// The tasks below `paths`.
    pub fn new(paths: &Paths) -> Self {
        Self { index: Index::new(paths.tasks()), requests: paths.requests(), control: paths.control() }
    }

    /// Begins a task; it is listed as running until the log is finished or dropped.
    ///
    /// Never fails: a task whose log cannot be made runs all the same, and has one as soon as that can be.
    pub fn start(&self, upid: Upid) -> TaskLog {
        TaskLog::start(self.index.clone(), upid)
    }

    /// Goes on with the log of a task that was begun elsewhere.
    ///
    /// # Errors
    /// [`TaskError::Running`] when somebody runs it; or the log cannot be opened.
    pub fn adopt(&self, upid: Upid) -> Result<TaskLog, TaskError> {
        TaskLog::adopt(self.index.clone(), upid)
    }

    /// Begins the task `upid` with `text` in its log and asks for a run of `job` that goes on with it.
    ///
    /// # Errors
    /// [`TaskError::Requested`] when a run was asked for already, or the request cannot be written; then the task ends
    /// with that error.
    pub fn request(&self, job: &JobId, request: &RunRequest, text: &str) -> Result<(), TaskError> {
        if RunRequest::path(&self.requests, job).exists() {
            return Err(TaskError::Requested(job.clone()));
        }
        let log = self.start(request.upid.clone());
        log.info(text);
        match request.write(&self.requests, job) {
            Ok(()) => {
                log.leave();
                Ok(())
            }
            Err(error) => {
                log.finish(TaskEnd::Error(crate::error::chain(&error)));
                Err(error)
            }
        }
    }

    /// Takes the request for a run of `job`, if there is one, and goes on with its task. Whoever calls holds the lock of
    /// the job.
    ///
    /// # Errors
    /// The request is not readable (it stays), or its log cannot be opened.
    pub fn take_request(&self, job: &JobId) -> Result<Option<(RunRequest, TaskLog)>, TaskError> {
        let Some(request) = RunRequest::read(&self.requests, job)? else { return Ok(None) };
        // The log is locked before the request goes, so that the task runs without a gap.
        let log = self.adopt(request.upid.clone())?;
        if RunRequest::read(&self.requests, job)?.as_ref() != Some(&request) {
            // Withdrawn a moment ago, and ended by that.
            log.leave();
            return Ok(None);
        }
        RunRequest::remove(&self.requests, job)?;
        Ok(Some((request, log)))
    }

    /// Takes back the request for the run `upid`, which ends as failed for the reason `why`. Says whether there was one.
    ///
    /// # Errors
    /// The request cannot be removed, or its log not opened.
    pub fn withdraw(&self, upid: &Upid, why: &str) -> Result<bool, TaskError> {
        let waiting = self.requests()?.into_iter().find(|(_, request)| request.upid == *upid);
        let Some((job, _)) = waiting else { return Ok(false) };
        // Who holds the log has it; a run that just took the request is not to be robbed of it.
        let log = match self.adopt(upid.clone()) {
            Ok(log) => log,
            Err(TaskError::Running(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        RunRequest::remove(&self.requests, &job)?;
        log.finish(TaskEnd::Error(why.to_owned()));
        Ok(true)
    }

    /// Asks a task to end, and does not wait for that. Its log names `by`, else the user of this process.
    ///
    /// # Errors
    /// It runs and does not answer, or refuses; or files cannot be read.
    pub fn stop(&self, upid: &Upid, by: Option<&str>) -> Result<Stopping, TaskError> {
        if self.withdraw(upid, "stopped on request before it began")? {
            return Ok(Stopping::Withdrawn);
        }
        match control::send_for(&self.control, upid, &control::Request::Stop, by) {
            Ok(_) => Ok(Stopping::Asked),
            Err(ControlError::Nobody(_)) => match self.status(upid)? {
                Some(TaskStatus::Running) => Err(TaskError::Deaf(Box::new(upid.clone()))),
                Some(TaskStatus::Stopped { end, .. }) => Ok(Stopping::Ended(end)),
                None => Ok(Stopping::NoTask),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Runs that were asked for and have not begun, by job.
    ///
    /// # Errors
    /// The directory of requests cannot be read.
    pub fn requests(&self) -> Result<Vec<(JobId, RunRequest)>, TaskError> {
        RunRequest::all(&self.requests)
    }

    /// The tasks that run or wait, the last one first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn running(&self) -> Result<Vec<Upid>, TaskError> {
        Ok(self.split()?.0)
    }

    /// Moves tasks that died to the archive, with what the end of their log says. Returns how many.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub fn reap(&self) -> Result<usize, TaskError> {
        let lock = self.index.lock()?;
        let (_, dead) = self.split_locked(&lock)?;
        if dead.is_empty() {
            return Ok(0);
        }
        // One that was archived and then could not be taken out of `active` is there already.
        let recent: Vec<Upid> = self.index.parts().iter().take(2).try_fold(Vec::new(), |mut all, part| {
            let text = self.index.read_part(part)?;
            all.extend(text.lines().filter_map(Finished::parse).map(|line| line.upid));
            Ok::<_, TaskError>(all)
        })?;
        for upid in dead.iter().filter(|upid| !recent.contains(upid)) {
            let (endtime, end) = self.last_words(upid)?.unwrap_or((upid.start_time, TaskEnd::Unknown));
            self.index.add_finished(&lock, &Finished { upid: upid.clone(), endtime, end })?;
        }
        self.index.remove_active(&lock, &dead)?;
        Ok(dead.len())
    }

    /// Tasks of `active` that run or wait, newest first, and those that died.
    pub(crate) fn split(&self) -> Result<(Vec<Upid>, Vec<Upid>), TaskError> {
        match self.index.lock_shared()? {
            Some(lock) => self.split_locked(&lock),
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    fn split_locked(&self, _: &IndexLock) -> Result<(Vec<Upid>, Vec<Upid>), TaskError> {
        let (mut running, mut dead) = (Vec::new(), Vec::new());
        // Requests are read first: the log of one that is taken meanwhile is locked by then.
        let waiting = self.requests()?;
        for upid in self.index.active_tasks()? {
            let waits = waiting.iter().any(|(_, request)| request.upid == upid);
            let runs = waits || is_held(&self.log_path(&upid))?;
            if runs { &mut running } else { &mut dead }.push(upid);
        }
        running.sort_by_key(|upid| std::cmp::Reverse((upid.start_time, upid.pid, upid.task_id)));
        Ok((running, dead))
    }

    /// Whether a task runs, and how it ended if not; `None` when nothing is known of it.
    ///
    /// # Errors
    /// Its log or the index cannot be read.
    pub fn status(&self, upid: &Upid) -> Result<Option<TaskStatus>, TaskError> {
        if self.is_running(upid)? {
            return Ok(Some(TaskStatus::Running));
        }
        if self.log_path(upid).exists() {
            let (endtime, end) = self.last_words(upid)?.unzip();
            return Ok(Some(TaskStatus::Stopped { endtime, end: end.unwrap_or(TaskEnd::Unknown) }));
        }
        for part in self.index.parts() {
            let text = self.index.read_part(&part)?;
            let found = text.lines().rev().filter_map(Finished::parse).find(|line| line.upid == *upid);
            if let Some(Finished { endtime, end, .. }) = found {
                return Ok(Some(TaskStatus::Stopped { endtime: Some(endtime), end }));
            }
        }
        Ok(None)
    }

    fn is_running(&self, upid: &Upid) -> Result<bool, TaskError> {
        let waits = self.requests()?.iter().any(|(_, request)| request.upid == *upid);
        Ok(waits || is_held(&self.log_path(upid))?)
    }

    /// Reads lines of a log from number `start` (0 and 1 are the same), at most `limit`, 0 for all.
    ///
    /// # Errors
    /// [`TaskError::NoLog`] when there is none; or it cannot be read.
    pub fn log_page(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage, TaskError> {
        // Looked at first: what is written until the end is then read below.
        let active = self.is_running(upid)?;
        let path = self.log_path(upid);
        let mut reader = BufReader::new(self.open_log(upid)?);
        let first = start.max(1);
        let past = if limit == 0 { u64::MAX } else { first.saturating_add(limit) };
        let mut page = LogPage { lines: Vec::new(), total: 0, active };
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(TaskError::io("read", &path))? == 0 {
                return Ok(page);
            }
            let whole = line.pop_if(|last| *last == b'\n').is_some();
            if !whole && active {
                return Ok(page); // It is being written.
            }
            page.total += 1;
            if (first..past).contains(&page.total) {
                page.lines.push((page.total, String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }

    /// Opens a log for reading.
    ///
    /// # Errors
    /// [`TaskError::NoLog`] when there is none; or it cannot be opened.
    pub fn open_log(&self, upid: &Upid) -> Result<File, TaskError> {
        let path = self.log_path(upid);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TaskError::NoLog(Box::new(upid.clone()))),
            opened => opened.map_err(TaskError::io("open", &path)),
        }
    }

    /// Where the log of a task is.
    pub fn log_path(&self, upid: &Upid) -> PathBuf {
        log_path(self.index.dir(), upid)
    }

    pub(crate) fn last_words(&self, upid: &Upid) -> Result<Option<(i64, TaskEnd)>, TaskError> {
        let path = self.log_path(upid);
        let failed = |error| TaskError::io("read", &path)(error);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(failed)?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).map_err(failed)?;
        Ok(line::last_words(&String::from_utf8_lossy(&tail)))
    }
}

/// `XX/UPID`, XX being the low byte of the start of the process in upper-case hex.
pub(crate) fn log_path(dir: &Path, upid: &Upid) -> PathBuf {
    dir.join(format!("{:02X}", upid.pstart & 0xFF)).join(upid.to_string())
}

/// The logs there are, of all tasks, with their names; what has another name is left out.
pub(crate) fn all_logs(dir: &Path) -> io::Result<Vec<(Upid, PathBuf)>> {
    let mut logs = Vec::new();
    for byte in 0..=0xFF_u8 {
        let entries = match fs::read_dir(dir.join(format!("{byte:02X}"))) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if let Some(upid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                logs.push((upid, entry.path()));
            }
        }
    }
    Ok(logs)
}
