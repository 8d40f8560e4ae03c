//! The text exposition format of Prometheus, version 0.0.4: families of samples with labels.

use std::fmt::Write as _;

/// Beginning of every name.
const PREFIX: &str = "backup_replicator_";

/// What the values of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They go up and down.
    Gauge,
    /// They only grow, and their name ends in `_total`.
    Counter,
}

/// A text of metrics that grows family by family.
#[derive(Clone, Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// The media type of the text.
    pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins the family `name`; it is written with its first sample.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        Family { text: self, name, kind, help, begun: false }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// A family that takes samples.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut Exposition,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    begun: bool,
}

impl Family<'_> {
    /// Adds a sample.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let Self { text: Exposition(text), name, kind, help, .. } = self;
        if !std::mem::replace(&mut self.begun, true) {
            let kind = match kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {PREFIX}{name} {help}.");
            let _ = writeln!(text, "# TYPE {PREFIX}{name} {kind}");
        }
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{PREFIX}{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_announced_once_and_only_with_a_sample() {
        let mut text = Exposition::default();
        let mut family = text.family("job_up", Kind::Gauge, "Whether it is up");
        family.add(&[("job", "a\\b\"c\nd"), ("x", "")], 1.0);
        family.add(&[], 1_800_000_000.5);
        text.family("none_total", Kind::Counter, "Nothing");

        assert_eq!(
            text.finish(),
            "# HELP backup_replicator_job_up Whether it is up.\n# TYPE backup_replicator_job_up gauge\n\
             backup_replicator_job_up{job=\"a\\\\b\\\"c\\nd\",x=\"\"} 1\nbackup_replicator_job_up 1800000000.5\n"
        );
    }
}
