//! What our client does otherwise than the recorded ones. Everything that is not listed here fails the tests, but what the
//! protocol leaves open: the order of concurrent requests, and how many entries go into one append.
//!
//! Some things are told where they happen. In `session`: a push asks for all indexes of the previous snapshot, also for
//! those of archives that the new one does not have, for their chunks may have moved into another archive; and it sends the
//! client's log as the blob it is, where stock push wraps it into another. In `main`: a group that belongs to somebody else
//! and cannot be pushed makes the run fail, where stock push only warns and ends well.

use std::collections::BTreeMap;

use serde_json::Value;
use traces::Exchange;

/// A parameter that does not have to be as recorded.
struct Loose {
    /// End of the path.
    path: &'static str,
    name: &'static str,
    /// The values that say nothing.
    values: &'static [&'static str],
}

/// Parameters that mean the same with other values, or when they are left out.
const LOOSE: &[Loose] = &[
    // Says how much the server logs. Stock clients differ among themselves: pull and backup say true, push says false.
    Loose { path: "/reader", name: "debug", values: &["true", "false"] },
    Loose { path: "/backup", name: "debug", values: &["true", "false"] },
    // The root namespace is the default. Stock push names it in some calls, and nothing else ever does.
    Loose { path: "/groups", name: "ns", values: &[""] },
    Loose { path: "/snapshots", name: "ns", values: &[""] },
    Loose { path: "/namespace", name: "parent", values: &[""] },
    // Ours has removed the groups before, and a group that appeared meanwhile is to stay.
    Loose { path: "/namespace", name: "delete-groups", values: &["true", "false"] },
];

/// A call that recorded clients did not make in that place.
pub(crate) struct More {
    /// Method and [`essential`] target.
    pub(crate) line: &'static str,
    /// What a stock server answers.
    pub(crate) answer: &'static str,
}

/// Calls that our client makes in addition. All are about what vanished: before it removes a group it looks what is in
/// there, to count what goes and to see what is protected; it empties a namespace group by group before it removes it,
/// so that nothing goes that it has not looked at; and it knows what is in namespaces that the run is not about, so that
/// it never removes one above them.
pub(crate) const MORE_CALLS: &[More] = &[
    More {
        line: "GET /api2/json/admin/datastore/trP/groups?ns=prod",
        answer: r#"{"data":[{"backup-count":1,"backup-id":"web1","backup-type":"host","files":["index.json.blob","catalog.pcat1.didx","qemu.conf.blob","a.pxar.didx"],"last-backup":1763600000,"owner":"root@pam!t1"}]}"#,
    },
    More {
        line: "GET /api2/json/admin/datastore/trP/snapshots?backup-id=web1&backup-type=host&ns=prod",
        answer: r#"{"data":[{"backup-type":"host","backup-id":"web1","backup-time":1763600000,"files":[{"filename":"qemu.conf.blob","crypt-mode":"none","size":37},{"filename":"a.pxar.didx","crypt-mode":"none","size":155784},{"filename":"catalog.pcat1.didx","crypt-mode":"none","size":209},{"filename":"index.json.blob","crypt-mode":"none","size":435}],"size":156465,"owner":"root@pam!t1","protected":false}]}"#,
    },
    More {
        line: "DELETE /api2/json/admin/datastore/trP/groups?backup-id=web2&backup-type=vm&error-on-protected=false&ns=prod/web",
        answer: r#"{"data":{"protected-snapshots":0,"removed-groups":1,"removed-snapshots":1}}"#,
    },
    More {
        line: "GET /api2/json/admin/datastore/trP/snapshots?backup-id=gone&backup-type=host",
        answer: r#"{"data":[{"backup-type":"host","backup-id":"gone","backup-time":1763600500,"files":[{"filename":"qemu.conf.blob","crypt-mode":"none","size":37},{"filename":"index.json.blob","crypt-mode":"none","size":298}],"size":335,"owner":"root@pam!t1","protected":false}]}"#,
    },
    More {
        line: "GET /api2/json/admin/datastore/trP/groups?ns=prod/web",
        answer: r#"{"data":[{"backup-count":1,"backup-id":"web2","backup-type":"vm","files":["index.json.blob","qemu.conf.blob"],"last-backup":1763600000,"owner":"root@pam!t1"}]}"#,
    },
    More {
        line: "GET /api2/json/admin/datastore/trP/snapshots?backup-id=web2&backup-type=vm&ns=prod/web",
        answer: r#"{"data":[{"backup-type":"vm","backup-id":"web2","backup-time":1763600000,"files":[{"filename":"qemu.conf.blob","crypt-mode":"none","size":37},{"filename":"index.json.blob","crypt-mode":"none","size":298}],"size":335,"owner":"root@pam!t1","protected":false}]}"#,
    },
];

/// Whether our client gets by without the request.
///
/// Chunks that the target has from any group, or twice in a run, are not fetched again: stock pull looks only into the
/// previous snapshot of the same group. The test looks into the target's datastore that nothing is missing.
pub(crate) fn may_be_left_out(exchange: &Exchange) -> bool {
    exchange.path() == "/chunk"
}

/// Returns path and query without what does not matter.
pub(crate) fn essential(path: &str, query: &BTreeMap<String, String>) -> String {
    let loose = |name: &str, value: &str| {
        LOOSE.iter().any(|one| path.ends_with(one.path) && one.name == name && one.values.contains(&value))
    };
    let kept = query.iter().filter(|(name, value)| !loose(name, value));
    let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// Returns a request's JSON without what does not matter: the root as parent of a namespace.
pub(crate) fn essential_body(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, value| name != "parent" || value != "");
        map.sort_keys();
    }
    body
}
