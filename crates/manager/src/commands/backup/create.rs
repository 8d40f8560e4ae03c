//! `backup create`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use formats::{ArchiveKind, ArchiveName, AuthId, BackupId, BackupTime, BackupType, GroupId, Namespace, SnapshotId};
use jobs::{ArchiveInput, BackupReport, BackupRequest};
use serde_json::json;

use crate::args::CallerFile;
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
    /// Archives: NAME.img:PATH of an image file or block device, NAME.conf:PATH (also .log, .json, .key) of a file
    #[arg(value_name = "NAME:PATH", required = true)]
    archives: Vec<ArchiveSpec>,

    #[command(flatten)]
    place: PlaceArgs,

    /// Put the snapshot into this namespace, made if missing [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,

    /// Type of the backup group: vm, ct or host
    #[arg(long, value_name = "TYPE", default_value = "host")]
    backup_type: BackupType,

    /// Id of the backup group [default: the host name]
    #[arg(long, value_name = "ID")]
    backup_id: Option<BackupId>,

    /// Time of the snapshot, in seconds since the epoch or as 2026-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = backup_time)]
    backup_time: Option<BackupTime>,

    /// Own the group, if it is made now, as this user or token, by default root@pam (at a remote: its own user)
    #[arg(long, value_name = "AUTH-ID")]
    owner: Option<AuthId>,

    #[command(flatten)]
    key: KeyArgs,
}

/// An archive as it is named on the command line; the file is opened with the caller's own rights.
#[derive(Clone, Debug)]
struct ArchiveSpec {
    name: ArchiveName,
    file: CallerFile,
}

impl FromStr for ArchiveSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once(':').ok_or("expected NAME:PATH, for example disk.img:/dev/vg0/disk")?;
        let name = ArchiveName::from_user_name(name).map_err(|error| error.to_string())?;
        if name.is_manifest() || name.is_client_log() {
            return Err(format!("`{name}` is a name of the format itself"));
        }
        if name.kind() == ArchiveKind::Dynamic {
            return Err("directories (.pxar) cannot be backed up; give an image as NAME.img:PATH".into());
        }
        if path.is_empty() {
            return Err("expected a path after the colon".into());
        }
        Ok(Self { name, file: CallerFile::open(path) })
    }
}

fn backup_time(text: &str) -> Result<BackupTime, String> {
    match text.parse::<i64>() {
        Ok(seconds) => BackupTime::from_unix(seconds).map_err(|error| error.to_string()),
        Err(_) => text.parse().map_err(|error: formats::NameError| error.to_string()),
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let start = Instant::now();
        let snapshot = self.snapshot()?;
        let archives = self.archives.iter().map(input).collect::<Result<Vec<_>>>()?;
        let request = BackupRequest {
            namespace: self.ns.clone(),
            snapshot: snapshot.clone(),
            owner: self.owner.clone().unwrap_or_else(tasks::superuser),
            archives,
            key: self.key.unlock()?.map(Arc::new),
        };
        let place = self.place.place().context("no place is given")?;
        let progress = Progress::new();
        let made = ctx.block_on(async {
            let end = jobs::open_target(&ctx.paths, &place).await?;
            tokio::select! {
                made = jobs::backup(&*end.target, request, &progress) => Ok((made?, end.traffic)),
                _ = signal() => Err(Hinted::new("stopped on request").hint("nothing of the snapshot is visible").into()),
            }
        });
        progress.finish();
        let (report, traffic) = made?;
        let elapsed = start.elapsed().as_secs_f64();
        let (wire_in, wire_out) = traffic.map_or((0, 0), |traffic| (traffic.bytes_in(), traffic.bytes_out()));
        if ctx.out.is_text() {
            ctx.out.line(&summary(&snapshot, &report, elapsed))?;
        } else {
            ctx.out.json(&json!({
                "snapshot": snapshot.to_string(),
                "ns": self.ns.as_str(),
                "bytes-read": report.bytes_read,
                "chunks-transferred": report.chunks_transferred,
                "chunks-reused": report.chunks_reused,
                "bytes-transferred": report.bytes_transferred,
                "bytes-reused": report.bytes_reused,
                "bytes-on-wire-in": wire_in,
                "bytes-on-wire-out": wire_out,
                "elapsed-seconds": (elapsed * 1000.0).round() / 1000.0,
            }))?;
        }
        Ok(Outcome::Done)
    }

    fn snapshot(&self) -> Result<SnapshotId> {
        let id = match &self.backup_id {
            Some(id) => id.clone(),
            None => tasks::node_name().parse().context("the host name is no backup id; give one with --backup-id")?,
        };
        let time = match self.backup_time {
            Some(time) => time,
            None => BackupTime::from_unix(tasks::now()).context("the clock is wrong")?,
        };
        Ok(SnapshotId::new(GroupId::new(self.backup_type, id), time))
    }
}

fn input(spec: &ArchiveSpec) -> Result<ArchiveInput> {
    let described = spec.file.path().display().to_string();
    let file = spec.file.file()?.try_clone().with_context(|| format!("cannot open {described} again"))?;
    Ok(ArchiveInput { name: spec.name.clone(), file, described })
}

fn summary(snapshot: &SnapshotId, report: &BackupReport, elapsed: f64) -> String {
    let rate = human::rate(report.bytes_read, elapsed).map(|rate| format!(" ({rate})")).unwrap_or_default();
    format!(
        "snapshot:  {snapshot}\nread:      {}{rate}\nchunks:    {} transferred ({}), {} already there ({})\nelapsed:   {}",
        human::bytes(report.bytes_read),
        report.chunks_transferred,
        human::bytes(report.bytes_transferred),
        report.chunks_reused,
        human::bytes(report.bytes_reused),
        human::span(elapsed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_a_name_a_colon_and_a_path_which_may_have_colons_itself() {
        let spec: ArchiveSpec = "disk.img:/tmp/a:b".parse().unwrap();
        assert_eq!(spec.name.as_str(), "disk.img.fidx");
        assert_eq!(spec.file.path().to_str(), Some("/tmp/a:b"));
        for wrong in ["disk.img", "disk.img:", "root.pxar:/", "x:/tmp/x", "../x.img:/tmp/x", "index.json:/tmp/x"] {
            assert!(wrong.parse::<ArchiveSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_seconds_or_written_out() {
        assert_eq!(backup_time("1767225600"), backup_time("2026-01-01T00:00:00Z"));
        assert!(backup_time("1767225600").is_ok());
        assert!(backup_time("yesterday").is_err());
    }
}
