//! Receipts: what both ends looked like when a job last had nothing left to do.
//!
//! A run whose ends still look so, and whose options are the same, has nothing to do and ends at once. A receipt is only
//! ever a shortcut: without one, with a damaged one or with one older than a day, everything is looked at.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use config::{Paths, SyncJobConfig};
use formats::{ChunkDigest, ListingFingerprint};
use replication::{EndError, Inventoried, JobOptions, Report, RunResult};
use serde::{Deserialize, Serialize};

/// Seconds after which everything is looked at again, whatever the receipt says: it cannot see what somebody else did at
/// the target between the end of a run and the look that was taken for it.
const GOOD_FOR: i64 = 24 * 3600;

/// A receipt is about 350 bytes.
const MAX_LEN: u64 = 4096;

/// What both ends looked like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Receipt {
    /// Hash of all that decides what a run does.
    options: String,
    source: ListingFingerprint,
    target: ListingFingerprint,
    /// Unix seconds.
    written: i64,
}

/// The receipt of one job, before and after a run.
pub(crate) struct Receipts<'a> {
    path: PathBuf,
    options: String,
    run: &'a JobOptions,
    /// Taken before the run: what changes later is for the next one.
    source: ListingFingerprint,
    target: ListingFingerprint,
    now: i64,
}

impl<'a> Receipts<'a> {
    /// Asks both ends what they look like; `None` where one cannot tell, or the job wants everything looked at.
    pub(crate) async fn take(
        paths: &Paths,
        job: &SyncJobConfig,
        run: &'a JobOptions,
        source: &(impl Inventoried + ?Sized),
        target: &(impl Inventoried + ?Sized),
        now: i64,
    ) -> Option<Self> {
        if run.resync_corrupt {
            return None;
        }
        let (seen_source, seen_target) =
            futures_util::future::join(of_source(run, source), of_target(run, target)).await;
        Some(Self {
            path: path(paths, job),
            options: hash(run, &source.describe(), &target.describe()),
            run,
            source: seen_source?,
            target: seen_target?,
            now,
        })
    }

    /// Whether the last run left nothing to do and nothing has changed since.
    pub(crate) fn nothing_to_do(&self) -> bool {
        let Ok(known) = read(&self.path) else { return false };
        let age = self.now.saturating_sub(known.written);
        let same = Receipt { written: known.written, ..self.receipt(self.target) } == known;
        same && (0..GOOD_FOR).contains(&age)
    }

    /// Remembers what the ends look like after a run that left nothing to do; forgets it after any other.
    pub(crate) async fn keep(&self, report: &Report, target: &(impl Inventoried + ?Sized)) {
        let well = report.result == RunResult::Ok && !report.cancelled;
        let seen = match report.moved_nothing() {
            _ if !well => None,
            true => Some(self.target),
            false => of_target(self.run, target).await,
        };
        let kept = match seen {
            Some(seen) => write(&self.path, &self.receipt(seen)),
            None => forget(&self.path),
        };
        if let Err(error) = kept {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep a receipt, the next run looks at everything");
        }
    }

    fn receipt(&self, target: ListingFingerprint) -> Receipt {
        Receipt { options: self.options.clone(), source: self.source, target, written: self.now }
    }
}

fn path(paths: &Paths, job: &SyncJobConfig) -> PathBuf {
    paths.state().join("receipts").join(format!("{}.json", job.id))
}

async fn of_source(run: &JobOptions, source: &(impl Inventoried + ?Sized)) -> Option<ListingFingerprint> {
    told(source.fingerprint(&run.source_ns, run.max_depth).await)
}

/// At the target all depths count: `remove-vanished` does not stop at `max-depth`.
async fn of_target(run: &JobOptions, target: &(impl Inventoried + ?Sized)) -> Option<ListingFingerprint> {
    told(target.fingerprint(&run.target_ns, None).await)
}

/// An end that cannot be reached is for the run to report.
fn told(answer: Result<Option<ListingFingerprint>, EndError>) -> Option<ListingFingerprint> {
    answer.inspect_err(|error| tracing::debug!(%error, "no fingerprint")).ok().flatten()
}

/// Hashes all that decides what a run does with given listings. The time decides only about warnings.
fn hash(run: &JobOptions, source: &str, target: &str) -> String {
    let run = JobOptions { now: None, patience: replication::Patience::NONE, ..run.clone() };
    let text = format!("{}\n{source}\n{target}\n{run:?}", env!("CARGO_PKG_VERSION"));
    ChunkDigest::of(text.as_bytes()).to_string()
}

fn read(path: &Path) -> io::Result<Receipt> {
    if fs::metadata(path)?.len() > MAX_LEN {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Replaces the receipt; one that is cut off by a loss of power does not parse.
fn write(path: &Path, receipt: &Receipt) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension(format!("json.tmp{}", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    let written = file.write_all(&serde_json::to_vec(receipt)?).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use replication::{Direction, Problem};

    use super::*;

    fn options() -> JobOptions {
        JobOptions::new(Direction::Pull, "root@pam".parse().unwrap())
    }

    fn fingerprint(byte: u8) -> ListingFingerprint {
        ListingFingerprint::from_bytes([byte; 32])
    }

    fn seen<'a>(path: &Path, run: &'a JobOptions, source: u8, target: u8, now: i64) -> Receipts<'a> {
        let options = hash(run, "a", "b");
        Receipts { path: path.to_owned(), options, run, source: fingerprint(source), target: fingerprint(target), now }
    }

    #[test]
    fn only_equal_ends_options_and_a_recent_day_are_nothing_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receipts/job.json");
        let run = options();
        let first = seen(&path, &run, 1, 2, 1000);
        assert!(!first.nothing_to_do(), "there is no receipt");
        write(&path, &first.receipt(fingerprint(2))).unwrap();

        assert!(seen(&path, &run, 1, 2, 1001).nothing_to_do());
        let later = JobOptions { now: formats::BackupTime::from_unix(1001).ok(), ..options() };
        assert!(seen(&path, &later, 1, 2, 1001).nothing_to_do(), "the same at another time");
        assert!(!seen(&path, &run, 3, 2, 1001).nothing_to_do(), "another source");
        assert!(!seen(&path, &run, 1, 3, 1001).nothing_to_do(), "another target");
        assert!(!seen(&path, &run, 1, 2, 1000 + GOOD_FOR).nothing_to_do(), "too old");
        assert!(!seen(&path, &run, 1, 2, 999).nothing_to_do(), "from the future");
        let other = JobOptions { verified_only: true, ..options() };
        assert!(!seen(&path, &other, 1, 2, 1001).nothing_to_do(), "other options");
        for damaged in ["", "{", "{}", "null", &"x".repeat(10_000)] {
            fs::write(&path, damaged).unwrap();
            assert!(!seen(&path, &run, 1, 2, 1001).nothing_to_do(), "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_run_that_left_something_takes_the_receipt_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.json");
        let run = options();
        let target = Nowhere;
        let receipts = seen(&path, &run, 1, 2, 1000);

        receipts.keep(&Report::default(), &target).await;
        assert!(receipts.nothing_to_do());
        let mut warned = Report { warnings: vec![Problem::new("host/a", "look at it")], ..Report::default() };
        warned.settle();
        receipts.keep(&warned, &target).await;
        assert!(!receipts.nothing_to_do());
        // One that moved something, to a target that does not tell what it looks like now.
        receipts.keep(&Report::default(), &target).await;
        receipts.keep(&Report { snapshots_copied: 1, ..Report::default() }, &target).await;
        assert!(!receipts.nothing_to_do() && !path.exists());
    }

    /// A target that tells nothing and takes nothing.
    struct Nowhere;

    #[async_trait::async_trait]
    impl Inventoried for Nowhere {
        fn describe(&self) -> String {
            "nowhere".to_owned()
        }

        async fn namespaces(
            &self,
            _: &formats::Namespace,
            _: Option<usize>,
        ) -> Result<Vec<formats::Namespace>, EndError> {
            Err(EndError::stop("nowhere"))
        }

        async fn groups(&self, _: &formats::Namespace) -> Result<Vec<replication::GroupInfo>, EndError> {
            Err(EndError::stop("nowhere"))
        }

        async fn snapshots(
            &self,
            _: &formats::Namespace,
            _: &formats::GroupId,
        ) -> Result<Vec<replication::SnapshotInfo>, EndError> {
            Err(EndError::stop("nowhere"))
        }
    }
}
