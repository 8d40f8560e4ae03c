//! The planner, rule by rule.

use std::num::NonZeroU64;

use super::notation::inventory;
use super::{pull, push};
use crate::{Brake, JobOptions, plan};

/// Asserts what a plan comes to.
#[track_caller]
fn check(options: &JobOptions, source: &str, target: &str, expected: &str) {
    let planned = plan(options, &inventory(source), &inventory(target));
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(planned.brief(), expected.join("\n"), "{source} -> {target}");
}

/// Returns the texts of a plan's warnings.
fn warnings(options: &JobOptions, source: &str, target: &str) -> String {
    let planned = plan(options, &inventory(source), &inventory(target));
    planned.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn mirror() -> JobOptions {
    JobOptions { remove_vanished: true, ..pull() }
}

fn last(count: u64) -> JobOptions {
    JobOptions { transfer_last: NonZeroU64::new(count), ..pull() }
}

fn filtered(filters: &[&str]) -> JobOptions {
    JobOptions { group_filter: filters.iter().map(|text| text.parse().unwrap()).collect(), ..mirror() }
}

fn within(source_ns: &str, target_ns: &str) -> JobOptions {
    JobOptions { source_ns: source_ns.parse().unwrap(), target_ns: target_ns.parse().unwrap(), ..mirror() }
}

#[test]
fn an_empty_target_gets_everything() {
    check(&pull(), "vm/100: 1 2 3", "", "vm/100: copy 1 2 3");
}

#[test]
fn only_snapshots_the_target_has_not_seen_are_copied() {
    // 2 is looked at again: its log or notes may have come late.
    check(&pull(), "vm/100: 1 2 3 4", "vm/100: 1 2", "vm/100: skip 1, refresh 2, copy 3 4");
}

#[test]
fn a_push_does_not_look_at_the_newest_again() {
    check(&push(), "vm/100: 1 2 3", "vm/100: 1 2", "vm/100: skip 1 2, copy 3");
}

#[test]
fn what_is_older_than_the_newest_at_the_target_is_skipped_though_it_is_missing() {
    check(&pull(), "vm/100: 1 2 3", "vm/100: 2", "vm/100: skip 1 (older), refresh 2, copy 3");
    check(&pull(), "vm/100: 1 2", "vm/100: 5", "vm/100: skip 1 2 (older)");
}

#[test]
fn an_unfinished_snapshot_at_the_target_holds_nothing_up() {
    check(&pull(), "vm/100: 1 2", "vm/100: 1 9~", "vm/100: refresh 1, copy 2");
    check(&push(), "vm/100: 1 2", "vm/100: 1 9~", "vm/100: skip 1, copy 2");
    // And one that broke off goes on.
    check(&pull(), "vm/100: 1 2", "vm/100: 1 2~", "vm/100: refresh 1, copy 2");
}

#[test]
fn unfinished_and_unreadable_snapshots_of_the_source_are_skipped() {
    check(&pull(), "vm/100: 1 2~ 3", "", "vm/100: copy 1, skip 2 (unfinished), copy 3");
    check(
        &pull(),
        "vm/100: 1 2? 3",
        "",
        "vm/100: copy 1, skip 2 (unreadable), copy 3
         error vm/100/1970-01-01T00:00:02Z",
    );
    // What the target has in its place is left alone, and an old one is nobody's concern.
    check(&mirror(), "vm/100: 1? 2", "vm/100: 1 2", "vm/100: skip 1 (unreadable), refresh 2");
}

#[test]
fn transfer_last_counts_positions_and_never_leaves_the_newest_at_the_target_out() {
    check(&last(2), "vm/100: 1 2 3 4", "", "vm/100: skip 1 2 (transfer-last), copy 3 4");
    check(
        &last(1),
        "vm/100: 1 2 3 4",
        "vm/100: 2",
        "vm/100: skip 1 (older), refresh 2, skip 3 (transfer-last), copy 4",
    );
    check(&last(9), "vm/100: 1 2", "", "vm/100: copy 1 2");
    check(&last(1), "vm/100: 1 2~", "", "vm/100: copy 1, skip 2 (unfinished)");
}

#[test]
fn verified_only_and_encrypted_only_leave_out_the_others() {
    let verified = JobOptions { verified_only: true, ..pull() };
    check(&verified, "vm/100: 1v 2 3f 4v", "", "vm/100: copy 1, skip 2 3 (not verified), copy 4");
    let encrypted = JobOptions { encrypted_only: true, ..pull() };
    check(&encrypted, "vm/100: 1e 2 3e", "", "vm/100: copy 1, skip 2 (not encrypted), copy 3");
    let last = JobOptions { verified_only: true, ..last(1) };
    check(&last, "vm/100: 1v 2v 3", "", "vm/100: skip 1 (transfer-last), copy 2, skip 3 (not verified)");
}

#[test]
fn resync_corrupt_takes_damaged_copies_again_on_pull_alone() {
    let options = JobOptions { resync_corrupt: true, ..pull() };
    check(&options, "vm/100: 1 2 3", "vm/100: 1f 2? 3", "vm/100: copy 1 2 (corrupt), refresh 3");
    check(&options, "vm/100: 1 2", "vm/100: 1 2f", "vm/100: skip 1, copy 2 (corrupt)");
    check(&pull(), "vm/100: 1 2", "vm/100: 1f 2", "vm/100: skip 1, refresh 2");
    let options = JobOptions { resync_corrupt: true, ..push() };
    check(&options, "vm/100: 1 2", "vm/100: 1f 2f", "vm/100: skip 1 2");
}

#[test]
fn vanished_snapshots_go_and_protected_ones_stay() {
    check(&pull(), "vm/100: 3", "vm/100: 1 2p 3", "vm/100: refresh 3");
    check(&mirror(), "vm/100: 3", "vm/100: 1 2p 3 4", "vm/100: remove 1, keep 2 (protected), refresh 3, remove 4");
    check(&mirror(), "vm/100: 3", "vm/100: 3 4~", "vm/100: refresh 3, keep 4 (unfinished)");
}

#[test]
fn what_is_about_to_go_holds_nothing_up_on_pull() {
    check(&mirror(), "vm/100: 1 2", "vm/100: 9", "vm/100: copy 1 2, remove 9");
    check(&mirror(), "vm/100: 1 2", "vm/100: 9p", "vm/100: skip 1 2 (older), keep 9 (protected)");
    // A remote refuses what is older than its newest; the run after this one copies.
    let pushed = JobOptions { remove_vanished: true, ..push() };
    check(&pushed, "vm/100: 1 2", "vm/100: 9", "vm/100: skip 1 2 (older), remove 9");
}

#[test]
fn a_filter_is_no_reason_to_remove() {
    let verified = JobOptions { verified_only: true, ..mirror() };
    check(&verified, "vm/100: 1 2v", "vm/100: 1 2", "vm/100: skip 1, refresh 2");
    let encrypted = JobOptions { encrypted_only: true, ..mirror() };
    check(&encrypted, "vm/100: 1 2", "vm/100: 1 2", "vm/100: skip 1 2");
    let last = JobOptions { remove_vanished: true, ..last(1) };
    check(&last, "vm/100: 1 2 3", "vm/100: 1 2 3", "vm/100: skip 1 2, refresh 3");
    check(&filtered(&["type:ct"]), "vm/100: 1; ct/1: 1", "vm/100: 1 7; ct/1: 1", "ct/1: refresh 1");
}

#[test]
fn an_empty_or_broken_listing_removes_nothing_and_says_so() {
    check(&mirror(), "vm/100:; ct/1: 1", "vm/100: 1 2; ct/1: 1", "ct/1: refresh 1");
    assert!(warnings(&mirror(), "vm/100:; ct/1: 1", "vm/100: 1").contains("lists no snapshots"));

    check(&mirror(), "", "vm/100: 1", "");
    assert!(warnings(&mirror(), "", "vm/100: 1").contains("lists no groups at all"));

    check(&mirror(), "a ct/1: 1", "vm/100: 1; a ct/1: 1", "a ct/1: refresh 1");
    assert!(warnings(&mirror(), "a ct/1: 1", "vm/100: 1; a ct/1: 1").contains("no groups here"));

    check(&mirror(), "vm/100: !", "vm/100: 1; b ct/1: 1", "error vm/100");
    assert!(warnings(&mirror(), "vm/100: !", "b ct/1: 1").contains("no namespace is removed"));
}

#[test]
fn vanished_groups_go_but_for_other_owners_and_those_outside_the_filter() {
    check(&mirror(), "vm/1: 1", "vm/1: 1; vm/2: 1", "vm/1: refresh 1\nvm/2: remove all");
    check(&mirror(), "vm/1: 1", "vm/1: 1; vm/2: 1p 2", "vm/1: refresh 1\nvm/2: keep all (protected)");
    check(&mirror(), "vm/1: 1", "vm/1: 1; vm/2: 1~", "vm/1: refresh 1\nvm/2: keep all (unfinished)");
    check(&mirror(), "vm/1: 1", "vm/1: 1; vm/2 @bob@pbs: 1", "vm/1: refresh 1\nvm/2: keep all (other owner)");
    // A token's group counts as its user's on pull; a push removes only what the very same identity owns.
    check(&mirror(), "vm/1: 1", "vm/1: 1; vm/2 @root@pam!t-1: 1", "vm/1: refresh 1\nvm/2: remove all");
    let pushed = JobOptions { remove_vanished: true, ..push() };
    check(&pushed, "vm/1: 1", "vm/1: 1; vm/2 @root@pam!t-1: 1", "vm/1: skip 1\nvm/2: keep all (other owner)");
    check(&filtered(&["type:ct"]), "ct/1: 1", "ct/1: 1; vm/2: 1", "ct/1: refresh 1\nvm/2: keep all (filtered)");
}

#[test]
fn a_group_of_another_owner_is_an_error_that_names_both() {
    for (options, words) in [(pull(), "job's owner is"), (push(), "signs in there as")] {
        let planned = plan(&options, &inventory("vm/100: 1; ct/1: 1"), &inventory("vm/100 @bob@pbs: 1"));

        assert_eq!(planned.brief(), "ct/1: copy 1\nerror vm/100");
        let message = &planned.errors[0].message;
        assert!(message.contains("bob@pbs") && message.contains("root@pam") && message.contains(words), "{message}");
        let hint = planned.errors[0].hint.as_deref().unwrap();
        assert!(hint.contains("group change-owner STORE vm/100 'root@pam'"), "{hint}");
    }
}

#[test]
fn groups_that_a_filter_leaves_out_are_not_looked_at() {
    check(&filtered(&["exclude:type:vm"]), "vm/1: 1; ct/1: 1", "", "ct/1: copy 1");
    check(&filtered(&["type:vm", "exclude:group:vm/2"]), "vm/1: 1; vm/2: 1; ct/1: 1", "", "vm/1: copy 1");
}

#[test]
fn a_job_about_nothing_says_so() {
    let text = warnings(&filtered(&["type:host"]), "vm/1: 1; vm/2: 1; ct/1: 1", "");
    assert!(text.contains("0 of 3 groups matched"), "{text}");

    let text = warnings(&pull(), "a/b", "");
    assert!(text.contains("holds no groups"), "{text}");

    assert_eq!(warnings(&pull(), "a/b; vm/1: 1", ""), "");
}

#[test]
fn namespaces_are_mapped_below_the_anchors_and_made_where_missing() {
    check(&pull(), "a vm/1: 1; a/b vm/2: 1", "a vm/1: 1", "a vm/1: refresh 1\ncreate a/b\na/b vm/2: copy 1");
    let mut source = inventory("x vm/1: 1; x/y vm/2: 1");
    source.namespaces.remove(0);
    let planned = plan(&within("x", "t/u"), &source, &inventory(""));
    assert_eq!(planned.brief(), "create t/u\nt/u vm/1: copy 1\ncreate t/u/y\nt/u/y vm/2: copy 1");
}

#[test]
fn a_tree_too_deep_for_the_target_is_refused_before_any_work() {
    let options = JobOptions { target_ns: "1/2/3/4/5".parse().unwrap(), ..pull() };
    let planned = plan(&options, &inventory("vm/1: 1; a/b vm/2: 1; a/b/c vm/3: 1"), &inventory(""));

    assert_eq!(planned.namespaces, []);
    assert_eq!(planned.brief(), "error namespace `a/b/c`");
}

#[test]
fn vanished_namespaces_go_deepest_first_when_nothing_in_them_stays() {
    check(
        &mirror(),
        "vm/1: 1",
        "vm/1: 1; a vm/2: 1; a/b vm/3: 1; c",
        "vm/1: refresh 1
         a/b vm/3: remove all
         remove a/b
         a vm/2: remove all
         remove a
         remove c",
    );
    check(
        &mirror(),
        "vm/1: 1",
        "vm/1: 1; a; a/b vm/3 @bob@pbs: 1",
        "vm/1: refresh 1
         a/b vm/3: keep all (other owner)
         keep a/b (other owner)
         keep a (not empty)",
    );
    check(&mirror(), "vm/1: 1; a/b", "vm/1: 1; a; a/b", "vm/1: refresh 1\nkeep a (not empty)");
}

#[test]
fn namespaces_outside_the_anchor_or_below_max_depth_are_never_removed() {
    let mut source = inventory("vm/1: 1");
    let mut target = inventory("t vm/1: 1; t/a; u");
    target.namespaces.remove(0);
    assert_eq!(plan(&within("", "t"), &source, &target).brief(), "t vm/1: refresh 1\nremove t/a");

    let shallow = JobOptions { max_depth: Some(1), ..mirror() };
    source = inventory("vm/1: 1");
    target = inventory("vm/1: 1; a/b; c");
    assert_eq!(plan(&shallow, &source, &target).brief(), "vm/1: refresh 1\nremove c");
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
    let text = plan(&mirror(), &inventory("vm/100: 1 2 3; ct/1:"), &inventory("vm/100: 2 9p; host/x: 1")).to_string();

    for part in [
        "root namespace to root namespace: 2 of 2 groups",
        "  vm/100: skip 1970-01-01T00:00:01Z - older than the newest at the target",
        "  vm/100: keep 1970-01-01T00:00:09Z - no longer at the source, but protected",
        "  ct/1: no snapshots",
        "  host/x: 1 snapshots - remove the group, no longer at the source",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

fn at_most(limit: &str) -> JobOptions {
    JobOptions { max_removals: Some(limit.parse().unwrap()), ..mirror() }
}

#[test]
fn a_run_that_would_remove_too_much_copies_what_is_new_and_removes_nothing() {
    check(&mirror(), "vm/1: 7 8", "vm/1: 1 2 3 4 5 6 7", "vm/1: keep 1 2 3 4 5 6 (max-removals), refresh 7, copy 8");
    check(
        &mirror(),
        "vm/1: 1",
        "vm/1: 1; vm/2: 1 2 3p 4; a vm/3: 1 2 3 4",
        "vm/1: refresh 1
         vm/2: keep all (max-removals)
         a vm/3: keep all (max-removals)
         keep a (max-removals)",
    );
    let text = warnings(&mirror(), "vm/1: 7 8", "vm/1: 1 2 3 4 5 6 7");
    for part in ["6 of 7", "more than the 5", "nothing is removed", "--allow-removals"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_brake_lets_five_go_by_default_and_a_fifth_of_many() {
    check(&mirror(), "vm/1: 6", "vm/1: 1 2 3 4 5 6", "vm/1: remove 1 2 3 4 5, refresh 6");
    let brake = |gone: u64| {
        let line = |from: u64| (from..=40).map(|time| time.to_string()).collect::<Vec<_>>().join(" ");
        let (source, target) = (format!("vm/1: {}", line(gone + 1)), format!("vm/1: {}", line(1)));
        plan(&mirror(), &inventory(&source), &inventory(&target)).brake
    };
    assert_eq!(brake(8), None);
    assert_eq!(brake(9), Some(Brake { removals: 9, in_scope: 40, permitted: 8 }));
}

#[test]
fn a_brake_that_was_held_measures_by_what_was_there_then() {
    let half = JobOptions { held_in_scope: Some(4), ..at_most("50%") };
    check(&half, "vm/1: 4 5 6 7", "vm/1: 1 2 3 4 5 6", "vm/1: keep 1 2 3 (max-removals), skip 4 5, refresh 6, copy 7");
    check(&half, "vm/1: 3 4 5 6", "vm/1: 1 2 3 4 5 6", "vm/1: remove 1 2, skip 3 4 5, refresh 6");
    // By then even less may be there.
    let many = JobOptions { held_in_scope: Some(40), ..at_most("50%") };
    check(&many, "vm/1: 4", "vm/1: 1 2 3 4", "vm/1: keep 1 2 3 (max-removals), refresh 4");
}

#[test]
fn the_brake_is_set_by_number_or_percentage_and_loosened_for_one_run() {
    check(&at_most("1"), "vm/1: 3", "vm/1: 1 2 3", "vm/1: keep 1 2 (max-removals), refresh 3");
    check(&at_most("2"), "vm/1: 3", "vm/1: 1 2 3", "vm/1: remove 1 2, refresh 3");
    check(&at_most("0"), "vm/1: 3", "vm/1: 2 3", "vm/1: keep 2 (max-removals), refresh 3");
    check(&at_most("50%"), "vm/1: 2 3", "vm/1: 1 2", "vm/1: remove 1, refresh 2, copy 3");
    check(&at_most("49%"), "vm/1: 2 3", "vm/1: 1 2", "vm/1: keep 1 (max-removals), refresh 2, copy 3");
    let allowed = JobOptions { allow_removals: true, ..at_most("0") };
    check(&allowed, "vm/1: 3", "vm/1: 1 2 3; vm/2: 1", "vm/1: remove 1 2, refresh 3\nvm/2: remove all");
}

#[test]
fn the_brake_counts_only_what_the_job_is_about() {
    // Six of vm/2 would be the fifth of many; those of the ct are not the job's.
    let options = JobOptions { max_removals: Some("50%".parse().unwrap()), ..filtered(&["type:vm"]) };
    check(
        &options,
        "vm/1: 3",
        "vm/1: 1 2 3; ct/1: 1 2 3 4 5 6 7 8 9",
        "vm/1: keep 1 2 (max-removals), refresh 3
         ct/1: keep all (filtered)",
    );
    // Protected snapshots stay anyway, and an unprotected one beside them goes.
    check(&at_most("1"), "vm/1: 1", "vm/1: 1; vm/2: 1p 2p 3", "vm/1: refresh 1\nvm/2: keep all (protected)");
    check(&at_most("0"), "vm/1: 1", "vm/1: 1; vm/2: 1p 2p 3", "vm/1: refresh 1\nvm/2: keep all (max-removals)");
}

#[test]
fn fill_gaps_copies_what_is_missing_between_those_of_the_target() {
    let gaps = JobOptions { fill_gaps: true, ..pull() };
    check(&gaps, "vm/1: 1 2 3 4", "vm/1: 2", "vm/1: copy 1 (gap), refresh 2, copy 3 4");
    check(&gaps, "vm/1: 1 2", "vm/1: 1~ 5", "vm/1: copy 1 2 (gap)");
    check(
        &JobOptions { fill_gaps: true, ..last(2) },
        "vm/1: 1 2 3",
        "vm/1: 3",
        "vm/1: skip 1 (transfer-last), copy 2 (gap), refresh 3",
    );
    let verified = JobOptions { verified_only: true, ..gaps.clone() };
    check(&verified, "vm/1: 1 2v 3v", "vm/1: 3", "vm/1: skip 1 (not verified), copy 2 (gap), refresh 3");
    check(&gaps, "vm/1: 1? 2", "vm/1: 2", "vm/1: skip 1 (unreadable), refresh 2\nerror vm/1/1970-01-01T00:00:01Z");
    // A remote takes nothing older than what it has.
    check(&JobOptions { fill_gaps: true, ..push() }, "vm/1: 1 2", "vm/1: 2", "vm/1: skip 1 (older), skip 2");
}

#[test]
fn snapshots_from_the_future_are_named_at_either_end() {
    let at = |now: i64| JobOptions { now: formats::BackupTime::from_unix(now).ok(), ..pull() };
    let text = warnings(&at(1000), "vm/1: 5000 6000; ct/1: 1500", "vm/2: 9000");
    assert!(text.contains("vm/1/1970-01-01T01:40:00Z: is dated in the future at the source"), "{text}");
    assert!(text.contains("vm/2/1970-01-01T02:30:00Z: is dated in the future at the target"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(warnings(&at(6000), "vm/1: 5000 6000", ""), "");
    assert_eq!(warnings(&pull(), "vm/1: 5000 6000", ""), "");
}
