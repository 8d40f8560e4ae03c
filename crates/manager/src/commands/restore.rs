//! `restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use formats::{ArchiveName, Namespace, SnapshotId};
use jobs::{RestoreReport, RestoreRequest};
use tempfile::NamedTempFile;

use crate::context::Context;
use crate::errors::Hinted;
use crate::human;
use crate::job_output::signal;
use crate::keys::KeyArgs;
use crate::outcome::Outcome;
use crate::place::PlaceArgs;
use crate::progress::Progress;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Snapshot, TYPE/ID/TIME
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    /// Archive, for example disk.img or vm.conf
    #[arg(value_name = "ARCHIVE", value_parser = ArchiveName::from_user_name)]
    archive: ArchiveName,

    /// File to write, replaced when complete; a block device; or - for standard output
    #[arg(value_name = "TARGET|-")]
    target: PathBuf,

    #[command(flatten)]
    place: PlaceArgs,

    /// Look in this namespace [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,

    #[command(flatten)]
    key: KeyArgs,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let key = self.key.unlock()?.map(Arc::new);
        let request = RestoreRequest { namespace: self.ns, snapshot: self.snapshot, archive: self.archive, key };
        let place = self.place.place().context("no place is given")?;
        let target = RestoreTarget::open(&self.target)?;
        let output = target.writer()?;
        let progress = Progress::new();
        let restored = ctx.block_on(async {
            let end = jobs::open_source(&ctx.paths, &place, &tasks::superuser())?;
            tokio::select! {
                report = jobs::restore(&*end.source, &request, output, &progress) => Ok(report?),
                _ = signal() => Err(Hinted::new("stopped on request").into()),
            }
        });
        progress.finish();
        let report: RestoreReport = restored?;
        target.complete()?;
        eprintln!("{}: {} restored", request.archive, human::bytes(report.bytes_written));
        Ok(Outcome::Done)
    }
}

/// Where the stream goes. A regular file appears under its name only when it is complete.
enum RestoreTarget {
    Stdout,
    Device(File, PathBuf),
    File(NamedTempFile, PathBuf),
}

impl RestoreTarget {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let failed = || format!("cannot write {}", path.display());
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Hinted::new(format!("{} is a directory", path.display()))
                    .hint("name the file to write")
                    .into());
            }
            Ok(meta) if !meta.is_file() => {
                return Ok(Self::Device(OpenOptions::new().write(true).open(path).with_context(failed)?, path.into()));
            }
            _ => {}
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new().prefix(".restore-").tempfile_in(directory).with_context(failed)?;
        Ok(Self::File(temporary, path.into()))
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Device(file, path) => {
                Box::new(file.try_clone().with_context(|| format!("cannot write {}", path.display()))?)
            }
            Self::File(temporary, path) => {
                Box::new(temporary.as_file().try_clone().with_context(|| format!("cannot write {}", path.display()))?)
            }
        })
    }

    fn complete(self) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::Device(file, path) => file.sync_all().with_context(|| format!("cannot finish {}", path.display())),
            Self::File(temporary, path) => {
                temporary.as_file().sync_all().with_context(|| format!("cannot finish {}", path.display()))?;
                temporary.persist(&path).with_context(|| format!("cannot finish {}", path.display()))?;
                Ok(())
            }
        }
    }
}
