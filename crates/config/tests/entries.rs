//! Creating, changing and removing entries.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{Root, n, pairs, text};
use config::{
    ConfigDigest, ConfigError, DatastoreConfig, RemoteConfig, SyncDirection, SyncJobConfig, TransferMode,
    TransferOrder, datastores,
    datastores::{JobConfigs, SyncLevel},
    encryption_keys, from_pairs, patch, remotes, sync_jobs,
};

fn remote(name: &str) -> RemoteConfig {
    from_pairs(name, &pairs(&[("host", "h.example"), ("auth-id", "a@pbs!t"), ("password", "se:cret")])).unwrap()
}

fn job(id: &str, remote: Option<&str>) -> SyncJobConfig {
    SyncJobConfig::new(n(id), n("archive"), remote.map(n), n("main"))
}

fn push(id: &str) -> SyncJobConfig {
    SyncJobConfig { sync_direction: Some(SyncDirection::Push), ..job(id, Some("office")) }
}

#[test]
fn a_remote_is_written_as_a_stock_server_reads_it_and_read_by_nobody_else() {
    let root = Root::new();

    remotes::create(&root.paths, &remote("office")).unwrap();

    let path = root.paths.remote_cfg();
    assert_eq!(text(&path), "remote: office\n\tauth-id a@pbs!t\n\thost h.example\n\tpassword c2U6Y3JldA==\n");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(remotes::get(&root.paths, &n("office")).unwrap().password.reveal().unwrap(), "se:cret");
}

#[test]
fn a_password_is_neither_printed_nor_serialised() {
    let remote = remote("office");

    for shown in [format!("{remote:?}"), serde_json::to_string(&remote).unwrap()] {
        assert!(!shown.contains("se:cret") && !shown.contains("c2U6Y3JldA"), "{shown}");
    }
}

#[test]
fn a_password_that_is_no_base64_is_noticed_when_it_is_used() {
    let root = Root::new().with(|p| p.remote_cfg(), "remote: office\n\tauth-id a@pbs\n\thost h\n\tpassword ***\n");

    let loaded = remotes::load(&root.paths).unwrap();

    assert_eq!(loaded.problems, []);
    assert!(loaded.entries[0].password.reveal().unwrap_err().to_string().contains("base64"));
}

#[test]
fn other_files_are_readable_by_their_group() {
    let root = Root::new();

    sync_jobs::create(&root.paths, &job("j-1", None)).unwrap();

    assert_eq!(fs::metadata(root.paths.sync_cfg()).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn an_id_is_taken_even_by_a_broken_section() {
    let root = Root::new().with(|p| p.sync_cfg(), "sync: broken\nwhat\n");

    let error = sync_jobs::create(&root.paths, &job("broken", None)).unwrap_err();
    assert!(error.is_exists(), "{error}");

    let error = sync_jobs::get(&root.paths, &n("broken")).unwrap_err();
    assert!(error.to_string().contains("sync.cfg:2: section `sync: broken`: a property"), "{error}");

    sync_jobs::remove(&root.paths, &n("broken"), None).unwrap();
    assert_eq!(text(&root.paths.sync_cfg()), "");
}

#[test]
fn a_change_keeps_the_rest_of_the_file_and_what_is_unknown_in_the_section() {
    let before = "# mine\nsync: abc\n  store archive\n  remote-store main\n  new-thing 7\n\nsync: bad\nwhat\n\n\nsync: xyz\n\tns\n";
    let root = Root::new().with(|p| p.sync_cfg(), before);

    sync_jobs::update(&root.paths, &n("abc"), None, |job| {
        job.worker_threads = Some(2);
        Ok(())
    })
    .unwrap();

    let after = "# mine\nsync: abc\n\tnew-thing 7\n\tremote-store main\n\tstore archive\n\tworker-threads 2\n\nsync: bad\nwhat\n\n\nsync: xyz\n\tns\n";
    assert_eq!(text(&root.paths.sync_cfg()), after);
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let before = "sync: abc\n  store archive\n  remote-store main\n";
    let root = Root::new().with(|p| p.sync_cfg(), before);

    sync_jobs::update(&root.paths, &n("abc"), None, |_| Ok(())).unwrap();

    assert_eq!(text(&root.paths.sync_cfg()), before);
}

#[test]
fn sizes_are_not_rounded_by_a_change() {
    let root = Root::new()
        .with(|p| p.sync_cfg(), "sync: abc\n\trate-in 1.23456789 MiB\n\tremote-store main\n\tstore archive\n");

    sync_jobs::update(&root.paths, &n("abc"), None, |job| {
        job.comment = Some("x".into());
        Ok(())
    })
    .unwrap();

    assert!(text(&root.paths.sync_cfg()).contains("\trate-in 1.23456789 MiB\n"));
}

#[test]
fn a_digest_that_is_not_the_files_stops_the_change() {
    let root = Root::new();
    sync_jobs::create(&root.paths, &job("abc", None)).unwrap();
    let seen = sync_jobs::load(&root.paths).unwrap().digest;
    sync_jobs::create(&root.paths, &job("other", None)).unwrap();

    let error = sync_jobs::remove(&root.paths, &n("abc"), Some(&seen)).unwrap_err();

    assert!(error.is_digest_mismatch(), "{error}");
    let seen = sync_jobs::load(&root.paths).unwrap().digest;
    assert_eq!(seen, ConfigDigest::of(text(&root.paths.sync_cfg()).as_bytes()));
    sync_jobs::remove(&root.paths, &n("abc"), Some(&seen)).unwrap();
}

#[test]
fn what_is_missing_is_named_with_its_file() {
    let root = Root::new();

    let error = remotes::get(&root.paths, &n("office")).unwrap_err();

    assert!(error.is_not_found());
    assert!(error.to_string().starts_with("remote `office` does not exist (in "), "{error}");
    assert!(remotes::remove(&root.paths, &n("office"), None).unwrap_err().is_not_found());
}

#[test]
fn jobs_that_contradict_themselves_are_not_created() {
    let root = Root::new();
    let ns = |text: &str| Some(n(text));
    for (job, property) in [
        (SyncJobConfig { remote_store: n("archive"), ..job("job", None) }, "remote-store"),
        (SyncJobConfig { sync_direction: Some(SyncDirection::Push), ..job("job", None) }, "remote"),
        (SyncJobConfig { resync_corrupt: Some(false), ..push("job") }, "resync-corrupt"),
        (
            SyncJobConfig { active_encryption_key: Some("key1".into()), ..job("job", Some("office")) },
            "active-encryption-key",
        ),
        (SyncJobConfig { ns: ns("a/b"), max_depth: Some(6), ..job("job", Some("office")) }, "max-depth"),
        (SyncJobConfig { remote_ns: ns("a/b"), max_depth: Some(6), ..push("job") }, "max-depth"),
        (SyncJobConfig { max_depth: Some(8), ..push("job") }, "max-depth"),
        (SyncJobConfig { transfer_last: Some(0), ..push("job") }, "transfer-last"),
        (SyncJobConfig { worker_threads: Some(33), ..push("job") }, "worker-threads"),
        (SyncJobConfig { unmount_on_done: Some(true), ..push("job") }, "unmount-on-done"),
        (SyncJobConfig { comment: Some("x".repeat(129)), ..push("job") }, "comment"),
        (SyncJobConfig { comment: Some("a\nb".into()), ..push("job") }, "comment"),
        (SyncJobConfig { associated_key: vec!["x".into()], ..push("job") }, "associated-key"),
    ] {
        let error = sync_jobs::create(&root.paths, &job).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { property: found, .. } if found == property), "{error}");
    }
    assert!(!root.paths.sync_cfg().exists());
    sync_jobs::create(&root.paths, &push("job")).unwrap();
}

#[test]
fn an_encryption_key_that_is_replaced_stays_associated() {
    let root = Root::new();
    for id in ["key1", "key2"] {
        let key = formats::CryptKey::generate().unwrap();
        encryption_keys::add(&root.paths, &n(id), &key, None, 0, 0).unwrap();
    }
    sync_jobs::create(&root.paths, &SyncJobConfig { active_encryption_key: Some("key1".into()), ..push("job") })
        .unwrap();
    let set = |key: Option<&str>| {
        sync_jobs::update(&root.paths, &n("job"), None, |job| {
            job.active_encryption_key = key.map(str::to_owned);
            Ok(())
        })
        .unwrap();
    };

    set(Some("key2"));
    set(Some("key1"));
    set(None);

    assert_eq!(sync_jobs::get(&root.paths, &n("job")).unwrap().associated_key, ["key1", "key2"]);
}

#[test]
fn a_remote_in_use_is_not_removed() {
    let root = Root::new();
    remotes::create(&root.paths, &remote("office")).unwrap();
    for jobs in
        ["sync: job\n\tremote office\n\tremote-store main\n\tstore archive\n", "sync: job\n\tremote office\nwhat\n"]
    {
        fs::write(root.paths.sync_cfg(), jobs).unwrap();
        let error = remotes::remove(&root.paths, &n("office"), None).unwrap_err();
        assert!(error.to_string().contains("sync job `job`"), "{error}");
    }
    fs::write(root.paths.sync_cfg(), "").unwrap();
    remotes::remove(&root.paths, &n("office"), None).unwrap();
}

#[test]
fn texts_become_entries_and_bad_ones_name_their_property() {
    let given = |list: &[(&str, &str)]| from_pairs::<SyncJobConfig>("job", &pairs(list));
    let job = given(&[
        ("store", "archive"),
        ("remote-store", "main"),
        ("ns", ""),
        ("remove-vanished", "1"),
        ("group-filter", "type:vm"),
        ("group-filter", "type:ct"),
        ("max-depth", "3"),
    ])
    .unwrap();
    assert_eq!((job.max_depth, job.remove_vanished, job.group_filter.len()), (Some(3), Some(true), 2));
    assert!(job.ns().is_root());

    for (list, property) in [
        (&[("store", "archive")][..], "remote-store"),
        (&[("store", "archive"), ("remote-store", "main"), ("nope", "1")], "nope"),
        (&[("store", "archive"), ("remote-store", "main"), ("max-depth", "x")], "max-depth"),
        (&[("store", "archive"), ("remote-store", "main"), ("ns", "/x")], "ns"),
    ] {
        let error = given(list).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { property: found, .. } if found == property), "{error}");
    }
}

#[test]
fn a_patch_deletes_sets_and_says_what_it_cannot() {
    let old = SyncJobConfig { comment: Some("old".into()), worker_threads: Some(4), ..push("job") };
    let delete = |key: &str| patch(&old, &[], &[key.to_owned()]);

    let new = patch(&old, &pairs(&[("max-depth", "2"), ("comment", " ")]), &["worker-threads".to_owned()]).unwrap();

    assert_eq!((new.max_depth, new.worker_threads, new.comment), (Some(2), None, None));
    assert_eq!(delete("schedule").unwrap(), old);
    assert_eq!(delete("resync-corrupt").unwrap(), old);
    assert!(delete("store").unwrap_err().to_string().contains("cannot be deleted"));
    assert!(delete("nope").unwrap_err().to_string().contains("no such property"));
}

#[test]
fn a_patched_remote_keeps_its_password_until_it_gets_a_new_one() {
    let old = remote("office");

    let same = patch(&old, &pairs(&[("host", "other.example")]), &[]).unwrap();
    let changed = patch(&old, &pairs(&[("password", "new")]), &[]).unwrap();

    assert_eq!(same.password.reveal().unwrap(), "se:cret");
    assert_eq!(changed.password.reveal().unwrap(), "new");
    assert!(patch(&old, &[], &["password".to_owned()]).is_err());
}

#[test]
fn datastores_do_not_overlap() {
    let root = Root::new();
    let at = |path: &str| root.dir.path().join(path);
    let store = |name: &str, path: &str| DatastoreConfig::new(n(name), at(path));
    fs::create_dir_all(at("disk")).unwrap();
    std::os::unix::fs::symlink(at("disk"), at("link")).unwrap();
    datastores::create(&root.paths, &store("main", "disk/a")).unwrap();

    for (name, path, how) in [
        ("same", "disk/a", " is the directory"),
        ("inside", "disk/a/b", "lies inside"),
        ("around", "disk", "contains"),
        ("by-link", "link/a/b", "lies inside"),
    ] {
        for refused in [datastores::check_new, datastores::create] {
            let error = refused(&root.paths, &store(name, path)).unwrap_err();
            assert!(error.to_string().contains(how) && error.to_string().contains("`main`"), "{error}");
        }
    }
    assert!(datastores::create(&root.paths, &store("main", "disk/a")).unwrap_err().is_exists());
    assert!(datastores::create(&root.paths, &store("main", "disk/b")).unwrap_err().is_exists());
    datastores::check_new(&root.paths, &store("beside", "disk/ab")).unwrap();
    assert!(datastores::get(&root.paths, &n("beside")).unwrap_err().is_not_found(), "a look makes nothing");
    datastores::create(&root.paths, &store("beside", "disk/ab")).unwrap();
}

#[test]
fn a_directory_of_a_stock_server_is_taken_only_under_the_same_name() {
    let root = Root::new();
    let path = root.dir.path().join("disk");
    let stock = root.paths.pbs_datastore_cfg();
    fs::create_dir_all(stock.parent().unwrap()).unwrap();
    fs::write(&stock, format!("datastore: main\n\tpath {}\n", path.display())).unwrap();

    let error = datastores::create(&root.paths, &DatastoreConfig::new(n("mine"), &path)).unwrap_err();
    assert!(error.to_string().contains("proxmox-backup/datastore.cfg"), "{error}");

    datastores::create(&root.paths, &DatastoreConfig::new(n("main"), &path)).unwrap();
}

#[test]
fn a_removed_datastore_takes_its_jobs_along_and_names_those_it_leaves() {
    let root = Root::new();
    datastores::create(&root.paths, &DatastoreConfig::new(n("archive"), "/srv/archive")).unwrap();
    sync_jobs::create(&root.paths, &job("into", Some("office"))).unwrap();
    let from = SyncJobConfig::new(n("from"), n("other"), None, n("archive"));
    sync_jobs::create(&root.paths, &from).unwrap();

    let removed = datastores::remove(&root.paths, &n("archive"), None, JobConfigs::Remove).unwrap();

    assert_eq!((removed.removed_jobs, removed.jobs_left), (vec![n("into")], vec![n("from")]));
    assert!(datastores::get(&root.paths, &n("archive")).unwrap_err().is_not_found());
}

#[test]
fn the_path_of_a_datastore_cannot_be_changed_and_its_tuning_is_read() {
    let root = Root::new();
    let mut store = DatastoreConfig::new(n("archive"), "/srv/archive");
    store.tuning = Some("sync-level=file,gc-atime-cutoff=60".into());
    datastores::create(&root.paths, &store).unwrap();

    let error = datastores::update(&root.paths, &n("archive"), None, |store| {
        store.path = "/srv/elsewhere".into();
        Ok(())
    })
    .unwrap_err();

    assert!(error.to_string().contains("cannot be changed"), "{error}");
    let tuning = datastores::get(&root.paths, &n("archive")).unwrap().tuning().unwrap();
    assert_eq!((tuning.sync_level, tuning.gc_atime_cutoff), (SyncLevel::File, 60));
    assert_eq!(DatastoreConfig::new(n("abc"), "/x").tuning().unwrap().sync_level, SyncLevel::Filesystem);
}

#[test]
fn typing_errors_in_names_of_other_things_are_told() {
    let root = Root::new();

    let missing = sync_jobs::missing_references(&root.paths, &job("job", Some("office"))).unwrap();

    assert_eq!(missing, ["datastore `archive` is not configured here", "remote `office` is not configured here"]);
}

#[test]
fn modes_orders_and_removals_that_contradict_each_other_name_the_option_to_change() {
    let refused = |job: SyncJobConfig| config::Entry::check(&job).unwrap_err().to_string();
    let mode = |mode| SyncJobConfig { transfer_mode: Some(mode), ..job("abc", Some("office")) };

    let text = refused(SyncJobConfig { remove_vanished: Some(true), ..mode(TransferMode::Copy) });
    assert!(text.contains("`transfer-mode`") && text.contains("remove-vanished"), "{text}");
    let text = refused(SyncJobConfig { remove_vanished: Some(false), ..mode(TransferMode::Sync) });
    assert!(text.contains("`transfer-mode`"), "{text}");
    let text = refused(SyncJobConfig { remove_vanished: Some(true), ..mode(TransferMode::Move) });
    assert!(text.contains("`transfer-mode`") && text.contains("remove-vanished"), "{text}");
    let limit = Some("5".parse().unwrap());
    assert!(refused(SyncJobConfig { max_removals: limit, ..mode(TransferMode::Move) }).contains("`max-removals`"));
    assert!(refused(SyncJobConfig { max_removals: limit, ..mode(TransferMode::Copy) }).contains("`max-removals`"));
    assert!(refused(SyncJobConfig { fill_gaps: Some(true), ..push("abc") }).contains("`fill-gaps`"));
    let newest = SyncJobConfig { transfer_order: Some(TransferOrder::NewestFirst), ..job("abc", None) };
    assert!(refused(newest.clone()).contains("`transfer-order`"));

    for good in [
        mode(TransferMode::Sync),
        mode(TransferMode::Move),
        SyncJobConfig { max_removals: limit, ..mode(TransferMode::Sync) },
        SyncJobConfig { fill_gaps: Some(true), ..newest },
    ] {
        config::Entry::check(&good).unwrap();
    }
}

#[test]
fn a_broken_schedule_breaks_its_job_alone_and_a_good_one_keeps_its_text() {
    let text = "sync: bad\n\tstore alpha\n\tremote-store beta\n\tschedule 24:00\n\n\
        sync: good\n\tstore alpha\n\tremote-store beta\n\tschedule Mon..Fri  2:5\n";
    let root = Root::new().with(|p| p.sync_cfg(), text);

    let jobs = sync_jobs::load(&root.paths).unwrap();

    let found: Vec<_> = jobs.entries.iter().map(|job| job.schedule.as_ref().unwrap().to_string()).collect();
    assert_eq!(found, ["Mon..Fri  2:5"]);
    let problem = jobs.problems[0].to_string();
    assert!(problem.contains("sync.cfg:4") && problem.contains("hour 24") && problem.contains("00:00"), "{problem}");
    sync_jobs::update(&root.paths, &n("good"), None, |job| {
        job.comment = Some("changed".into());
        Ok(())
    })
    .unwrap();
    let written = std::fs::read_to_string(root.paths.sync_cfg()).unwrap();
    assert!(written.contains("\tschedule Mon..Fri  2:5\n") && written.contains("\tschedule 24:00\n"), "{written}");
}

#[test]
fn a_job_that_contradicts_itself_in_the_file_is_refused_with_the_line_to_change() {
    let root = Root::new();
    let path = root.paths.sync_cfg();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        &path,
        "sync: abc\n\tremote-store main\n\tremove-vanished true\n\tstore tank\n\ttransfer-mode copy\n",
    )
    .unwrap();

    let job = sync_jobs::get(&root.paths, &n("abc")).unwrap();

    let text = sync_jobs::check(&root.paths, &job).unwrap_err().to_string();
    assert!(text.contains("sync.cfg:5: section `sync: abc`: `transfer-mode`"), "{text}");
}

#[test]
fn the_mode_is_sync_with_remove_vanished_and_copy_without() {
    assert_eq!(job("abc", None).mode(), TransferMode::Copy);
    assert_eq!(SyncJobConfig { remove_vanished: Some(true), ..job("abc", None) }.mode(), TransferMode::Sync);
}

#[test]
fn a_change_of_direction_resets_the_mode_to_copy() {
    let root = Root::new();
    let mirror = SyncJobConfig {
        remove_vanished: Some(true),
        max_removals: Some("9%".parse().unwrap()),
        ..job("abc", Some("office"))
    };
    sync_jobs::create(&root.paths, &mirror).unwrap();

    let told = sync_jobs::update(&root.paths, &n("abc"), None, |job| {
        job.sync_direction = Some(SyncDirection::Push);
        Ok(())
    });

    assert_eq!(told.unwrap(), Some(config::Consequence::ModeReset));
    let job = sync_jobs::get(&root.paths, &n("abc")).unwrap();
    assert_eq!((job.mode(), job.remove_vanished, job.max_removals), (TransferMode::Copy, None, None));

    let refused = sync_jobs::update(&root.paths, &n("abc"), None, |job| {
        (job.sync_direction, job.transfer_mode) = (Some(SyncDirection::Pull), Some(TransferMode::Sync));
        Ok(())
    });
    assert!(refused.unwrap_err().to_string().contains("second update"));

    let mover = SyncJobConfig { transfer_mode: Some(TransferMode::Move), ..push("mover") };
    sync_jobs::create(&root.paths, &mover).unwrap();
    let told = sync_jobs::update(&root.paths, &n("mover"), None, |job| {
        job.sync_direction = Some(SyncDirection::Pull);
        Ok(())
    });
    assert_eq!(told.unwrap(), Some(config::Consequence::ModeReset));
    assert_eq!(sync_jobs::get(&root.paths, &n("mover")).unwrap().mode(), TransferMode::Copy);
    assert_eq!(mover.reversed(n("back")).mode(), TransferMode::Copy);
}

#[test]
fn the_way_back_is_disabled_copies_and_turns_the_ends_around() {
    let pull = SyncJobConfig {
        ns: Some("here".parse().unwrap()),
        remove_vanished: Some(true),
        transfer_last: Some(3),
        schedule: Some("daily".parse().unwrap()),
        rate_in: Some("1 MiB".parse().unwrap()),
        ..job("abc", Some("office"))
    };

    let back = pull.reversed(n("back"));

    assert_eq!((back.direction(), back.mode(), back.is_enabled()), (SyncDirection::Push, TransferMode::Copy, false));
    assert_eq!((&back.store, &back.remote_store, &back.ns), (&pull.store, &pull.remote_store, &pull.ns));
    assert_eq!((back.transfer_last, back.schedule.as_ref(), back.rate_out.clone()), (None, None, pull.rate_in.clone()));
    config::Entry::check(&back).unwrap();

    let local = SyncJobConfig { remote: None, ..pull }.reversed(n("back"));
    assert_eq!((local.store.as_str(), local.remote_ns.as_ref().unwrap().as_str()), ("main", "here"));
    assert_eq!(local.direction(), SyncDirection::Pull);

    let encrypting = SyncJobConfig { active_encryption_key: Some("k-1".into()), ..push("abc") };
    assert_eq!(encrypting.reversed(n("back")).associated_key, ["k-1"]);
}

#[test]
fn what_a_job_waits_for_and_how_long_is_checked() {
    let root = Root::new();
    let of = |key: &str, value: &str| {
        let job: SyncJobConfig =
            from_pairs("nightly", &pairs(&[("store", "archive"), ("remote-store", "main"), (key, value)]))?;
        sync_jobs::create(&root.paths, &job)
    };

    for (key, value, reason) in [
        ("after", "nightly", "cannot follow itself"),
        ("run-when", "moon:full", "no such condition"),
        ("max-attempts", "0", "at least 1"),
        ("retry-interval", "0s", "at least 1s"),
        ("objective", "soon", "no time span"),
        ("pre-script", "", "1 to 1024 characters"),
    ] {
        let error = of(key, value).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(reason), "{key} {value}: {error}");
    }
}
