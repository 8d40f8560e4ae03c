//! The rules of a sync job, from its options to what a run does.

use serde_json::Value;

use crate::host::{Host, noise};

/// Datastore `near` with a group of `count` small snapshots, one a day, and a job `copy` of it into `far`.
fn host_with(count: u8, options: &[&str]) -> Host {
    let host = Host::with_stores(&["near", "far"]);
    for day in 1..=count {
        host.backup("near", "", &time(day), &noise(1000, day.into()));
    }
    host.ok(&[&["sync-job", "create", "copy", "--store", "far", "--remote-store", "near"], options].concat());
    host
}

fn time(day: u8) -> String {
    format!("2026-01-{day:02}T00:00:00Z")
}

/// Forgets snapshots of `near`.
fn forget(host: &Host, days: impl Iterator<Item = u8>) {
    for day in days {
        host.ok(&["snapshot", "forget", "near", &format!("host/test/{}", time(day))]);
    }
}

#[test]
fn a_run_that_would_remove_too_much_ends_with_3_and_says_how_to_allow_it_once() {
    let host = host_with(8, &["--remove-vanished"]);
    host.ok(&["sync-job", "run", "copy"]);
    forget(&host, 1..=6);
    host.backup("near", "", &time(9), &noise(1000, 9));

    let answer = host.run(&["sync-job", "run", "copy", "--output-format", "json"]);

    assert_eq!(answer.code, 3, "{answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&report["snapshots-copied"], &report["snapshots-removed"]), (&1.into(), &0.into()), "{report}");
    assert!(report["warnings"][0]["message"].as_str().unwrap().contains("6 of 8"), "{report}");
    assert!(report["warnings"][0]["hint"].as_str().unwrap().contains("--allow-removals"), "{report}");
    assert_eq!(host.snapshots("far", "").len(), 9);

    host.ok(&["sync-job", "run", "copy", "--allow-removals"]);
    assert_eq!(host.snapshots("far", ""), host.snapshots("near", ""));
}

#[test]
fn what_a_held_run_copies_does_not_loosen_the_brake_of_the_next() {
    let host = host_with(8, &["--remove-vanished", "--max-removals", "50%"]);
    host.ok(&["sync-job", "run", "copy"]);
    forget(&host, 1..=5);
    for day in 9..=12 {
        host.backup("near", "", &time(day), &noise(1000, day.into()));
    }
    assert_eq!(host.run(&["sync-job", "run", "copy"]).code, 3);

    // 5 of 12 would be less than half.
    for words in [&["--dry-run"][..], &[]] {
        let answer = host.run(&[&["sync-job", "run", "copy"], words].concat());
        assert_eq!(answer.code, 3, "{answer:?}");
        assert!(answer.stdout.contains("5 of 12") && answer.stdout.contains("of the 8"), "{answer:?}");
    }
    assert_eq!(host.snapshots("far", "").len(), 12);

    // Another job of this name knows nothing of it.
    let job = ["sync-job", "create", "copy", "--store", "far", "--remote-store", "near"];
    let job = [&job[..], &["--remove-vanished", "--max-removals", "40%"]].concat();
    host.ok(&["sync-job", "remove", "copy"]);
    host.ok(&job);
    let answer = host.run(&["sync-job", "run", "copy"]);
    assert!(answer.code == 3 && answer.stdout.contains("the 4 that max-removals permits:"), "{answer:?}");

    // Allowed once, it is over; so it is once nothing has to be held back.
    host.ok(&["sync-job", "run", "copy", "--allow-removals"]);
    assert_eq!(host.snapshots("far", ""), host.snapshots("near", ""));
    assert!(!host.paths().state().join("brakes/copy.json").exists());
}

#[test]
fn the_limit_of_removals_is_a_number_or_a_percentage_and_belongs_to_remove_vanished() {
    let host = host_with(3, &["--remove-vanished", "--max-removals", "1"]);
    host.ok(&["sync-job", "run", "copy"]);
    forget(&host, 1..=2);
    assert_eq!(host.run(&["sync-job", "run", "copy"]).code, 3);

    host.ok(&["sync-job", "update", "copy", "--max-removals", "70%"]);
    assert_eq!(host.json(&["sync-job", "show", "copy"])["max-removals"], "70%");
    host.ok(&["sync-job", "run", "copy"]);
    assert_eq!(host.snapshots("far", "").len(), 1);

    let answer = host.run(&["sync-job", "update", "copy", "--delete", "remove-vanished"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.stderr.contains("max-removals"), "{answer:?}");
    assert_eq!(host.run(&["sync-job", "update", "copy", "--max-removals", "120%"]).code, 2);
}

#[test]
fn a_group_of_another_owner_is_named_before_anything_moves_with_the_command_that_mends_it() {
    let host = host_with(2, &[]);
    host.backup("near", "a", &time(1), &noise(1000, 1));
    host.ok(&["sync-job", "run", "copy"]);
    host.backup("near", "", &time(3), &noise(1000, 3));
    host.backup("near", "a", &time(3), &noise(1000, 3));
    host.ok(&["group", "change-owner", "far", "host/test", "bob@pbs"]);

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 1, "{answer:?}");
    let told = answer.stderr.find("belongs to `bob@pbs`").unwrap();
    assert!(told < answer.stderr.find("2026-01-03T00:00:00Z").unwrap(), "{answer:?}");
    assert!(answer.stdout.contains("group change-owner far host/test 'root@pam'"), "{answer:?}");

    host.ok(&["group", "change-owner", "far", "host/test", "root@pam"]);
    host.ok(&["sync-job", "run", "copy"]);
    assert_eq!(host.snapshots("far", "").len(), 3);
}

#[test]
fn gaps_are_filled_when_the_job_says_so() {
    let host = host_with(3, &[]);
    host.ok(&["sync-job", "run", "copy"]);
    host.ok(&["snapshot", "forget", "far", &format!("host/test/{}", time(2))]);
    host.ok(&["sync-job", "run", "copy"]);
    assert_eq!(host.snapshots("far", "").len(), 2);

    host.ok(&["sync-job", "update", "copy", "--fill-gaps", "--transfer-order", "newest-first"]);
    host.ok(&["sync-job", "run", "copy"]);

    assert_eq!(host.snapshots("far", ""), host.snapshots("near", ""));
}

#[test]
fn a_snapshot_from_the_future_is_named_in_a_warning() {
    let host = host_with(1, &[]);
    host.backup("near", "", "2199-01-01T00:00:00Z", &noise(1000, 7));

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stdout.contains("host/test/2199-01-01T00:00:00Z: is dated in the future"), "{answer:?}");
}

#[test]
fn the_way_back_brings_back_what_was_lost() {
    let host = host_with(2, &["--transfer-mode", "sync"]);
    host.ok(&["sync-job", "run", "copy"]);
    forget(&host, 1..=2);

    host.ok(&["sync-job", "reverse", "copy", "copy-back"]);
    let back = host.json(&["sync-job", "show", "copy-back"]);
    assert_eq!((&back["disable"], &back["transfer-mode"]), (&true.into(), &"copy".into()), "{back}");
    assert_eq!((&back["store"], &back["remote-store"]), (&"near".into(), &"far".into()), "{back}");

    // Disabled, it starts by hand alone: this is by hand.
    host.ok(&["sync-job", "run", "copy-back"]);
    assert_eq!(host.snapshots("near", ""), host.snapshots("far", ""));
}

#[test]
fn options_that_contradict_each_other_are_refused_with_the_one_to_change() {
    let host = host_with(1, &["--remove-vanished"]);
    for (words, named) in [
        (&["--transfer-mode", "copy"][..], "transfer-mode"),
        (&["--transfer-order", "newest-first"], "transfer-order"),
        (&["--delete", "remove-vanished", "--max-removals", "3"], "max-removals"),
    ] {
        let answer = host.run(&[&["sync-job", "update", "copy"], words].concat());
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.stderr.contains(&format!("`{named}`")), "{answer:?}");
    }
}

#[test]
fn an_emptied_or_missing_source_removes_nothing_and_says_why() {
    let host = host_with(2, &["--remove-vanished", "--max-removals", "100%"]);
    host.ok(&["sync-job", "run", "copy"]);
    let kept = host.snapshots("far", "");

    let store = host.path("near");
    let aside = host.path("aside");
    std::fs::rename(&store, &aside).unwrap();
    let answer = host.run(&["sync-job", "run", "copy"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("near"), "{answer:?}");
    assert_eq!(host.snapshots("far", ""), kept);

    // The mount point, empty.
    std::fs::create_dir(&store).unwrap();
    let answer = host.run(&["sync-job", "run", "copy"]);
    assert_ne!(answer.code, 0, "{answer:?}");
    assert_eq!(host.snapshots("far", ""), kept);

    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    forget(&host, 1..=2);
    let answer = host.run(&["sync-job", "run", "copy"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.stdout.contains("nothing is removed") || answer.stdout.contains("none is removed"), "{answer:?}");
    assert_eq!(host.snapshots("far", ""), kept);
}

#[test]
fn a_manifest_that_cannot_be_read_is_no_absence() {
    let host = host_with(3, &["--remove-vanished", "--max-removals", "100%"]);
    host.ok(&["sync-job", "run", "copy"]);
    let kept = host.snapshots("far", "");
    for day in [1, 3] {
        std::fs::write(host.path(format!("near/host/test/{}/index.json.blob", time(day))), b"rubbish").unwrap();
    }

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("its manifest at the source cannot be read"), "{answer:?}");
    assert!(answer.stdout.contains("removed:   0 snapshots"), "{answer:?}");
    assert_eq!(host.snapshots("far", ""), kept);
}

#[test]
fn a_move_empties_the_source_but_for_what_is_protected_and_its_dry_run_says_so() {
    let host = host_with(3, &["--transfer-mode", "move"]);
    assert_eq!(host.json(&["sync-job", "show", "copy"])["transfer-mode"], "move");
    let protected = format!("near/host/test/{}/.protected", time(2));
    std::fs::write(host.path(protected), b"").unwrap();

    let plan = host.json(&["sync-job", "run", "copy", "--dry-run"]);
    assert_eq!((&plan["snapshots-copied"], &plan["snapshots-moved"]), (&3.into(), &2.into()), "{plan}");
    let snapshots = &plan["plan"]["namespaces"][0]["groups"][0]["snapshots"];
    assert_eq!(
        (&snapshots[0]["at-source"], &snapshots[1]["at-source"]),
        (&"removed".into(), &"stays".into()),
        "{plan}"
    );
    assert_eq!(snapshots[1]["at-source-reason"], "protected at the source");
    let text = host.ok(&["sync-job", "run", "copy", "--dry-run"]);
    assert!(text.contains("at the source: stays (protected at the source)"), "{text}");
    assert!(text.contains("to move:   2 snapshots"), "{text}");
    assert_eq!(host.snapshots("near", "").len(), 3);

    let report = host.json(&["sync-job", "run", "copy"]);
    assert_eq!((&report["result"], &report["snapshots-moved"]), (&"ok".into(), &2.into()), "{report}");
    assert_eq!(host.snapshots("near", ""), [format!("host/test/{}", time(2))]);
    assert_eq!(host.snapshots("far", "").len(), 3);
    assert!(host.ok(&["sync-job", "run", "copy"]).contains("nothing to do"));

    for words in [&["--remove-vanished"][..], &["--max-removals", "3"]] {
        let answer = host.run(&[&["sync-job", "update", "copy"], words].concat());
        assert_eq!(answer.code, 2, "{answer:?}");
    }
    let once = ["push", "near", "away", "store", "--transfer-mode", "move", "--remove-vanished"];
    for (words, named) in
        [(&["sync-job", "run", "copy", "--allow-removals"][..], "allow-removals"), (&once, "transfer-mode")]
    {
        let answer = host.run(words);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.stderr.contains(&format!("`{named}`")), "{answer:?}");
    }
}

#[test]
fn a_move_leaves_a_read_only_source_alone() {
    let host = host_with(1, &["--transfer-mode", "move"]);
    host.ok(&["datastore", "update", "near", "--maintenance-mode", "read-only"]);

    let answer = host.run(&["sync-job", "run", "copy"]);

    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("maintenance"), "{answer:?}");
    host.ok(&["sync-job", "update", "copy", "--transfer-mode", "copy"]);
    host.ok(&["sync-job", "run", "copy"]);
}

#[test]
fn protection_follows_the_source_on_request() {
    let host = host_with(2, &[]);
    host.ok(&["sync-job", "run", "copy"]);
    std::fs::write(host.path(format!("near/host/test/{}/.protected", time(1))), b"").unwrap();
    host.ok(&["sync-job", "run", "copy"]);
    let there = host.path(format!("far/host/test/{}/.protected", time(1)));
    assert!(!there.exists());

    host.ok(&["sync-job", "update", "copy", "--sync-metadata"]);
    assert_eq!(host.json(&["sync-job", "show", "copy"])["sync-metadata"], true);
    let text = host.ok(&["sync-job", "run", "copy", "--dry-run"]);
    assert!(text.contains("update") && text.contains("(sync-metadata); protected"), "{text}");
    assert!(!there.exists());
    let report = host.json(&["sync-job", "run", "copy"]);

    assert_eq!((&report["result"], &report["snapshots-refreshed"]), (&"ok".into(), &1.into()), "{report}");
    assert!(there.exists());
}

#[test]
fn a_job_explains_what_it_does_with_one_snapshot_rule_by_rule() {
    let host = host_with(3, &["--transfer-last", "1", "--remote-ns", "a"]);
    for day in 1..=2 {
        host.backup("near", "a", &time(day), &noise(1000, day.into()));
    }
    let snapshot = |day| format!("host/test/{}", time(day));

    let told = host.json(&["sync-job", "explain", "copy", &snapshot(1)]);
    assert_eq!((&told["source-ns"], &told["target-ns"]), (&"a".into(), &"".into()), "{told}");
    assert_eq!(
        (&told["action"], &told["at-source"], &told["at-target"]),
        (&"skip".into(), &"finished".into(), &"absent".into())
    );
    let rules = told["rules"].as_array().unwrap();
    let decided: Vec<&Value> = rules.iter().filter(|rule| rule["verdict"] == "decided").collect();
    assert_eq!((rules.len(), decided.len()), (17, 1), "{told}");
    assert_eq!(decided[0]["rule"], "transfer-last");
    assert!(told["remedy"].as_str().unwrap().contains("transfer-last"));

    let text = host.ok(&["sync-job", "explain", "copy", &snapshot(2), "--ns", "a"]);
    assert!(text.contains("transfer-last    passed"), "{text}");
    assert!(text.contains("result:    copy - not yet at the target"), "{text}");
    let outside = host.ok(&["sync-job", "explain", "copy", &snapshot(3), "--ns", ""]);
    assert!(outside.contains("the job begins at namespace `a`"), "{outside}");

    let nowhere = host.run(&["sync-job", "explain", "copy", &snapshot(3)]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains(&format!("the nearest of its group: {}", time(2))), "{nowhere:?}");
    assert_eq!(host.snapshots("far", ""), [""; 0]);
}
