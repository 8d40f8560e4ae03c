//! `sync.cfg` and `encryption-keys.cfg`: jobs that cannot run, and those that get in each other's way.

use formats::{AuthId, JobId};

use super::{Findings, Lines, Severity, overlap};
use crate::{
    chain::circles,
    encryption_keys::{self, KeyUse},
    error::ConfigError,
    paths::Paths,
    remotes, store,
    store::Entry,
    sync_jobs::{self, SyncDirection, SyncJobConfig},
    users,
};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    check_keys(paths, findings);
    let file = sync_jobs::file(paths);
    let loaded = match sync_jobs::load(paths) {
        Ok(loaded) => loaded,
        Err(error) => return findings.failed(Severity::Fatal, &file.path, &error),
    };
    findings.problems(loaded.problems);
    let lines = Lines::of(&file);
    let mut about = About { paths, lines: &lines, findings };
    for job in &loaded.entries {
        about.one(job);
        about.names(job, &loaded.entries);
        about.keys(job);
    }
    for circle in circles(&loaded.entries) {
        let Some(first) = circle.first() else { continue };
        let round: Vec<&str> = circle.iter().map(JobId::as_str).collect();
        let reason = format!("jobs wait for each other and never start: {} after {first}", round.join(" after "));
        about.findings.error(&lines.path, lines.line(first, "after"), reason);
    }
    let remotes = remotes::load(paths).map(|loaded| loaded.entries).unwrap_or_default();
    for (job, other) in overlap::conflicts(&loaded.entries, &remotes) {
        let key = if job.remove_vanished.is_some() { "remove-vanished" } else { "transfer-mode" };
        let reason = format!(
            "job `{}` removes what vanished at its source, and job `{}` copies to the same place from elsewhere: it would \
             remove what that one brought; give each its own namespace",
            job.id, other.id
        );
        findings.warn(&lines.path, lines.line(&job.id, key), reason);
    }
}

/// What one job says, found in the lines of its file.
struct About<'a> {
    paths: &'a Paths,
    lines: &'a Lines,
    findings: &'a mut Findings,
}

impl About<'_> {
    fn error(&mut self, job: &SyncJobConfig, key: &str, reason: String) {
        self.findings.error(&self.lines.path, self.lines.line(&job.id, key), format!("job `{}`: {reason}", job.id));
    }

    fn warn(&mut self, job: &SyncJobConfig, key: &str, reason: String) {
        self.findings.warn(&self.lines.path, self.lines.line(&job.id, key), format!("job `{}`: {reason}", job.id));
    }

    /// Properties that contradict each other.
    fn one(&mut self, job: &SyncJobConfig) {
        if let Err(ConfigError::Invalid { property, reason }) = job.check() {
            self.error(job, &property, format!("`{property}` {reason}"));
        }
    }

    /// Names of other entries.
    fn names(&mut self, job: &SyncJobConfig, jobs: &[SyncJobConfig]) {
        for (key, reason) in sync_jobs::missing_entries(self.paths, job).unwrap_or_default() {
            self.error(job, key, reason);
        }
        if let Some(leader) = &job.after
            && !jobs.iter().any(|other| other.id == *leader)
        {
            self.error(job, "after", format!("there is no job `{leader}` to follow"));
        }
        let owner: AuthId = job.owner();
        if let Ok(users) = users::load(self.paths)
            && (users.user(owner.user()).is_none() || (owner.is_token() && users.token(&owner).is_none()))
        {
            self.warn(job, "owner", format!("there is no user or API token `{owner}`"));
        }
    }

    /// Keys that are missing or cannot be used. Opened one by one, so that each has its line.
    fn keys(&mut self, job: &SyncJobConfig) {
        let push = job.direction() == SyncDirection::Push;
        let active = job.active_encryption_key.iter().map(|id| ("active-encryption-key", id, KeyUse::Encrypt));
        // A push only keeps the associated ones from being removed.
        let associated = job.associated_key.iter().map(|id| ("associated-key", id, KeyUse::Decrypt));
        for (key, id, purpose) in active.chain(associated.filter(|_| !push)) {
            let Ok(parsed) = id.parse::<JobId>() else { continue };
            if let Err(error) = encryption_keys::open(self.paths, &parsed, purpose) {
                let reason = match error {
                    ConfigError::NotFound { .. } => format!("there is no encryption key `{id}`"),
                    other => other.to_string(),
                };
                let line = self.lines.line_of_value(&job.id, key, id);
                self.findings.error(&self.lines.path, line, format!("job `{}`: {reason}", job.id));
            }
        }
        if let Err(ConfigError::Invalid { property, reason }) = encryption_keys::may_use_all(self.paths, job) {
            self.error(job, &property, reason);
        }
    }
}

/// Keys whose file is gone or holds something else; archived ones count as well, since they decrypt.
fn check_keys(paths: &Paths, findings: &mut Findings) {
    let file = encryption_keys::file(paths);
    let loaded: store::Loaded<_> = match encryption_keys::load(paths) {
        Ok(loaded) => loaded,
        Err(error) => return findings.failed(Severity::Error, &file.path, &error),
    };
    findings.problems(loaded.problems);
    let lines = Lines::of(&file);
    for key in &loaded.entries {
        if let Err(error) = encryption_keys::open(paths, &key.id, KeyUse::Decrypt) {
            findings.error(&file.path, lines.line(&key.id, "path"), error.to_string());
        }
    }
}
