//! What a plan says besides its steps: warnings, errors, the base, the numbers of the brake. The steps are in the table.

use super::notation::{inventory, job};
use super::{pull, push};
use crate::{Brake, JobOptions, plan};

/// Returns the texts of a plan's warnings.
fn warnings(words: &str, source: &str, target: &str) -> String {
    told(&job(words), source, target)
}

fn told(options: &JobOptions, source: &str, target: &str) -> String {
    let planned = plan(options, &inventory(source), &inventory(target));
    planned.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_or_broken_listing_that_removes_nothing_says_so() {
    for (source, target, words) in [
        ("vm/100:; ct/1: 1", "vm/100: 1", "lists no snapshots"),
        ("", "vm/100: 1", "lists no groups at all"),
        ("a ct/1: 1", "vm/100: 1; a ct/1: 1", "no groups here"),
        ("vm/100: !", "b ct/1: 1", "no namespace is removed"),
    ] {
        let text = warnings("pull mirror", source, target);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_group_of_another_owner_is_an_error_that_names_both() {
    for (options, words) in [(pull(), "job's owner is"), (push(), "signs in there as")] {
        let planned = plan(&options, &inventory("vm/100: 1; ct/1: 1"), &inventory("vm/100 @bob@pbs: 1"));

        let message = &planned.errors[0].message;
        assert!(message.contains("bob@pbs") && message.contains("root@pam") && message.contains(words), "{message}");
        let hint = planned.errors[0].hint.as_deref().unwrap();
        assert!(hint.contains("group change-owner STORE vm/100 'root@pam'"), "{hint}");
    }
}

#[test]
fn a_job_about_nothing_says_so() {
    let text = warnings("pull filter=type:host", "vm/1: 1; vm/2: 1; ct/1: 1", "");
    assert!(text.contains("0 of 3 groups matched"), "{text}");

    let text = warnings("pull", "a/b", "");
    assert!(text.contains("holds no groups"), "{text}");

    assert_eq!(warnings("pull", "a/b; vm/1: 1", ""), "");
}

#[test]
fn a_job_that_moved_everything_away_is_content() {
    assert_eq!(warnings("pull move", "", "vm/1: 1"), "");
    assert_eq!(warnings("pull move filter=type:vm", "ct/1: 1", "vm/1: 1"), "");
    assert!(warnings("pull move filter=type:vm", "ct/1: 1", "ct/1: 1").contains("0 of 1 groups matched"));
    assert!(warnings("pull move", "", "").contains("holds no groups"));
}

#[test]
fn a_tree_too_deep_for_the_target_is_refused_before_any_work() {
    let planned = plan(&job("pull to=1/2/3/4/5"), &inventory("vm/1: 1; a/b/c vm/3: 1"), &inventory(""));

    assert_eq!(planned.namespaces, []);
}

#[test]
fn the_base_is_the_newest_good_snapshot_of_the_target() {
    for (target, expected) in [("1 2 3", Some(3)), ("1 2 3f", Some(2)), ("1 2? 3~", Some(1)), ("1f", None), ("", None)]
    {
        let planned = plan(&pull(), &inventory("vm/1: 4"), &inventory(&format!("vm/1: {target}")));
        let base = planned.namespaces[0].groups[0].base.as_ref().map(|id| id.time.unix());
        assert_eq!(base, expected, "{target}");
    }
}

#[test]
fn a_printed_plan_gives_reasons() {
    let planned =
        |words: &str| plan(&job(words), &inventory("vm/100: 1 2 3; ct/1:"), &inventory("vm/100: 2 9p; host/x: 1"));

    let text = planned("pull mirror").to_string();
    for part in [
        "root namespace to root namespace: 2 of 2 groups",
        "  vm/100: skip 1970-01-01T00:00:01Z - older than the newest at the target",
        "  vm/100: keep 1970-01-01T00:00:09Z - no longer at the source, but protected",
        "  ct/1: no snapshots",
        "  host/x: 1 snapshots - remove the group, no longer at the source",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let text = planned("pull move").to_string();
    assert!(text.contains("at the source: removed - moved: its copy is read back first"), "{text}");
}

#[test]
fn a_brake_that_holds_says_how_to_loosen_it() {
    let text = warnings("pull mirror", "vm/1: 7 8", "vm/1: 1 2 3 4 5 6 7");
    for part in ["6 of 7", "more than the 5", "nothing is removed", "--allow-removals"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_brake_lets_a_fifth_of_many_go() {
    let brake = |gone: u64| {
        let line = |from: u64| (from..=40).map(|time| time.to_string()).collect::<Vec<_>>().join(" ");
        let (source, target) = (format!("vm/1: {}", line(gone + 1)), format!("vm/1: {}", line(1)));
        plan(&job("pull mirror"), &inventory(&source), &inventory(&target)).brake
    };
    assert_eq!(brake(8), None);
    assert_eq!(brake(9), Some(Brake { removals: 9, in_scope: 40, permitted: 8 }));
}

fn at_most(limit: &str) -> JobOptions {
    JobOptions { max_removals: Some(limit.parse().unwrap()), remove_vanished: true, ..pull() }
}

#[test]
fn a_brake_that_was_held_measures_by_what_was_there_then() {
    let check = |options: &JobOptions, source: &str, target: &str, expected: &str| {
        assert_eq!(plan(options, &inventory(source), &inventory(target)).brief(), expected);
    };
    let half = JobOptions { held_in_scope: Some(4), ..at_most("50%") };
    check(&half, "vm/1: 4 5 6 7", "vm/1: 1 2 3 4 5 6", "vm/1: keep 1 2 3 (max-removals), skip 4 5, refresh 6, copy 7");
    check(&half, "vm/1: 3 4 5 6", "vm/1: 1 2 3 4 5 6", "vm/1: remove 1 2, skip 3 4 5, refresh 6");
    // By then even less may be there.
    let many = JobOptions { held_in_scope: Some(40), ..at_most("50%") };
    check(&many, "vm/1: 4", "vm/1: 1 2 3 4", "vm/1: keep 1 2 3 (max-removals), refresh 4");
}

#[test]
fn snapshots_from_the_future_are_named_at_either_end() {
    let at = |now: i64| JobOptions { now: formats::BackupTime::from_unix(now).ok(), ..pull() };
    let text = told(&at(1000), "vm/1: 5000 6000; ct/1: 1500", "vm/2: 9000");
    assert!(text.contains("vm/1/1970-01-01T01:40:00Z: is dated in the future at the source"), "{text}");
    assert!(text.contains("vm/2/1970-01-01T02:30:00Z: is dated in the future at the target"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(told(&at(6000), "vm/1: 5000 6000", ""), "");
    assert_eq!(told(&pull(), "vm/1: 5000 6000", ""), "");
}
