//! From one server to another, with nothing kept in between.

use serde_json::{Value, json};

use crate::host::{Host, noise};
use crate::servers::Site;

const MIB: usize = 1 << 20;

/// Two servers with a datastore each, the first with two snapshots, and a host that knows them as `one` and `two`.
fn two_sites(role: &str) -> (Site, Site, Host) {
    let (first, second, between) = (Site::new("near", "DatastoreReader"), Site::new("far", role), Host::new());
    for day in 1..=2 {
        first.host.backup("near", "", &format!("2026-01-0{day}T00:00:00Z"), &noise(MIB, day));
    }
    first.named(&between, "one");
    second.named(&between, "two");
    (first, second, between)
}

/// Runs a relay after its dry run, which must announce it.
fn announced_and_done(between: &Host, words: &[&str]) -> Value {
    let announced = between.json(&[words, &["--dry-run"]].concat());
    let done = between.json(words);
    for key in ["result", "snapshots-copied", "snapshots-removed", "chunks-transferred", "chunks-reused"] {
        assert_eq!(announced[key], done[key], "{key}: {announced} {done}");
    }
    done
}

#[test]
fn a_relay_copies_between_two_remotes_and_keeps_nothing_here() {
    let (first, second, between) = two_sites("DatastoreBackup");

    let report = announced_and_done(&between, &["relay", "one", "near", "two", "far"]);

    assert_eq!((&report["result"], &report["snapshots-copied"]), (&json!("ok"), &json!(2)), "{report}");
    assert!(report["bytes-on-wire-in"].as_u64().unwrap() > 2 * MIB as u64, "{report}");
    assert_eq!(second.host.snapshots("far", ""), first.host.snapshots("near", ""));
    assert_eq!(second.host.run(&["snapshot", "verify", "far"]).code, 0);

    let again = between.json(&["relay", "one", "near", "two", "far"]);
    assert_eq!(again["chunks-transferred"], 0, "{again}");

    let same = between.run(&["relay", "one", "near", "one", "near"]);
    assert_eq!(same.code, 1);
    assert!(same.stderr.contains("the same"), "{same:?}");
}

#[test]
fn a_relay_obeys_the_rules_of_a_push() {
    let (first, second, between) = two_sites("DatastorePowerUser");
    let relay = ["relay", "one", "near", "two", "far"];
    let with = |options: &[&'static str]| announced_and_done(&between, &[&relay[..], options].concat());

    let none = between.run(&[&relay[..], &["--group-filter", "type:vm"]].concat());
    assert!(none.code == 3 && none.stdout.contains("0 of 1 groups"), "{none:?}");
    let report = with(&["--transfer-last", "1", "--worker-threads", "2", "--rate-in", "1GiB"]);
    assert_eq!(report["snapshots-copied"], 1, "{report}");
    first.host.backup("near", "", "2026-01-03T00:00:00Z", &noise(MIB, 3));
    first.host.ok(&["snapshot", "forget", "near", "host/test/2026-01-02T00:00:00Z"]);
    let held = between.run(&[&relay[..], &["--transfer-mode", "sync", "--max-removals", "0"]].concat());
    assert!(held.code == 3 && held.stdout.contains("--allow-removals"), "{held:?}");
    let report = with(&["--remove-vanished", "--max-removals", "0", "--allow-removals"]);
    assert_eq!(report["snapshots-removed"], 1, "{report}");
    assert_eq!(second.host.snapshots("far", ""), ["host/test/2026-01-03T00:00:00Z"]);

    let wrong = between.run(&[&relay[..], &["--max-removals", "5"]].concat());
    assert!(wrong.code == 1 && wrong.stderr.contains("max-removals"), "{wrong:?}");
}

#[test]
fn a_relay_encrypts_on_the_way_there_and_decrypts_on_the_way_back() {
    let (first, second, between) = two_sites("DatastoreBackup");
    let back = Site::new("back", "DatastoreBackup");
    back.named(&between, "three");
    between.ok(&["encryption-key", "create", "secret"]);

    let there = ["relay", "one", "near", "two", "far", "--encryption-key", "secret"];
    announced_and_done(&between, &there);
    let files = |site: &Site, store: &str| {
        let list = site.host.json(&["snapshot", "files", store, "host/test/2026-01-02T00:00:00Z"]);
        let index = list.as_array().unwrap().iter().find(|row| row["filename"] == "disk.img.fidx");
        index.unwrap_or_else(|| panic!("{list}")).clone()
    };
    assert_eq!(files(&second, "far")["crypt-mode"], "encrypt");

    let back_again = ["relay", "two", "far", "three", "back", "--decryption-key", "secret"];
    let report = announced_and_done(&between, &back_again);
    assert_eq!(report["snapshots-copied"], 2, "{report}");
    assert_eq!(files(&back, "back"), files(&first, "near"));
    assert_eq!(back.host.run(&["snapshot", "verify", "back"]).code, 0);

    let both = between.run(&[&there[..], &["--decryption-key", "secret"]].concat());
    assert_eq!(both.code, 2, "{both:?}");
}
