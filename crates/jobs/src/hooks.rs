//! Scripts around a run: before it, after a good one, after a failed one.

use std::time::Duration;

use config::{Paths, SyncDirection, SyncJobConfig, TransferMode};
use formats::Upid;
use replication::Report;

use crate::script::Script;

/// The longest a script may take when the job says nothing.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Variables of the service that scripts see too, with `PATH`, which is fixed.
const INHERITED: [&str; 3] = ["HOME", "LANG", "TZ"];

/// The variables that scripts of a job see, and what they mean. Those about the outcome are empty before the run.
pub const VARIABLES: &[(&str, &str)] = &[
    ("BACKUP_SYNC_HOOK", "which script this is: pre, post or failure"),
    ("BACKUP_SYNC_ID", "name of the job"),
    ("BACKUP_SYNC_DIRECTION", "pull or push"),
    ("BACKUP_SYNC_STORE", "datastore of this host"),
    ("BACKUP_SYNC_NS", "namespace in it, empty for the root"),
    ("BACKUP_SYNC_REMOTE", "name of the remote, empty for another datastore of this host"),
    ("BACKUP_SYNC_REMOTE_STORE", "the other datastore"),
    ("BACKUP_SYNC_REMOTE_NS", "namespace in it, empty for the root"),
    ("BACKUP_SYNC_MODE", "copy, sync or move"),
    ("BACKUP_SYNC_COMMENT", "remark of the job"),
    ("BACKUP_SYNC_UPID", "name of the run, as in `task log UPID`"),
    ("BACKUP_SYNC_SCHEDULED", "1 when the schedule started the run, 0 when a person did"),
    ("BACKUP_SYNC_ROOT", "what --root is, empty without"),
    ("BACKUP_SYNC_RESULT", "how the run went: ok, warnings, error or stopped"),
    ("BACKUP_SYNC_SNAPSHOTS", "snapshots copied"),
    ("BACKUP_SYNC_SNAPSHOTS_REMOVED", "snapshots removed at the target"),
    ("BACKUP_SYNC_BYTES", "encoded bytes moved"),
    ("BACKUP_SYNC_WARNINGS", "number of warnings"),
    ("BACKUP_SYNC_ERROR", "the first error, empty without"),
    ("CLOUD_SYNC_ID", "as BACKUP_SYNC_ID"),
    ("CLOUD_SYNC_DESCRIPTION", "as BACKUP_SYNC_COMMENT"),
    ("CLOUD_SYNC_DIRECTION", "PULL or PUSH"),
    ("CLOUD_SYNC_TRANSFER_MODE", "COPY, SYNC or MOVE"),
    ("CLOUD_SYNC_PATH", "path of the datastore of this host"),
    ("CLOUD_SYNC_BUCKET", "as BACKUP_SYNC_REMOTE_STORE"),
    ("CLOUD_SYNC_FOLDER", "as BACKUP_SYNC_REMOTE_NS"),
];

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before the run.
    Pre,
    /// After a run that went well.
    Post,
    /// After one that did not.
    Failure,
}

impl Hook {
    /// The key of `sync.cfg` that holds its command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Pre => "pre-script",
            Self::Post => "post-script",
            Self::Failure => "failure-script",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::Failure => "failure",
        }
    }

    fn line(self, job: &SyncJobConfig) -> Option<&str> {
        let line = match self {
            Self::Pre => &job.pre_script,
            Self::Post => &job.post_script,
            Self::Failure => &job.failure_script,
        };
        line.as_deref()
    }
}

/// What scripts are told of a run besides its job.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) job: &'a SyncJobConfig,
    pub(crate) upid: &'a Upid,
    pub(crate) scheduled: bool,
    /// `--root`, where it is in use.
    pub(crate) root: Option<String>,
    /// Where the local datastore is, if it is configured.
    pub(crate) store_path: Option<String>,
}

impl<'a> Facts<'a> {
    /// Gathers what is known of a run of `job`.
    pub(crate) fn gather(paths: &Paths, job: &'a SyncJobConfig, upid: &'a Upid, scheduled: bool) -> Self {
        let root = paths.root().map(|root| root.display().to_string());
        let stores = config::datastores::load(paths).ok();
        let store_path = stores.and_then(|stores| Some(stores.find(&job.store)?.path.display().to_string()));
        Self { job, upid, scheduled, root, store_path }
    }

    /// The script of the job for this occasion, if it has one; `report` tells how the run went, once it is over.
    pub(crate) fn script(&self, hook: Hook, report: Option<&Report>, service: Environment) -> Option<Script<'a>> {
        let line = hook.line(self.job)?;
        let mut environment: Vec<(String, String)> =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), service(name)?))).collect();
        let told = VARIABLES.iter().map(|(name, _)| ((*name).to_owned(), self.value(name, hook, report)));
        environment.extend(told);
        let limit = self.job.script_timeout.map_or(DEFAULT_LIMIT, calendar::TimeSpan::duration);
        Some(Script { line, environment, limit })
    }

    fn value(&self, name: &str, hook: Hook, report: Option<&Report>) -> String {
        let job = self.job;
        let outcome = |tell: &dyn Fn(&Report) -> String| report.map(tell).unwrap_or_default();
        let remote_ns = || job.remote_ns().as_str().to_owned();
        match name {
            "BACKUP_SYNC_HOOK" => hook.word().to_owned(),
            "BACKUP_SYNC_ID" | "CLOUD_SYNC_ID" => job.id.to_string(),
            "BACKUP_SYNC_DIRECTION" => direction(job).to_owned(),
            "CLOUD_SYNC_DIRECTION" => direction(job).to_uppercase(),
            "BACKUP_SYNC_STORE" => job.store.to_string(),
            "BACKUP_SYNC_NS" => job.ns().as_str().to_owned(),
            "BACKUP_SYNC_REMOTE" => job.remote.as_ref().map(ToString::to_string).unwrap_or_default(),
            "BACKUP_SYNC_REMOTE_STORE" | "CLOUD_SYNC_BUCKET" => job.remote_store.to_string(),
            "BACKUP_SYNC_REMOTE_NS" | "CLOUD_SYNC_FOLDER" => remote_ns(),
            "BACKUP_SYNC_MODE" => mode(job).to_owned(),
            "CLOUD_SYNC_TRANSFER_MODE" => mode(job).to_uppercase(),
            "BACKUP_SYNC_COMMENT" | "CLOUD_SYNC_DESCRIPTION" => job.comment.clone().unwrap_or_default(),
            "BACKUP_SYNC_UPID" => self.upid.to_string(),
            "BACKUP_SYNC_SCHEDULED" => u8::from(self.scheduled).to_string(),
            "BACKUP_SYNC_ROOT" => self.root.clone().unwrap_or_default(),
            "CLOUD_SYNC_PATH" => self.store_path.clone().unwrap_or_default(),
            "BACKUP_SYNC_RESULT" => outcome(&|report| result(report).to_owned()),
            "BACKUP_SYNC_SNAPSHOTS" => outcome(&|report| report.snapshots_copied.to_string()),
            "BACKUP_SYNC_SNAPSHOTS_REMOVED" => outcome(&|report| report.snapshots_removed.to_string()),
            "BACKUP_SYNC_BYTES" => outcome(&|report| report.bytes_transferred.to_string()),
            "BACKUP_SYNC_WARNINGS" => outcome(&|report| report.warnings.len().to_string()),
            "BACKUP_SYNC_ERROR" => {
                outcome(&|report| report.errors.first().map(ToString::to_string).unwrap_or_default())
            }
            _ => String::new(),
        }
    }
}

/// Looks up a variable of the service's own environment.
pub(crate) type Environment = fn(&str) -> Option<String>;

fn direction(job: &SyncJobConfig) -> &'static str {
    match job.direction() {
        SyncDirection::Pull => "pull",
        SyncDirection::Push => "push",
    }
}

fn mode(job: &SyncJobConfig) -> &'static str {
    match job.mode() {
        TransferMode::Copy => "copy",
        TransferMode::Sync => "sync",
        TransferMode::Move => "move",
    }
}

fn result(report: &Report) -> &'static str {
    use replication::RunResult;

    match report.result {
        _ if report.cancelled => "stopped",
        RunResult::Ok => "ok",
        RunResult::Warnings => "warnings",
        RunResult::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use replication::Problem;

    use super::*;

    fn job() -> SyncJobConfig {
        let remote = Some("pbs2".parse().unwrap());
        let mut job =
            SyncJobConfig::new("nightly".parse().unwrap(), "here".parse().unwrap(), remote, "there".parse().unwrap());
        job.ns = Some("a".parse().unwrap());
        job.remote_ns = Some("b/c".parse().unwrap());
        job.comment = Some("a remark".to_owned());
        job.remove_vanished = Some(true);
        job.post_script = Some("true".to_owned());
        job
    }

    #[test]
    fn every_variable_has_its_value_and_a_service_shares_nothing_but_home_language_and_zone() {
        let job = job();
        let upid = tasks::new_upid("syncjob", None, tasks::superuser());
        let facts =
            Facts { job: &job, upid: &upid, scheduled: true, root: Some("/r".into()), store_path: Some("/r/s".into()) };
        let mut report =
            Report { snapshots_copied: 3, snapshots_removed: 2, bytes_transferred: 77, ..Report::default() };
        report.errors.push(Problem::new("host/a", "gone"));
        report.warnings.push(Problem::new("host/b", "odd"));
        report.settle();

        let script = facts.script(Hook::Post, Some(&report), |name| Some(format!("its {name}"))).unwrap();

        let expected = [
            ("HOME", "its HOME"),
            ("LANG", "its LANG"),
            ("TZ", "its TZ"),
            ("BACKUP_SYNC_HOOK", "post"),
            ("BACKUP_SYNC_ID", "nightly"),
            ("BACKUP_SYNC_DIRECTION", "pull"),
            ("BACKUP_SYNC_STORE", "here"),
            ("BACKUP_SYNC_NS", "a"),
            ("BACKUP_SYNC_REMOTE", "pbs2"),
            ("BACKUP_SYNC_REMOTE_STORE", "there"),
            ("BACKUP_SYNC_REMOTE_NS", "b/c"),
            ("BACKUP_SYNC_MODE", "sync"),
            ("BACKUP_SYNC_COMMENT", "a remark"),
            ("BACKUP_SYNC_UPID", &upid.to_string()),
            ("BACKUP_SYNC_SCHEDULED", "1"),
            ("BACKUP_SYNC_ROOT", "/r"),
            ("BACKUP_SYNC_RESULT", "error"),
            ("BACKUP_SYNC_SNAPSHOTS", "3"),
            ("BACKUP_SYNC_SNAPSHOTS_REMOVED", "2"),
            ("BACKUP_SYNC_BYTES", "77"),
            ("BACKUP_SYNC_WARNINGS", "1"),
            ("BACKUP_SYNC_ERROR", "host/a: gone"),
            ("CLOUD_SYNC_ID", "nightly"),
            ("CLOUD_SYNC_DESCRIPTION", "a remark"),
            ("CLOUD_SYNC_DIRECTION", "PULL"),
            ("CLOUD_SYNC_TRANSFER_MODE", "SYNC"),
            ("CLOUD_SYNC_PATH", "/r/s"),
            ("CLOUD_SYNC_BUCKET", "there"),
            ("CLOUD_SYNC_FOLDER", "b/c"),
        ];
        let told: BTreeMap<&str, &str> =
            script.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, expected.into_iter().collect());
        assert!(VARIABLES.iter().all(|(name, _)| told.contains_key(name)));
    }

    #[test]
    fn every_variable_is_documented() {
        let page = include_str!("../../../docs/running.md");
        for (name, meaning) in VARIABLES {
            assert!(page.contains(&format!("| `{name}` | {meaning} |")), "{name} is not in docs/running.md");
        }
    }

    #[test]
    fn before_a_run_nothing_is_known_of_its_end_and_without_a_command_line_there_is_no_script() {
        let mut job = job();
        let upid = tasks::new_upid("syncjob", None, tasks::superuser());
        job.pre_script = Some("true".to_owned());
        let facts = Facts { job: &job, upid: &upid, scheduled: false, root: None, store_path: None };

        let script = facts.script(Hook::Pre, None, |_| None).unwrap();
        assert_eq!(script.limit, DEFAULT_LIMIT);
        assert!(script.environment.contains(&("BACKUP_SYNC_RESULT".to_owned(), String::new())));
        assert!(script.environment.contains(&("BACKUP_SYNC_SCHEDULED".to_owned(), "0".to_owned())));
        assert!(facts.script(Hook::Failure, None, |_| None).is_none());
    }
}
