//! Prune selection against what a stock server selects.

use chrono::{FixedOffset, Utc};
use datastore::prune::{KeepOptions, PruneMark, PruneSnapshot, select};
use formats::BackupTime;
use serde_json::Value;

const GOLDEN: &str = include_str!("../fixtures/prune.json");

fn snapshot(time: i64) -> PruneSnapshot {
    PruneSnapshot { time: BackupTime::from_unix(time).unwrap(), finished: true, protected: false }
}

fn keep_options(options: &Value) -> KeepOptions {
    let get = |key: &str| options.get(key).map(|n| n.as_u64().unwrap());
    KeepOptions {
        last: get("keep-last"),
        hourly: get("keep-hourly"),
        daily: get("keep-daily"),
        weekly: get("keep-weekly"),
        monthly: get("keep-monthly"),
        yearly: get("keep-yearly"),
    }
}

#[test]
fn every_option_set_keeps_what_a_stock_server_keeps() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let times: Vec<_> = golden["times"].as_array().unwrap().iter().map(|time| time.as_i64().unwrap()).collect();
    let snapshots: Vec<_> = times.iter().copied().map(snapshot).collect();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!((snapshots.len(), cases.len()), (140, 59));

    for case in cases.iter().filter(|case| case["status"] == 200) {
        let marks = select(&snapshots, &keep_options(&case["options"]), &Utc);

        let kept: Vec<_> = times.iter().zip(&marks).filter(|(_, mark)| mark.keeps()).map(|(time, _)| *time).collect();
        let mut expected: Vec<_> = case["keep"].as_array().unwrap().iter().map(|t| t.as_i64().unwrap()).collect();
        expected.sort_unstable();
        assert_eq!(kept, expected, "{}", case["options"]);
    }
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let options = KeepOptions { last: Some(1), ..KeepOptions::default() };

    let marks = select(&[snapshot(300), snapshot(900), snapshot(600)], &options, &Utc);

    assert_eq!(marks, [PruneMark::Remove, PruneMark::Keep, PruneMark::Remove]);
}

#[test]
fn periods_are_those_of_the_given_zone() {
    // 22:30 and 23:30 UTC: one day in UTC, two days an hour further east.
    let snapshots = [snapshot(81_000), snapshot(84_600)];
    let options = KeepOptions { daily: Some(2), ..KeepOptions::default() };

    let east = FixedOffset::east_opt(3600).unwrap();

    assert_eq!(select(&snapshots, &options, &Utc), [PruneMark::Remove, PruneMark::Keep]);
    assert_eq!(select(&snapshots, &options, &east), [PruneMark::Keep, PruneMark::Keep]);
}

#[test]
fn protected_snapshots_stay_and_do_not_count() {
    let options = KeepOptions { last: Some(1), ..KeepOptions::default() };
    let protected = |time| PruneSnapshot { protected: true, ..snapshot(time) };

    let marks = select(&[protected(100), snapshot(200), snapshot(300), protected(400)], &options, &Utc);

    assert_eq!(marks, [PruneMark::Protected, PruneMark::Remove, PruneMark::Keep, PruneMark::Protected]);
}

#[test]
fn of_the_unfinished_only_the_newest_of_all_stays() {
    let options = KeepOptions { last: Some(5), ..KeepOptions::default() };
    let unfinished = |time| PruneSnapshot { finished: false, ..snapshot(time) };

    let running = select(&[unfinished(100), snapshot(200), unfinished(300)], &options, &Utc);
    let died = select(&[unfinished(100), snapshot(200)], &options, &Utc);

    assert_eq!(running, [PruneMark::Remove, PruneMark::Keep, PruneMark::KeepPartial]);
    assert_eq!(died, [PruneMark::Remove, PruneMark::Keep]);
}

#[test]
fn without_an_option_everything_is_kept() {
    for options in [KeepOptions::default(), KeepOptions { daily: Some(0), ..KeepOptions::default() }] {
        let unfinished = PruneSnapshot { finished: false, ..snapshot(100) };

        assert!(select(&[unfinished, snapshot(200)], &options, &Utc).iter().all(|mark| mark.keeps()));
    }
}
