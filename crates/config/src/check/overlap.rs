//! Jobs that would remove what others copied: two sources for one place, one of them mirrored.

use formats::Namespace;

use crate::{
    remotes::RemoteConfig,
    sync_jobs::{SyncDirection, SyncJobConfig, TransferMode},
};

/// One end of a job: which datastore where, from which namespace on, how deep.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// Host, port and identity of another server; nothing for this one. Two remotes may be one place.
    server: Option<(String, u16, String)>,
    store: String,
    ns: Namespace,
    depth: Option<u8>,
}

impl End {
    /// Whether some namespace belongs to both.
    fn meets(&self, other: &Self) -> bool {
        self.server == other.server && self.store == other.store && (self.reaches(&other.ns) || other.reaches(&self.ns))
    }

    fn reaches(&self, ns: &Namespace) -> bool {
        self.ns.contains(ns) && self.depth.is_none_or(|depth| ns.depth() - self.ns.depth() <= usize::from(depth))
    }
}

/// Pairs of enabled jobs of which the first removes what vanished, where the second copies from another source to.
///
/// Filters are not compared, except that a group filter on both which have no type or group in common keeps them apart.
pub(super) fn conflicts<'a>(
    jobs: &'a [SyncJobConfig],
    remotes: &[RemoteConfig],
) -> Vec<(&'a SyncJobConfig, &'a SyncJobConfig)> {
    let mut found = Vec::new();
    for job in jobs.iter().filter(|job| job.is_enabled() && job.mode() == TransferMode::Sync) {
        for other in jobs.iter().filter(|other| other.id != job.id && other.is_enabled()) {
            let ((source, target), (other_source, other_target)) = (ends(job, remotes), ends(other, remotes));
            let same_source = source == other_source && target == other_target;
            if target.meets(&other_target) && !same_source && !apart(job, other) {
                found.push((job, other));
            }
        }
    }
    found
}

fn ends(job: &SyncJobConfig, remotes: &[RemoteConfig]) -> (End, End) {
    let server = job.remote.as_ref().map(|name| {
        let remote = remotes.iter().find(|remote| remote.name == *name);
        remote.map_or((name.to_string(), 0, String::new()), |remote| {
            (remote.host.to_ascii_lowercase(), remote.port(), remote.auth_id.to_string())
        })
    });
    let here = End { server: None, store: job.store.to_string(), ns: job.ns(), depth: job.max_depth };
    let there = End { server, store: job.remote_store.to_string(), ns: job.remote_ns(), depth: job.max_depth };
    match job.direction() {
        SyncDirection::Pull => (there, here),
        SyncDirection::Push => (here, there),
    }
}

/// Whether both jobs name what they take by type or group, and nothing that one names is taken by the other.
fn apart(job: &SyncJobConfig, other: &SyncJobConfig) -> bool {
    let plain = |job: &SyncJobConfig| -> Option<Vec<String>> {
        let texts: Vec<String> = job.group_filter.iter().map(ToString::to_string).collect();
        let included: Vec<String> = texts.into_iter().filter(|text| !text.starts_with("exclude:")).collect();
        (!included.is_empty() && included.iter().all(|text| !text.starts_with("regex:"))).then_some(included)
    };
    let (Some(mine), Some(theirs)) = (plain(job), plain(other)) else { return false };
    let kind = |text: &str| text.split_once(':').map(|(_, rest)| rest.split('/').next().unwrap_or(rest).to_owned());
    mine.iter().all(|a| {
        theirs
            .iter()
            .all(|b| if a.starts_with("group:") && b.starts_with("group:") { a != b } else { kind(a) != kind(b) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ID SOURCE -> TARGET`, an end being `[REMOTE:]STORE[/NS]`; `!` after the id mirrors. Further words are filters,
    /// `depth=N`, `off`.
    fn job(text: &str) -> SyncJobConfig {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (id, from, to) = (words[0], words[1], words[3]);
        let end = |text: &str| {
            let (remote, rest) = text.split_once(':').map_or((None, text), |(r, rest)| (Some(r.to_owned()), rest));
            let (store, ns) = rest.split_once('/').unwrap_or((rest, ""));
            (remote, store.to_owned(), ns.parse::<Namespace>().unwrap())
        };
        let ((from_remote, from_store, from_ns), (to_remote, to_store, to_ns)) = (end(from), end(to));
        let push = to_remote.is_some();
        let (here, there) =
            if push { ((from_store, from_ns), (to_store, to_ns)) } else { ((to_store, to_ns), (from_store, from_ns)) };
        let mut job = SyncJobConfig::new(
            id.trim_end_matches('!').parse().unwrap(),
            here.0.parse().unwrap(),
            from_remote.or(to_remote).map(|name| name.parse().unwrap()),
            there.0.parse().unwrap(),
        );
        (job.ns, job.remote_ns) = (Some(here.1), Some(there.1));
        job.sync_direction = push.then_some(SyncDirection::Push);
        job.remove_vanished = id.ends_with('!').then_some(true);
        for word in &words[4..] {
            match word.split_once('=') {
                Some((_, depth)) => job.max_depth = Some(depth.parse().unwrap()),
                None if *word == "off" => job.disable = Some(true),
                None => job.group_filter.push(word.parse().unwrap()),
            }
        }
        job
    }

    fn found(jobs: &[&str]) -> String {
        let jobs: Vec<SyncJobConfig> = jobs.iter().map(|text| job(text)).collect();
        let pairs: Vec<String> =
            conflicts(&jobs, &[]).iter().map(|(job, other)| format!("{} > {}", job.id, other.id)).collect();
        pairs.join(", ")
    }

    #[test]
    fn a_mirror_meets_whoever_else_copies_to_its_place_from_another_source() {
        assert_eq!(found(&["one! pbs1:tank -> here", "two pbs2:tank -> here"]), "one > two");
        assert_eq!(found(&["one! pbs1:tank -> here", "two! pbs2:tank -> here"]), "one > two, two > one");
        assert_eq!(found(&["one! here -> pbs1:tank", "two! there -> pbs1:tank"]), "one > two, two > one");
        assert_eq!(found(&["one pbs1:tank -> here", "two pbs2:tank -> here"]), "");
        assert_eq!(found(&["one! pbs1:tank -> here", "two pbs1:tank -> here"]), "");
        assert_eq!(found(&["one! pbs1:tank -> here", "two pbs2:tank -> here off"]), "");
    }

    #[test]
    fn namespaces_meet_where_one_lies_in_the_reach_of_the_other() {
        assert_eq!(found(&["one! pbs1:tank -> here/a", "two pbs2:tank -> here/b"]), "");
        assert_eq!(found(&["one! pbs1:tank -> here", "two pbs2:tank -> here/b"]), "one > two");
        assert_eq!(found(&["one! pbs1:tank -> here/b/c", "two pbs2:tank -> here/b"]), "one > two");
        assert_eq!(found(&["one! pbs1:tank -> here depth=0", "two pbs2:tank -> here/b"]), "");
        assert_eq!(found(&["one! pbs1:tank -> here/ab", "two pbs2:tank -> here/a"]), "");
    }

    #[test]
    fn jobs_that_name_different_groups_do_not_meet() {
        let pair = |mine: &str, theirs: &str| {
            found(&[&format!("one! pbs1:tank -> here {mine}"), &format!("two pbs2:tank -> here {theirs}")])
        };
        assert_eq!(pair("type:vm", "type:ct"), "");
        assert_eq!(pair("type:vm", "type:vm"), "one > two");
        assert_eq!(pair("group:vm/100", "group:vm/101"), "");
        assert_eq!(pair("group:vm/100", "type:vm"), "one > two");
        assert_eq!(pair("group:vm/100", "type:ct"), "");
        assert_eq!(pair("type:vm", "regex:^ct"), "one > two");
        assert_eq!(pair("type:vm", "exclude:type:vm"), "one > two");
    }

    #[test]
    fn two_remotes_with_one_address_and_identity_are_one_place() {
        let remote = |name: &str| {
            crate::from_pairs::<RemoteConfig>(
                name,
                &[("host", "pbs.test"), ("auth-id", "a@pbs"), ("password", "x")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned())),
            )
            .unwrap()
        };
        let jobs = [job("one! here -> pbs1:tank"), job("two there -> pbs2:tank")];

        assert_eq!(conflicts(&jobs, &[remote("pbs1"), remote("pbs2")]).len(), 1);
        assert_eq!(conflicts(&jobs, &[]).len(), 0);
    }
}
