//! What goes to standard error while a command works: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use formats::{ArchiveName, GroupId, Namespace, SnapshotId};
use indicatif::{ProgressBar, ProgressStyle};
use jobs::{BackupMonitor, RestoreMonitor};
use replication::{Event, Monitor, SnapshotOutcome};

use crate::human;

const BAR: &str = "{spinner} {bytes}/{total_bytes} [{wide_bar}] {binary_bytes_per_sec} ETA {eta} {msg}";
const NO_LENGTH: &str = "{spinner} {bytes} {binary_bytes_per_sec} {elapsed} {msg}";

/// Draws events. Lines are whole and in order even when several tasks report at once.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar if standard error is a terminal.
    pub(crate) fn new() -> Self {
        Self { bar: std::io::stderr().is_terminal().then(new_bar) }
    }

    /// Takes the bar away, before a closing summary.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Says one line, above the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write_stderr(line)),
            None => write_stderr(line),
        }
    }

    fn length(&self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        if bytes > 0 {
            bar.set_style(style(BAR));
            bar.set_length(bytes);
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn message(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(style(NO_LENGTH));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The templates are constants, so the plain style is never needed; it is there because the type asks.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn write_stderr(line: &str) {
    // Who closed standard error does not want to hear of it.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

impl Monitor for Progress {
    fn event(&self, event: Event) {
        match &event {
            Event::Planned { logical_bytes, .. } => self.length(*logical_bytes),
            Event::Progress { logical_bytes, .. } => self.advance(*logical_bytes),
            Event::SnapshotStarted { namespace, snapshot, .. } => self.message(place(namespace, snapshot)),
            _ => {}
        }
        if let Some(line) = line(&event) {
            self.say(&line);
        }
    }
}

impl BackupMonitor for Progress {
    fn archive(&self, name: &ArchiveName, size: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(0);
        }
        self.length(size);
        self.message(name.to_string());
        self.say(&format!("{name}: {}", human::bytes(size)));
    }

    fn advanced(&self, bytes: u64) {
        self.advance(bytes);
    }
}

impl RestoreMonitor for Progress {
    fn started(&self, size: Option<u64>) {
        self.length(size.unwrap_or(0));
    }

    fn advanced(&self, bytes: u64) {
        self.advance(bytes);
    }
}

/// A snapshot with its namespace, as lines show it.
pub(crate) fn place(namespace: &Namespace, snapshot: &SnapshotId) -> String {
    if namespace.is_root() { snapshot.to_string() } else { format!("{namespace}: {snapshot}") }
}

fn group_place(namespace: &Namespace, group: &GroupId) -> String {
    if namespace.is_root() { group.to_string() } else { format!("{namespace}: {group}") }
}

fn ns_name(namespace: &Namespace) -> String {
    if namespace.is_root() { "root namespace".into() } else { format!("namespace {namespace}") }
}

/// The line for an event; many have none.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Planned { groups, snapshots, logical_bytes } => {
            let amount = if *logical_bytes > 0 { format!(", {}", human::bytes(*logical_bytes)) } else { String::new() };
            format!(
                "to look at: {} in {}{amount}",
                human::count(*snapshots, "snapshot"),
                human::count(*groups, "group")
            )
        }
        Event::Namespace { source, target, matched, total } => {
            let way = if source == target {
                ns_name(source)
            } else {
                format!("{} into {}", ns_name(source), ns_name(target))
            };
            format!("{way}: {matched} of {} matched", human::count(*total as u64, "group"))
        }
        Event::GroupFinished { namespace, group } => format!("{}: group done", group_place(namespace, group)),
        Event::SnapshotFinished { namespace, snapshot, outcome } => {
            let outcome = match outcome {
                SnapshotOutcome::Copied => "copied",
                SnapshotOutcome::Refreshed => "brought up to date",
                SnapshotOutcome::Unchanged => "no change",
                SnapshotOutcome::Vanished => "vanished at the source",
            };
            format!("{}: {outcome}", place(namespace, snapshot))
        }
        Event::ReadingBack { namespace, snapshot } => format!("{}: reading back", place(namespace, snapshot)),
        Event::Moved { namespace, snapshot } => format!("{}: moved, removed at the source", place(namespace, snapshot)),
        Event::Removed { what } => format!("removed {what}"),
        Event::Retrying { problem, pause } => {
            format!("broken off: {problem}; going on in {}", crate::human::span(pause.as_secs_f64()))
        }
        Event::NamespaceCreated { namespace } => format!("created namespace {namespace}"),
        Event::Note(text) => text.clone(),
        Event::Warning(problem) => format!("warning: {problem}"),
        Event::Failed(problem) => format!("error: {problem}"),
        Event::GroupStarted { .. }
        | Event::SnapshotStarted { .. }
        | Event::ArchiveStarted { .. }
        | Event::ArchiveFinished { .. }
        | Event::Skipped { .. }
        | Event::Progress { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_how_many_groups_it_has_and_how_many_matched() {
        let event =
            Event::Namespace { source: Namespace::root(), target: "a/b".parse().unwrap(), matched: 0, total: 12 };
        assert_eq!(line(&event).unwrap(), "root namespace into namespace a/b: 0 of 12 groups matched");
    }

    #[test]
    fn the_bar_templates_are_valid() {
        for template in [BAR, NO_LENGTH] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
