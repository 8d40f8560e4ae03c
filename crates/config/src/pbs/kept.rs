//! Files of a stock server that have no effect here: kept as they are, for the way back.

use std::path::Path;

/// Files that an import keeps and an export gives back, with what they are about.
pub(super) const FILES: [(&str, &str); 3] = [
    ("prune.cfg", "prune jobs, which are not run here"),
    ("verification.cfg", "verify jobs, which are not run here"),
    (
        "traffic-control.cfg",
        "rates by network, which are not kept here; jobs have `rate-in`, `rate-out`, `rate-schedule`",
    ),
];

/// Other files that a stock server may have, and why they are left where they are.
pub(super) const LEFT: [(&str, &str); 8] = [
    ("domains.cfg", "realms: users of realm `pbs` and API tokens log in here"),
    ("media-pool.cfg", "tapes"),
    ("metricserver.cfg", "metrics: see docs/monitoring.md"),
    ("notifications.cfg", "notifications: set [notify] in backup-server.conf"),
    ("s3.cfg", "object stores"),
    ("tape.cfg", "tapes"),
    ("tape-job.cfg", "tapes"),
    ("tfa.json", "second factors"),
];

/// Those of `LEFT` that are in a directory.
pub(super) fn left_in(dir: &Path) -> impl Iterator<Item = (&'static str, &'static str)> {
    LEFT.into_iter().filter(move |(name, _)| dir.join(name).exists())
}
