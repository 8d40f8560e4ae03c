//! The index of tasks: `active`, `archive`, its rotated parts, and the lock over all of them.
//!
//! `active` has a line for each task that runs, just its UPID. `archive` has one for each that ended, the last one last:
//! `UPID ENDTIME STATUS`, the time in eight upper-case hex digits. A line that is neither is kept and passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use formats::Upid;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::end::TaskEnd;
use crate::error::TaskError;

/// How long the lock of the index is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(15);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Mode of logs and of the index: the group may read.
pub(crate) const MODE: u32 = 0o640;

/// Largest part of the archive that is read, unpacked. Rotation keeps them far below.
const MAX_PART: u64 = 256 * 1024 * 1024;

/// A line of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) upid: Upid,
    pub(crate) endtime: i64,
    pub(crate) end: TaskEnd,
}

impl Finished {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ' ');
        let upid = fields.next()?.parse().ok()?;
        let endtime = i64::from_str_radix(fields.next()?, 16).ok()?;
        Some(Self { upid, endtime, end: TaskEnd::from_status(fields.next()?) })
    }

    fn line(&self) -> String {
        format!("{} {:08X} {}\n", self.upid, self.endtime, self.end)
    }
}

/// Held while the index is read or changed.
pub(crate) struct IndexLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// The files of the index. What changes them takes proof of the exclusive lock.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    dir: PathBuf,
}

impl Index {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Locks the index for changes; makes the directory if needed.
    pub(crate) fn lock(&self) -> Result<IndexLock, TaskError> {
        make_dir(&self.dir)?;
        self.take(FlockArg::LockExclusiveNonblock)
    }

    /// Locks the index for reading; `None` when there is no index yet.
    pub(crate) fn lock_shared(&self) -> Result<Option<IndexLock>, TaskError> {
        if !self.dir.is_dir() {
            return Ok(None);
        }
        self.take(FlockArg::LockSharedNonblock).map(Some)
    }

    fn take(&self, how: FlockArg) -> Result<IndexLock, TaskError> {
        let path = self.path(".active.lock");
        let mut options = OpenOptions::new();
        // Who may only read the index need not write to its lock.
        let opened = match options.read(true).write(true).create(true).truncate(false).mode(0o660).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && how == FlockArg::LockSharedNonblock => {
                File::open(&path)
            }
            opened => opened,
        };
        let file = opened.map_err(TaskError::io("open the lock file", &path))?;
        match lock_within(file, how, LOCK_WAIT).map_err(TaskError::io("lock", &path))? {
            Some(lock) => Ok(IndexLock(lock)),
            None => Err(TaskError::Locked { path, seconds: LOCK_WAIT.as_secs() }),
        }
    }

    /// The lines of `active`.
    pub(crate) fn active(&self) -> Result<Vec<String>, TaskError> {
        let path = self.path("active");
        let bytes = read(&path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// The tasks named in `active`.
    pub(crate) fn active_tasks(&self) -> Result<Vec<Upid>, TaskError> {
        Ok(self.active()?.iter().filter_map(|line| task_of(line)).collect())
    }

    /// Adds a task to those that run.
    pub(crate) fn add_active(&self, _: &IndexLock, upid: &Upid) -> Result<(), TaskError> {
        append(&self.path("active"), &format!("{upid}\n"))
    }

    /// Takes tasks out of those that run. Not flushed: after a power cut there is none anyway.
    pub(crate) fn remove_active(&self, _: &IndexLock, gone: &[Upid]) -> Result<(), TaskError> {
        let path = self.path("active");
        let lines = self.active()?;
        let kept: String = lines
            .iter()
            .filter(|line| task_of(line).is_none_or(|upid| !gone.contains(&upid)))
            .map(|line| format!("{line}\n"))
            .collect();
        self.swap(&path, kept.as_bytes())
    }

    /// Adds a task to those that ended.
    pub(crate) fn add_finished(&self, _: &IndexLock, finished: &Finished) -> Result<(), TaskError> {
        append(&self.path("archive"), &finished.line())
    }

    /// The parts of the archive, newest first: `archive`, `archive.1.zst`, ...
    pub(crate) fn parts(&self) -> Vec<PathBuf> {
        let rotated = (1..).map(|number| self.rotated(number)).take_while(|path| path.exists());
        std::iter::once(self.path("archive")).chain(rotated).collect()
    }

    /// The text of a part of the archive.
    pub(crate) fn read_part(&self, part: &Path) -> Result<String, TaskError> {
        let Some(bytes) = read(part)? else { return Ok(String::new()) };
        let plain = if part.extension().is_some_and(|extension| extension == "zst") {
            let mut plain = Vec::new();
            zstd::Decoder::new(bytes.as_slice())
                .and_then(|decoder| decoder.take(MAX_PART).read_to_end(&mut plain))
                .map_err(TaskError::io("unpack", part))?;
            plain
        } else {
            bytes
        };
        Ok(String::from_utf8_lossy(&plain).into_owned())
    }

    /// Replaces a part of the archive; without text it goes.
    pub(crate) fn write_part(&self, _: &IndexLock, part: &Path, text: &str) -> Result<(), TaskError> {
        if text.is_empty() {
            return fs::remove_file(part).map_err(TaskError::io("remove", part));
        }
        if part.extension().is_some_and(|extension| extension == "zst") {
            let packed = zstd::encode_all(text.as_bytes(), 0).map_err(TaskError::io("pack", part))?;
            return self.swap(part, &packed);
        }
        self.swap(part, text.as_bytes())
    }

    /// Packs `archive` away as `archive.1.zst` when it is larger than `limit`; the older parts move one up.
    pub(crate) fn rotate(&self, lock: &IndexLock, limit: u64) -> Result<bool, TaskError> {
        let archive = self.path("archive");
        if fs::metadata(&archive).map_or(0, |data| data.len()) <= limit {
            return Ok(false);
        }
        let count = self.parts().len() as u64 - 1;
        for number in (1..=count).rev() {
            let path = self.rotated(number);
            fs::rename(&path, self.rotated(number + 1)).map_err(TaskError::io("rename", &path))?;
        }
        let text = self.read_part(&archive)?;
        self.write_part(lock, &self.rotated(1), &text)?;
        fs::remove_file(&archive).map_err(TaskError::io("remove", &archive))?;
        Ok(true)
    }

    /// Closes the gaps that parts left which went.
    pub(crate) fn renumber(&self, _: &IndexLock, parts: &[PathBuf]) -> Result<(), TaskError> {
        let left = parts.iter().filter(|part| **part != self.path("archive") && part.exists());
        for (number, part) in (1..).zip(left) {
            let wanted = self.rotated(number);
            if wanted != *part {
                fs::rename(part, wanted).map_err(TaskError::io("rename", part))?;
            }
        }
        Ok(())
    }

    fn rotated(&self, number: u64) -> PathBuf {
        self.path(&format!("archive.{number}.zst"))
    }

    fn swap(&self, path: &Path, bytes: &[u8]) -> Result<(), TaskError> {
        config::swap_file(path, bytes, MODE).map_err(|error| match error {
            config::ConfigError::Io { action, path, source } => TaskError::Io { action, path, source },
            other => TaskError::Io { action: "replace", path: path.to_owned(), source: io::Error::other(other) },
        })
    }
}

fn task_of(line: &str) -> Option<Upid> {
    line.split(' ').next()?.parse().ok()
}

/// Takes a lock within `limit`; `None` when somebody else keeps it.
pub(crate) fn lock_within(mut file: File, how: FlockArg, limit: Duration) -> io::Result<Option<Flock<File>>> {
    let deadline = Instant::now() + limit;
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(Some(lock)),
            Err((returned, Errno::EWOULDBLOCK | Errno::EINTR)) => file = returned,
            Err((_, errno)) => return Err(errno.into()),
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(LOCK_PAUSE);
    }
}

/// Makes a directory whose group may look into it, with its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<(), TaskError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(TaskError::io("create", dir))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, TaskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TaskError::io("read", path)(error)),
    }
}

/// Appends a line, behind a torn one on a line of its own. What does not fit is taken back.
fn append(path: &Path, line: &str) -> Result<(), TaskError> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(MODE)
        .open(path)
        .map_err(TaskError::io("open", path))?;
    let length = file.metadata().map_err(TaskError::io("read", path))?.len();
    let torn = length > 0 && {
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(TaskError::io("read", path))?;
        last != *b"\n"
    };
    let written = if torn { format!("\n{line}") } else { line.to_owned() };
    file.write_all(written.as_bytes()).map_err(|error| {
        // Half a line would be passed over, but look like damage; if it stays, it is.
        let _ = file.set_len(length);
        TaskError::io("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{new_upid, superuser};

    fn upid(id: &str) -> Upid {
        new_upid("syncjob", Some(id.to_owned()), superuser())
    }

    fn finished(id: &str) -> Finished {
        Finished { upid: upid(id), endtime: 0x6B00_252F, end: TaskEnd::Warnings(3) }
    }

    #[test]
    fn a_line_of_the_archive_is_read_and_written_as_a_stock_server_does() {
        let text = "UPID:pbs-a:000064FA:00050CA3:000001D7:6B00252F:backup:golden\\x3ahost-gone:root@pam!t1: 6B002530 no space\n";
        let line = Finished::parse(text.trim_end()).unwrap();

        assert_eq!((line.endtime, &line.end), (0x6B00_2530, &TaskEnd::Error("no space".to_owned())));
        assert_eq!(line.line(), text);
        assert_eq!(Finished::parse("garbage"), None);
    }

    #[test]
    fn lines_that_are_no_task_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path().join("tasks"));
        let lock = index.lock().unwrap();
        let (one, two) = (upid("one"), upid("two"));
        fs::write(index.path("active"), "what is this\ntorn").unwrap();

        index.add_active(&lock, &one).unwrap();
        index.add_active(&lock, &two).unwrap();
        assert_eq!(index.active_tasks().unwrap(), [one.clone(), two.clone()]);
        index.remove_active(&lock, &[one]).unwrap();

        assert_eq!(index.active().unwrap(), ["what is this", "torn", &two.to_string()]);
    }

    #[test]
    fn the_archive_is_packed_away_when_it_is_large_and_its_parts_stay_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path().join("tasks"));
        let lock = index.lock().unwrap();

        for round in 0..3 {
            index.add_finished(&lock, &finished(&format!("round{round}"))).unwrap();
            assert!(!index.rotate(&lock, 10_000).unwrap());
            assert!(index.rotate(&lock, 10).unwrap());
        }
        index.add_finished(&lock, &finished("last")).unwrap();

        let ids = |parts: &[PathBuf]| -> Vec<String> {
            let texts = parts.iter().map(|part| index.read_part(part).unwrap());
            texts.map(|text| Finished::parse(text.trim_end()).unwrap().upid.worker_id.unwrap()).collect()
        };
        let parts = index.parts();
        assert_eq!(ids(&parts), ["last", "round2", "round1", "round0"]);

        index.write_part(&lock, &parts[1], "").unwrap();
        index.renumber(&lock, &parts).unwrap();
        assert_eq!(ids(&index.parts()), ["last", "round1", "round0"]);
    }
}
