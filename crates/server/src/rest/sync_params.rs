//! The settings of a sync job, as parameters of the calls that make and change one.
//!
//! Those that name commands (`pre-script`, `run-when`, ...) are not among them: who may make a job must not thereby be
//! able to run programs on this host.

use crate::http::params::{Kind, Param, TEXT, optional, required};

const ONE_OR_MORE: Kind = Kind::Int(1, i64::MAX);

/// Settings that a job may have, in the order of the file.
const OPTIONS: [Param; 35] = [
    optional("ns", TEXT),
    optional("owner", TEXT),
    optional("remote", TEXT),
    optional("remote-ns", TEXT),
    optional("sync-direction", TEXT),
    optional("disable", Kind::Bool),
    optional("transfer-mode", TEXT),
    optional("fill-gaps", Kind::Bool),
    optional("transfer-order", TEXT),
    optional("remove-vanished", Kind::Bool),
    optional("sync-metadata", Kind::Bool),
    optional("max-removals", TEXT),
    optional("max-depth", Kind::Int(0, 7)),
    optional("group-filter", Kind::Texts),
    optional("transfer-last", ONE_OR_MORE),
    optional("encrypted-only", Kind::Bool),
    optional("verified-only", Kind::Bool),
    optional("resync-corrupt", Kind::Bool),
    optional("rate-in", TEXT),
    optional("burst-in", TEXT),
    optional("rate-out", TEXT),
    optional("burst-out", TEXT),
    optional("rate-schedule", TEXT),
    optional("verify", Kind::Bool),
    optional("worker-threads", Kind::Int(1, 32)),
    optional("schedule", TEXT),
    optional("after", TEXT),
    optional("max-attempts", ONE_OR_MORE),
    optional("retry-interval", TEXT),
    optional("objective", TEXT),
    optional("run-on-mount", Kind::Bool),
    optional("unmount-on-done", Kind::Bool),
    optional("active-encryption-key", TEXT),
    optional("associated-key", Kind::Texts),
    optional("comment", TEXT),
];

const ID: Param = required("id", TEXT);

/// Parameters of the call that makes a job.
pub(crate) static CREATE: &[Param] =
    &with::<{ OPTIONS.len() + 3 }>(&[ID, required("store", TEXT), required("remote-store", TEXT)]);

/// Parameters of the call that changes one.
pub(crate) static UPDATE: &[Param] = &with::<{ OPTIONS.len() + 5 }>(&[
    ID,
    optional("store", TEXT),
    optional("remote-store", TEXT),
    optional("digest", TEXT),
    optional("delete", Kind::Texts),
]);

/// The options and some more; `TOTAL` is their number.
const fn with<const TOTAL: usize>(more: &[Param]) -> [Param; TOTAL] {
    let mut all = [ID; TOTAL];
    let mut at = 0;
    while at < TOTAL {
        all[at] = if at < more.len() { more[at] } else { OPTIONS[at - more.len()] };
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_job_is_a_parameter_but_those_about_commands() {
        let given: Vec<&str> = CREATE.iter().map(Param::name).collect();
        let mut missing = config::properties::<config::SyncJobConfig>().to_vec();
        missing.retain(|key| !given.contains(key));

        let mut commands = super::super::sync_jobs::COMMANDS.to_vec();
        commands.sort_unstable();
        missing.sort_unstable();
        assert_eq!(missing, commands);
    }
}
