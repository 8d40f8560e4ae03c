//! What our client does otherwise than the recorded ones. Everything that is not listed here fails the tests.

use std::collections::BTreeMap;

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
];

/// A call that recorded clients did not make in that place.
pub(crate) struct More {
    /// Method and [`essential`] target.
    pub(crate) line: &'static str,
    /// What a stock server answers.
    pub(crate) answer: &'static str,
}

/// Calls that our client makes in addition.
pub(crate) const MORE_CALLS: &[More] = &[];

/// Returns path and query without what does not matter.
pub(crate) fn essential(path: &str, query: &BTreeMap<String, String>) -> String {
    let loose = |name: &str, value: &str| {
        LOOSE.iter().any(|one| path.ends_with(one.path) && one.name == name && one.values.contains(&value))
    };
    let kept = query.iter().filter(|(name, value)| !loose(name, value));
    let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}
