//! To a stock server and back: what it wrote is taken over, and what we write it would read.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use common::{Root, n, text};
use config::{
    Entry, acl, datastores, encryption_keys,
    pbs::{Fate, ImportOptions, Imported, check_strictly, export, import},
    remotes, sync_jobs, users,
};
use formats::{CryptKey, KeyFile, Protection};

const NOW: i64 = 1_800_000_000;

/// A stock server's directory, beside a configuration of ours.
fn stock(root: &Root, files: &[(&str, &str)]) -> PathBuf {
    let dir = root.dir.path().join("proxmox-backup");
    fs::create_dir_all(&dir).unwrap();
    for (name, content) in files {
        fs::write(dir.join(name), content).unwrap();
    }
    dir
}

fn taken(root: &Root, from: &Path) -> Imported {
    import(&root.paths, from, ImportOptions { now: NOW, ..ImportOptions::default() }).unwrap()
}

/// The report in a line per entry: file, entry, fate, notes.
fn lines(report: &Imported) -> Vec<String> {
    let shown = |line: &config::pbs::Line| {
        let fate = match line.fate {
            Fate::Taken => "taken",
            Fate::Exists => "exists",
            Fate::Skipped => "skipped",
            Fate::Kept => "kept",
        };
        format!("{} {} {fate}: {}", line.file, line.entry, line.notes.join("; "))
    };
    report.entries.iter().map(shown).collect()
}

fn expect(report: &Imported, expected: &[&str]) {
    let lines = lines(report);
    let fits = lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(fits, "{}\nexpected:\n{}", lines.join("\n"), expected.join("\n"));
}

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/valid").join(name)).unwrap()
}

#[test]
fn a_stock_servers_files_pass_the_strict_reader() {
    for name in ["sync.cfg", "remote.cfg", "datastore.cfg", "user.cfg"] {
        assert_eq!(check_strictly(name, &fixture(&format!("pbs-all.{name}"))), Ok(()), "{name}");
    }
}

#[test]
fn everything_of_a_stock_server_is_taken_over_or_told() {
    let root = Root::new();
    let store = root.dir.path().join("tank");
    fs::create_dir_all(store.join(".chunks")).unwrap();
    let from = stock(
        &root,
        &[
            (
                "datastore.cfg",
                &format!(
                    "datastore: tank\n\tgc-schedule daily\n\tpath {}\n\ndatastore: stick\n\tbacking-device \
                 0c8a0d8e-0000-4000-8000-000000000000\n\tpath a\n",
                    store.display()
                ),
            ),
            (
                "remote.cfg",
                "remote: office\n\tauth-id sync@pbs!a\n\thost pbs.test\n\tpassword c2VjcmV0\n\tuse-node-proxy 1\n",
            ),
            (
                "user.cfg",
                "user: root@pam\n\temail root@example.com\n\nuser: ann@pbs\n\nuser: bob@ad\n\ntoken: ann@pbs!nas\n\nuser: x@pbs\n\tcolour blue\n",
            ),
            ("acl.cfg", "acl:1:/datastore/tank:ann@pbs,ann@pbs!nas:DatastoreBackup\nacl:1:/:@admins:Admin\n"),
            (
                "sync.cfg",
                "sync: nightly\n\tns \n\tremote office\n\tremote-store main\n\tremove-vanished true\n\tschedule *:0/25\n\tstore tank\n\n\
             sync: away\n\tremote office\n\tremote-store main\n\tresync-corrupt false\n\trun-on-mount true\n\tschedule 24:00\n\tstore tank\n\tsync-direction push\n\n\
             sync: bad\n\tmax-depth 9\n\tremote-store main\n\tstore tank\n\n\
             sync: self\n\tremote-store tank\n\tstore tank\n",
            ),
            ("prune.cfg", "prune: daily\n\tschedule daily\n\tstore tank\n"),
            ("tfa.json", "{}"),
            ("proxy.pem", "x"),
        ],
    );

    let report = taken(&root, &from);

    expect(
        &report,
        &[
            "datastore.cfg tank taken: without effect here: `gc-schedule`",
            "datastore.cfg stick skipped: removable datastores are not supported",
            "remote.cfg office taken: ",
            "user.cfg root@pam taken: ",
            "user.cfg ann@pbs taken: ",
            "user.cfg bob@ad taken: ",
            "user.cfg ann@pbs!nas taken: ",
            "user.cfg x@pbs taken: `colour` is unknown here, and left out",
            "acl.cfg / admins Admin skipped: groups have no members",
            "acl.cfg /datastore/tank ann@pbs DatastoreBackup taken: ",
            "acl.cfg /datastore/tank ann@pbs!nas DatastoreBackup taken: ",
            "sync.cfg nightly taken: removes at most a fifth of the snapshots at the target in one run (`max-removals`); \
         `schedule`: the step does not divide its field",
            "sync.cfg away taken: without effect here: `run-on-mount`; `schedule` is left out, the job starts by hand only: ",
            "sync.cfg bad skipped: `max-depth`: must be 0 to 7, not 9",
            "sync.cfg self skipped: ",
            "prune.cfg  kept: prune jobs",
            "tfa.json  skipped: second factors",
        ],
    );
    for todo in [
        "`[node] http-proxy`",
        "user ann@pbs has no password yet: user passwd ann@pbs",
        "user bob@ad has no password here",
        "API token ann@pbs!nas has no secret yet: user generate-token ann@pbs nas --regenerate",
        "remove the schedules of these jobs at the old server",
        "this server has a certificate of its own",
    ] {
        assert!(report.to_do.iter().any(|text| text.contains(todo)), "{todo}: {:?}", report.to_do);
    }
    let away = sync_jobs::get(&root.paths, &n("away")).unwrap();
    assert!(away.check().is_ok() && away.resync_corrupt.is_none() && away.schedule.is_none());
    assert_eq!(remotes::get(&root.paths, &n("office")).unwrap().password.reveal().unwrap(), "secret");
    assert_eq!(fs::metadata(root.paths.remote_cfg()).unwrap().permissions().mode() & 0o777, 0o600);
    let users = users::load(&root.paths).unwrap();
    assert_eq!(users.user(&n("root@pam")).unwrap().email.as_deref(), Some("root@example.com"));
    assert!(users::verify_token(&root.paths, &n("ann@pbs!nas"), "").is_ok_and(|right| !right));
    assert!(text(&root.paths.etc().join("prune.cfg")).starts_with("prune: daily"));
}

#[test]
fn what_is_here_already_stays_and_a_second_import_changes_nothing() {
    let root =
        Root::new().with(|p| p.remote_cfg(), "remote: office\n\tauth-id me@pbs\n\thost mine.test\n\tpassword bWU=\n");
    let from = stock(
        &root,
        &[
            ("remote.cfg", "remote: office\n\tauth-id a@pbs\n\thost theirs.test\n\tpassword c2VjcmV0\n"),
            ("user.cfg", "user: ann@pbs\n"),
            ("acl.cfg", "acl:1:/:ann@pbs:Audit\n"),
            ("sync.cfg", "sync: nightly\n\tremote office\n\tremote-store main\n\tstore tank\n"),
        ],
    );

    expect(
        &taken(&root, &from),
        &[
            "remote.cfg office exists",
            "user.cfg ann@pbs taken",
            "acl.cfg / ann@pbs Audit taken",
            "sync.cfg nightly taken",
        ],
    );
    assert_eq!(remotes::get(&root.paths, &n("office")).unwrap().host, "mine.test");

    let before = snapshot(root.paths.etc());
    let again = taken(&root, &from);
    assert!(again.entries.iter().all(|line| line.fate == Fate::Exists) && again.to_do.is_empty(), "{again:?}");
    assert_eq!(snapshot(root.paths.etc()), before);
}

/// Every file below a directory with its bytes, lock files aside.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(snapshot(&entry));
        } else if entry.extension().is_none_or(|end| end != "lck") {
            found.push((entry.clone(), fs::read(&entry).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let files = [
        ("user.cfg", "user: ann@pbs\n\ntoken: ann@pbs!nas\n"),
        ("acl.cfg", "acl:1:/:ann@pbs:Audit\n"),
        (
            "sync.cfg",
            "sync: nightly\n\tremote office\n\tremote-store main\n\tstore tank\n\n\
             sync: coded\n\tassociated-key lost\n\tremote office\n\tremote-store main\n\tstore tank\n",
        ),
        ("prune.cfg", "prune: daily\n\tschedule daily\n\tstore tank\n"),
        ("datastore.cfg", "datastore: s3s\n\tbackend s3,client=a,bucket=b\n\tpath /x\n\ndatastore: two\n\tpath /x/y\n"),
    ];
    let root = Root::new();
    let from = stock(&root, &files);
    let options = ImportOptions { dry_run: true, now: NOW, ..ImportOptions::default() };

    let dry = import(&root.paths, &from, options).unwrap();

    assert!(!root.paths.etc().exists());
    assert_eq!(dry, taken(&root, &from));
}

#[test]
fn jobs_are_taken_over_disabled_if_wanted() {
    let root = Root::new();
    let from =
        stock(&root, &[("sync.cfg", "sync: job\n\tremote r00\n\tremote-store main\n\tschedule daily\n\tstore tank\n")]);
    let options = ImportOptions { disable_jobs: true, now: NOW, ..ImportOptions::default() };

    let report = import(&root.paths, &from, options).unwrap();

    assert!(!sync_jobs::get(&root.paths, &n("job")).unwrap().is_enabled() && report.to_do.is_empty());
}

#[test]
fn keys_come_over_with_their_files_and_dates() {
    let root = Root::new();
    let key = CryptKey::from_bytes([7; 32]);
    let entry = |id: &str, more: &str| {
        format!(
            "sync-key: {id}\n{more}\tcreated 1700000000\n\tfingerprint {}\n\tkdf none\n\tmodified 1700000001\n\tpath \
             /etc/proxmox-backup/encryption-keys/{id}.enc\n",
            key.fingerprint()
        )
    };
    let cfg = format!("{}\n{}", entry("old", "\tarchived-at 1700000009\n"), entry("lost", ""));
    let from = stock(&root, &[("encryption-keys.cfg", &cfg)]);
    fs::create_dir(from.join("encryption-keys")).unwrap();
    let file = KeyFile::new(&key, Protection::None, 1_700_000_000).unwrap();
    fs::write(from.join("encryption-keys/old.enc"), file.to_json().unwrap()).unwrap();

    let report = taken(&root, &from);

    expect(&report, &["encryption-keys.cfg old taken", "encryption-keys.cfg lost skipped: "]);
    let here = encryption_keys::get(&root.paths, &n("old")).unwrap();
    assert_eq!((here.created, here.archived_at), (1_700_000_000, Some(1_700_000_009)));
    assert!(here.path.starts_with(root.paths.etc()));
    encryption_keys::open(&root.paths, &n("old"), encryption_keys::KeyUse::Decrypt).unwrap();
}

#[test]
fn an_export_leaves_out_what_a_stock_server_does_not_know_and_says_what_that_means() {
    let root = Root::new()
        .with(
            |p| p.sync_cfg(),
            "# ours\nsync: one\n\tdisable true\n\tmax-removals 10%\n\tns \n\tremote office\n\tremote-store main\n\
             \tschedule daily\n\tstore tank\n\ttransfer-mode sync\nsync: two\n\tafter one\n\tremote office\n\
             \tremote-store main\n\tschedule every 5min\n\tstore tank\n\tcolour blue\n\nsync: broken\n\tmax-depth 9\n",
        )
        .with(
            |p| p.remote_cfg(),
            "remote: office\n\tauth-id a@pbs\n\tfingerprint-next x\n\thost pbs.test\n\tpassword c2VjcmV0\n",
        )
        .with(|p| p.user_cfg(), "user: ann@pbs\n\ntoken: ann@pbs!nas\n")
        .with(|p| p.acl_cfg(), "acl:1:/:ann@pbs:Audit\n");

    let made = export(&root.paths).unwrap();

    let file = |name: &str| {
        let found = made.files.iter().find(|file| file.path == Path::new(name)).unwrap();
        String::from_utf8(found.bytes.clone()).unwrap()
    };
    assert_eq!(
        file("sync.cfg"),
        "sync: one\n\tremote office\n\tremote-store main\n\tremove-vanished true\n\tstore tank\n\n\
         sync: two\n\tremote office\n\tremote-store main\n\tstore tank\n"
    );
    assert_eq!(file("remote.cfg"), "remote: office\n\tauth-id a@pbs\n\thost pbs.test\n\tpassword c2VjcmV0\n");
    assert_eq!(file("acl.cfg"), "acl:1:/:ann@pbs:Audit\n");
    let said: Vec<String> = made
        .left_out
        .iter()
        .map(|left| format!("{} {} {}", left.file, left.entry, left.property.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        said,
        [
            "remote.cfg office fingerprint-next",
            "sync.cfg one disable",
            "sync.cfg one max-removals",
            "sync.cfg one transfer-mode",
            "sync.cfg two after",
            "sync.cfg two schedule",
            "sync.cfg two colour",
            "sync.cfg broken max-depth",
            "sync.cfg broken -",
        ]
    );
    assert!(made.left_out.iter().any(|left| left.reason.contains("a stock server removes any number")));
    assert_eq!(made.to_do.len(), 2, "{:?}", made.to_do);
}

#[test]
fn what_was_taken_over_goes_back_as_it_came() {
    let root = Root::new();
    for name in ["sync.cfg", "remote.cfg", "user.cfg"] {
        fs::create_dir_all(root.paths.etc()).unwrap();
        fs::write(root.paths.etc().join(name), fixture(&format!("pbs-all.{name}"))).unwrap();
    }
    for id in ["key1", "old1", "old2"] {
        encryption_keys::add(&root.paths, &n(id), &CryptKey::from_bytes([7; 32]), None, 5, 6).unwrap();
    }
    fs::write(root.paths.etc().join("prune.cfg"), "prune: daily\n\tschedule daily\n\tstore tank\n").unwrap();
    let dir = root.dir.path().join("out");

    let made = export(&root.paths).unwrap();
    made.write(&dir).unwrap();

    assert_eq!(made.left_out, []);
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("remote.cfg"), mode("sync.cfg"), mode("encryption-keys/key1.enc")), (0o600, 0o640, 0o640));
    assert!(text(&dir.join("encryption-keys.cfg")).contains("\tpath /etc/proxmox-backup/encryption-keys/key1.enc\n"));
    assert_eq!(text(&dir.join("prune.cfg")), "prune: daily\n\tschedule daily\n\tstore tank\n");
    // Only the root namespace, which is said by leaving it out, is written otherwise.
    let canonical = |name: &str| fixture(&format!("pbs-all.{name}")).replace("\tns \n", "");
    assert_eq!(text(&dir.join("sync.cfg")), canonical("sync.cfg"));
    assert_eq!(text(&dir.join("remote.cfg")), canonical("remote.cfg"));

    let again = made.write(&dir).unwrap_err().to_string();
    assert!(again.contains("exists; choose an empty directory"), "{again}");

    let other = Root::new();
    let report = taken(&other, &dir);
    assert!(report.entries.iter().all(|line| line.fate != Fate::Skipped), "{:#?}", lines(&report));
    assert_eq!(
        sync_jobs::load(&other.paths).unwrap().entries.len(),
        sync_jobs::load(&root.paths).unwrap().entries.len()
    );
    assert_eq!(acl::load(&other.paths).unwrap().0, acl::load(&root.paths).unwrap().0);
    assert_eq!(datastores::load(&other.paths).unwrap().entries, []);
}
