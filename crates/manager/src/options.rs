//! The options of synchronisation, under the names PBS gives them, and how they become properties of a file.

use calendar::{BadSchedule, Schedule, TimeSpan};
use clap::{Args, ValueEnum};
use config::{ByteSize, RateSchedule, RunCondition};
use formats::{AuthId, GroupFilter, JobId, Namespace, RemovalLimit};

use crate::args::parse_bool;

/// Longest comment, in characters.
const MAX_COMMENT: usize = 128;

/// What jobs, `pull` and `push` share: one end of theirs is here.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SyncOptions {
    /// Start from this namespace of the local datastore [default: the root]
    #[arg(long, value_name = "NS", help_heading = "What to copy")]
    pub(crate) ns: Option<Namespace>,

    /// Start from this namespace of the other datastore [default: the root]
    #[arg(long, value_name = "NS", help_heading = "What to copy")]
    pub(crate) remote_ns: Option<Namespace>,

    #[command(flatten)]
    rules: RuleOptions,
}

/// What to copy and how fast, whatever the ends.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RuleOptions {
    /// Go down at most this many levels of namespaces; 0 is the start only [default: all]
    #[arg(long, value_name = "0..7", value_parser = clap::value_parser!(u8).range(0..=7), help_heading = "What to copy")]
    pub(crate) max_depth: Option<u8>,

    /// Copy only groups that pass: [include:|exclude:]type:vm|ct|host, group:TYPE/ID or regex:EXPR (repeatable)
    #[arg(long, value_name = "FILTER", help_heading = "What to copy")]
    pub(crate) group_filter: Vec<GroupFilter>,

    /// Copy only the newest N snapshots of each group [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "What to copy")]
    pub(crate) transfer_last: Option<u64>,

    /// Copy only snapshots whose every file is encrypted [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) encrypted_only: Option<bool>,

    /// Copy only snapshots that verified well [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) verified_only: Option<bool>,

    /// Remove at the target what is gone at the source [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) remove_vanished: Option<bool>,

    /// Add only (copy), remove what vanished (sync), or remove at the source what was copied and read back (move)
    /// [default: sync with remove-vanished, else copy]
    #[arg(long, value_name = "MODE", value_enum, help_heading = "What to copy")]
    pub(crate) transfer_mode: Option<TransferMode>,

    /// Set notes and protection at the target as they are at the source [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) sync_metadata: Option<bool>,

    /// Remove nothing when more vanished than this number or percentage of snapshots [default: 20%, but at least 5]
    #[arg(long, value_name = "N|N%", help_heading = "What to copy")]
    pub(crate) max_removals: Option<RemovalLimit>,

    /// Limit received bytes per second, for example 20MiB [default: no limit]
    #[arg(long, value_name = "BYTES", help_heading = "Speed")]
    pub(crate) rate_in: Option<ByteSize>,

    /// Allow this many received bytes at once above the rate [default: the rate]
    #[arg(long, value_name = "BYTES", help_heading = "Speed")]
    pub(crate) burst_in: Option<ByteSize>,

    /// Limit sent bytes per second, for example 20MiB [default: no limit]
    #[arg(long, value_name = "BYTES", help_heading = "Speed")]
    pub(crate) rate_out: Option<ByteSize>,

    /// Allow this many sent bytes at once above the rate [default: the rate]
    #[arg(long, value_name = "BYTES", help_heading = "Speed")]
    pub(crate) burst_out: Option<ByteSize>,

    /// Use these rates at these times, as in "mon..fri 08:00-18:00 2MiB, 22:00-06:00 unlimited" [default: none]
    #[arg(long, value_name = "WINDOWS", help_heading = "Speed")]
    pub(crate) rate_schedule: Option<RateSchedule>,

    /// Work on this many groups at the same time
    #[arg(long, value_name = "1..32", value_parser = clap::value_parser!(u8).range(1..=32), help_heading = "Speed")]
    pub(crate) worker_threads: Option<u8>,
}

/// What holds for this run only.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct RunOptions {
    /// Let this run remove what vanished, however much it is
    #[arg(long, help_heading = "This run")]
    pub(crate) allow_removals: bool,

    /// Say what would be copied, refreshed, skipped and removed, and how much would be sent; change nothing
    #[arg(long, help_heading = "This run")]
    pub(crate) dry_run: bool,
}

impl RunOptions {
    pub(crate) fn this_run(self) -> jobs::ThisRun {
        jobs::ThisRun { allow_removals: self.allow_removals, ..jobs::ThisRun::default() }
    }
}

/// What only a local target can do: take older snapshots, and copy again what is damaged.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct ResyncOption {
    /// Copy also what is missing between the snapshots of the target [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) fill_gaps: Option<bool>,

    /// Begin with the oldest of each group, or with the newest of every group [default: oldest-first]
    #[arg(long, value_name = "ORDER", value_enum, help_heading = "What to copy")]
    pub(crate) transfer_order: Option<TransferOrder>,

    /// Copy again snapshots whose local copy failed verification [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) resync_corrupt: Option<bool>,

    /// Read each snapshot back and verify it after it was copied [default: verify-new of the datastore]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "What to copy")]
    pub(crate) verify: Option<bool>,
}

/// Who owns what is copied: only where groups are created here.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OwnerOption {
    /// Own created groups as this user or token, by default root@pam
    #[arg(long, value_name = "AUTH-ID", help_heading = "What to copy")]
    pub(crate) owner: Option<AuthId>,
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    text.parse().map_err(|error: BadSchedule| error.with_hint())
}

/// What only a stored job has.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct JobOptions {
    /// Run at these times, for example daily, mon..fri 22:00 or `every 5min` [default: only by hand]
    #[arg(long, value_name = "SCHEDULE", value_parser = parse_schedule, help_heading = "Job")]
    pub(crate) schedule: Option<Schedule>,

    /// Start when this job has ended well
    #[arg(long, value_name = "ID", help_heading = "Job")]
    pub(crate) after: Option<JobId>,

    /// Wait until this holds: ac-power, free-space:SIZE, host:NAME[:PORT] or command:LINE (repeatable)
    #[arg(long, value_name = "CONDITION", help_heading = "Job")]
    pub(crate) run_when: Vec<RunCondition>,

    /// Leave a job that failed this many times in a row to its next event [default: for ever]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Job")]
    pub(crate) max_attempts: Option<u32>,

    /// Try a failed run again after this time, and twice as long each time up to 1h [default: 30s]
    #[arg(long, value_name = "SPAN", help_heading = "Job")]
    pub(crate) retry_interval: Option<TimeSpan>,

    /// Run this command line before each run, which fails when it does
    #[arg(long, value_name = "COMMAND", help_heading = "Job")]
    pub(crate) pre_script: Option<String>,

    /// Run this command line after each run that went well
    #[arg(long, value_name = "COMMAND", help_heading = "Job")]
    pub(crate) post_script: Option<String>,

    /// Run this command line after each run that failed
    #[arg(long, value_name = "COMMAND", help_heading = "Job")]
    pub(crate) failure_script: Option<String>,

    /// End scripts that take longer [default: 10min]
    #[arg(long, value_name = "SPAN", help_heading = "Job")]
    pub(crate) script_timeout: Option<TimeSpan>,

    /// Have `health` complain when the newest good copy of a group is older, for example 26h
    #[arg(long, value_name = "SPAN", help_heading = "Job")]
    pub(crate) objective: Option<TimeSpan>,

    /// Keep the job, but start it by hand only [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "Job")]
    pub(crate) disable: Option<bool>,

    /// Start when a removable datastore of the job is mounted [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "Job")]
    pub(crate) run_on_mount: Option<bool>,

    /// Unmount the removable datastore after such a run [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, help_heading = "Job")]
    pub(crate) unmount_on_done: Option<bool>,

    /// Encrypt plain snapshots with this key of `encryption-key list` while pushing
    #[arg(long, value_name = "KEY", help_heading = "Job")]
    pub(crate) active_encryption_key: Option<String>,

    /// Pull: decrypt snapshots under this key. Push: keep this key from being removed (repeatable)
    #[arg(long, value_name = "KEY", help_heading = "Job")]
    pub(crate) associated_key: Vec<String>,

    /// Remark of at most 128 characters
    #[arg(long, value_name = "TEXT", value_parser = comment, help_heading = "Job")]
    pub(crate) comment: Option<String>,
}

/// What a job makes of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransferMode {
    /// Add what is new, remove nothing.
    Copy,
    /// Add what is new and remove what vanished.
    Sync,
    /// Add what is new and remove it at the source once its copy was read back.
    Move,
}

impl TransferMode {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Sync => "sync",
            Self::Move => "move",
        }
    }
}

/// Which snapshots come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransferOrder {
    /// Group by group, each from its oldest snapshot on.
    OldestFirst,
    /// The newest snapshot of every group, then the others; needs fill-gaps.
    NewestFirst,
}

impl TransferOrder {
    fn name(self) -> &'static str {
        match self {
            Self::OldestFirst => "oldest-first",
            Self::NewestFirst => "newest-first",
        }
    }
}

/// Which way a job copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// From the other datastore into the local one.
    Pull,
    /// From the local datastore into the other one.
    Push,
}

impl Direction {
    pub(crate) fn add_to(self, pairs: &mut Pairs) {
        pairs.put("sync-direction", Some(self.name()));
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// Properties as key and value, for [`config::from_pairs`] and [`config::patch`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Adds a property if it was given.
    pub(crate) fn put(&mut self, key: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (key.to_owned(), value.to_string())));
    }

    /// Adds every element of a list.
    pub(crate) fn put_all(&mut self, key: &str, values: &[impl ToString]) {
        self.0.extend(values.iter().map(|value| (key.to_owned(), value.to_string())));
    }

    /// The properties, in the order they were added.
    pub(crate) fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

impl SyncOptions {
    pub(crate) fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("ns", self.ns.as_ref().filter(|ns| !ns.is_root()));
        pairs.put("remote-ns", self.remote_ns.as_ref().filter(|ns| !ns.is_root()));
        self.rules.add_to(pairs);
    }

    /// Properties that an update to the root namespace unsets: the root is written by leaving the key out.
    pub(crate) fn unset(&self) -> Vec<String> {
        let root = |ns: &Option<Namespace>| ns.as_ref().is_some_and(Namespace::is_root);
        let keys = [("ns", root(&self.ns)), ("remote-ns", root(&self.remote_ns))];
        keys.into_iter().filter(|(_, unset)| *unset).map(|(key, _)| key.to_owned()).collect()
    }
}

impl RuleOptions {
    pub(crate) fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("max-depth", self.max_depth);
        pairs.put_all("group-filter", &self.group_filter);
        pairs.put("transfer-last", self.transfer_last);
        pairs.put("encrypted-only", self.encrypted_only);
        pairs.put("verified-only", self.verified_only);
        pairs.put("remove-vanished", self.remove_vanished);
        pairs.put("transfer-mode", self.transfer_mode.map(|mode| mode.name()));
        pairs.put("sync-metadata", self.sync_metadata);
        pairs.put("max-removals", self.max_removals);
        pairs.put("rate-in", self.rate_in.as_ref());
        pairs.put("burst-in", self.burst_in.as_ref());
        pairs.put("rate-out", self.rate_out.as_ref());
        pairs.put("burst-out", self.burst_out.as_ref());
        pairs.put("rate-schedule", self.rate_schedule.as_ref());
        pairs.put("worker-threads", self.worker_threads);
    }
}

impl ResyncOption {
    pub(crate) fn add_to(self, pairs: &mut Pairs) {
        pairs.put("fill-gaps", self.fill_gaps);
        pairs.put("transfer-order", self.transfer_order.map(|order| order.name()));
        pairs.put("resync-corrupt", self.resync_corrupt);
        pairs.put("verify", self.verify);
    }
}

impl OwnerOption {
    pub(crate) fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("owner", self.owner.as_ref());
    }
}

impl JobOptions {
    pub(crate) fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("schedule", self.schedule.as_ref());
        pairs.put("after", self.after.as_ref());
        pairs.put_all("run-when", &self.run_when);
        pairs.put("max-attempts", self.max_attempts);
        pairs.put("retry-interval", self.retry_interval);
        pairs.put("pre-script", self.pre_script.as_ref());
        pairs.put("post-script", self.post_script.as_ref());
        pairs.put("failure-script", self.failure_script.as_ref());
        pairs.put("script-timeout", self.script_timeout);
        pairs.put("objective", self.objective);
        pairs.put("disable", self.disable);
        pairs.put("run-on-mount", self.run_on_mount);
        pairs.put("unmount-on-done", self.unmount_on_done);
        pairs.put("active-encryption-key", self.active_encryption_key.as_ref());
        pairs.put_all("associated-key", &self.associated_key);
        pairs.put("comment", self.comment.as_ref());
    }
}

/// Checks a comment: no control character, not too long. An empty one removes the comment.
pub(crate) fn comment(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text {
        _ if text.chars().any(char::is_control) => Err("a comment has no control characters and one line".into()),
        _ if text.chars().count() > MAX_COMMENT => Err(format!("a comment has at most {MAX_COMMENT} characters")),
        _ => Ok(text.to_owned()),
    }
}
