//! `check` finds what will not work before it is needed, each with its file and line.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{Root, n};
use config::{
    Paths,
    check::{Severity, check},
    encryption_keys, users,
};
use formats::CryptKey;

/// A root with private modes, as an installation has it.
fn private(root: &Root) {
    set_mode(root.paths.etc(), 0o700);
    for entry in fs::read_dir(root.paths.etc()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            set_mode(&path, 0o600);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is found, a line each: severity, file name, line, reason.
fn found(paths: &Paths) -> Vec<String> {
    let shown = |finding: config::check::Finding| {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        };
        let name = finding.file.file_name().unwrap().to_str().unwrap().to_owned();
        let reason = finding.reason.replace(&format!("{}/", paths.etc().display()), "");
        format!("{severity} {name}:{} {reason}", finding.line)
    };
    check(paths).into_iter().map(shown).collect()
}

/// Checks that exactly these are found; each expectation is the beginning of one.
fn expect(root: &Root, expected: &[&str]) {
    let found = found(&root.paths);
    let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(fits, "found:\n{}\nexpected:\n{}", found.join("\n"), expected.join("\n"));
}

fn store(root: &Root, name: &str) -> String {
    let path = root.dir.path().join(name);
    fs::create_dir_all(path.join(".chunks")).unwrap();
    path.display().to_string()
}

fn sound() -> Root {
    let root = Root::new();
    let path = store(&root, "tank");
    let root = root
        .with(|p| p.datastore_cfg(), format!("datastore: tank\n\tpath {path}\n"))
        .with(|p| p.remote_cfg(), "remote: office\n\tauth-id sync@pbs\n\thost pbs.test\n\tpassword c2VjcmV0\n")
        .with(|p| p.sync_cfg(), "sync: nightly\n\tremote office\n\tremote-store main\n\tstore tank\n");
    private(&root);
    root
}

#[test]
fn nothing_is_found_where_nothing_is_wrong_and_nothing_is_written() {
    let empty = Root::new();
    expect(&empty, &[]);
    assert!(!empty.paths.etc().exists(), "a check makes nothing");

    expect(&sound(), &[]);
}

#[test]
fn what_keeps_a_service_from_starting_is_fatal() {
    let root = sound().with(|p| p.server_conf(), "[server]\nlisten = nowhere\n");
    private(&root);
    expect(&root, &["fatal backup-server.conf:2 `[server] listen`"]);

    let root = sound().with(|p| p.server_conf(), "[server]\ncertificate = /no/such.pem\nkey = /no/such.key\n");
    private(&root);
    expect(&root, &["fatal such.pem:0 the configured file does not exist"]);

    let root = sound();
    fs::remove_file(root.paths.user_cfg()).unwrap_or_default();
    fs::create_dir(root.paths.user_cfg()).unwrap();
    expect(&root, &["fatal user.cfg:0 cannot read it"]);
}

#[test]
fn broken_sections_and_stray_lines_are_told_with_what_they_break() {
    let text = "# nightly\nsync: one\n\tstore tank\n\tremote-store main\n\tremote office\n\tmax-depth 9\n\n\
                sync: two\n\tstore tank\n\tremote-store main\n\tremote office\n\tcolour blue\n";
    let root = sound().with(|p| p.sync_cfg(), text);
    private(&root);
    expect(
        &root,
        &[
            "warning sync.cfg:1 a comment",
            "error sync.cfg:6 section `sync: one`: property `max-depth`: must be 0 to 7, not 9; the section is ignored",
            "warning sync.cfg:12 section `sync: two`: unknown property `colour`",
        ],
    );
}

#[test]
fn a_job_that_names_what_is_not_there_or_contradicts_itself_is_an_error() {
    let text = "sync: one\n\tremote offcie\n\tremote-store main\n\tstore tnak\n\tafter none\n\towner who@pbs\n\n\
                sync: two\n\tremote-store tank\n\tstore tank\n\n\
                sync: six\n\tremote-store main\n\tstore tank\n\tactive-encryption-key lost\n\tremote office\n\
                \tsync-direction push\n";
    let root = sound().with(|p| p.sync_cfg(), text);
    private(&root);
    expect(
        &root,
        &[
            "error sync.cfg:2 job `one`: remote `offcie` is not configured here",
            "error sync.cfg:4 job `one`: datastore `tnak` is not configured here",
            "error sync.cfg:5 job `one`: there is no job `none` to follow",
            "warning sync.cfg:6 job `one`: there is no user or API token `who@pbs`",
            "error sync.cfg:9 job `two`: `remote-store` source and target are the same",
            "error sync.cfg:15 job `six`: there is no encryption key `lost`",
        ],
    );
}

#[test]
fn jobs_in_a_circle_and_mirrors_of_one_place_are_found() {
    let text = "sync: one\n\tafter two\n\tremote office\n\tremote-store main\n\tremove-vanished true\n\tstore tank\n\n\
                sync: two\n\tafter one\n\tremote office\n\tremote-store other\n\tstore tank\n";
    let root = sound().with(|p| p.sync_cfg(), text);
    private(&root);
    expect(
        &root,
        &[
            "error sync.cfg:2 jobs wait for each other and never start: one after two after one",
            "warning sync.cfg:5 job `one` removes what vanished at its source, and job `two` copies to the same place",
        ],
    );
}

#[test]
fn keys_that_are_lost_archived_or_anothers_are_found() {
    let root = sound();
    encryption_keys::add(&root.paths, &n("old"), &CryptKey::from_bytes([7; 32]), None, 1, 1).unwrap();
    encryption_keys::add(&root.paths, &n("gone"), &CryptKey::from_bytes([8; 32]), None, 1, 1).unwrap();
    encryption_keys::set_archived(&root.paths, &n("old"), Some(5), None).unwrap();
    fs::remove_file(root.paths.encryption_key_file(&n("gone"))).unwrap();
    let root = root.with(
        |p| p.sync_cfg(),
        "sync: one\n\tactive-encryption-key old\n\tremote office\n\tremote-store main\n\tstore tank\n\
         \tsync-direction push\n\n\
         sync: two\n\tassociated-key old\n\tassociated-key gone\n\towner root@pam!x\n\tremote office\n\
         \tremote-store main\n\tstore tank\n",
    );
    private(&root);
    expect(
        &root,
        &[
            "error encryption-keys.cfg:14 encryption key `gone` has no file",
            "error sync.cfg:2 job `one`: encryption key `old` is archived",
            "error sync.cfg:9 job `two`: the job's owner `root@pam!x` may not use key `old`",
            "error sync.cfg:10 job `two`: encryption key `gone` has no file",
            "warning sync.cfg:11 job `two`: there is no user or API token `root@pam!x`",
        ],
    );
}

#[test]
fn datastores_that_are_not_there_or_lie_inside_each_other_are_found() {
    let root = Root::new();
    let (tank, inner) = (store(&root, "tank"), store(&root, "tank/inner"));
    let text = format!(
        "datastore: tank\n\tpath {tank}\n\n\
         datastore: inner\n\tpath {inner}\n\n\
         datastore: gone\n\tnotify-user nobody@pbs\n\tpath /no/such/disk\n\n\
         datastore: stick\n\tbacking-device 0c8a0d8e-0000-4000-8000-000000000000\n\tpath a\n"
    );
    let root = root.with(|p| p.datastore_cfg(), text);
    private(&root);
    expect(
        &root,
        &[
            "error datastore.cfg:2 `path`: ",
            "error datastore.cfg:5 `path`: ",
            "warning datastore.cfg:8 datastore `gone`: there is no user `nobody@pbs` to notify",
            "warning datastore.cfg:9 datastore `gone`: /no/such/disk does not exist; is its disk mounted?",
            "error datastore.cfg:13 datastore `stick` is removable, which is not supported",
        ],
    );
}

#[test]
fn remotes_that_cannot_be_used_are_found() {
    let text = "remote: one\n\tauth-id a@pbs\n\tfingerprint-next aa:bb\n\thost pbs.test\n\tpassword c2VjcmV0\n\n\
                remote: office\n\tauth-id a@pbs\n\thost pbs.test\n\tpassword not base64\n\tuse-node-proxy true\n";
    let root = sound().with(|p| p.remote_cfg(), text);
    private(&root);
    expect(
        &root,
        &[
            "error remote.cfg:3 section `remote: one`: property `fingerprint-next`",
            "error remote.cfg:10 remote `office`: `password` is not stored as base64 text",
            "warning remote.cfg:11 remote `office`: no `[node] http-proxy` is set in backup-server.conf",
        ],
    );
}

#[test]
fn permissions_and_secrets_of_nobody_are_found() {
    let root = sound();
    users::create(&root.paths, &config::UserConfig::new(n("ann@pbs")), None).unwrap();
    let root = root
        .with(
            |p| p.user_cfg(),
            "user: ann@pbs\n\ntoken: ann@pbs!nas\n\ntoken: ann@pbs!off\n\tenable false\n\ntoken: bob@pbs!x\n",
        )
        .with(|p| p.acl_cfg(), "acl:1:/datastore/tank:ann@pbs,eve@pbs:Admin\nacl:1:/remote/nix:ann@pbs:Audit\n")
        .with(|p| p.shadow(), "{\"ann@pbs\": \"$5$x$y\"}")
        .with(|p| p.token_shadow(), "{\"bob@pbs!x\": \"$y$x\"}");
    private(&root);
    expect(
        &root,
        &[
            "warning acl.cfg:1 there is no user or API token `eve@pbs`",
            "warning acl.cfg:2 there is no remote `nix`",
            "warning shadow.json:0 `ann@pbs` has a hash of another program",
            "warning token.shadow:0 `ann@pbs!nas` has no secret",
            "warning token.shadow:0 `bob@pbs!x` has a hash of another program",
            "error user.cfg:8 API token `bob@pbs!x`: there is no user `bob@pbs`",
        ],
    );

    let root = root.with(|p| p.acl_cfg(), "acl:1:/:ann@pbs:Admin\nacl:7:/:ann@pbs:Admin\n").with(|p| p.shadow(), "[]");
    private(&root);
    let found = found(&root.paths);
    assert!(found[0].starts_with("error acl.cfg:2 propagate is 0 or 1"), "{found:?}");
    assert!(found[1].starts_with("error shadow.json:1 not a JSON object"), "{found:?}");
}

#[test]
fn secrets_that_others_may_read_are_found_with_the_command_that_mends_it() {
    let root = sound().with(|p| p.server_conf(), "[notify]\nwebhook = https://hook.test/abc\n");
    encryption_keys::add(&root.paths, &n("key"), &CryptKey::from_bytes([7; 32]), None, 1, 1).unwrap();
    private(&root);
    expect(&root, &[]);

    set_mode(root.paths.etc(), 0o755);
    set_mode(&root.paths.remote_cfg(), 0o640);
    set_mode(&root.paths.sync_cfg(), 0o664);
    set_mode(&root.paths.server_conf(), 0o644);
    set_mode(&root.paths.encryption_key_file(&n("key")), 0o644);

    expect(
        &root,
        &[
            "warning backup-manager:0 mode 0755: others may look into it; chmod 0700",
            "warning backup-server.conf:0 mode 0644: it holds a password; chmod 0600 backup-server.conf",
            "warning key.enc:0 mode 0644: it holds a key; chmod 0640",
            "warning remote.cfg:0 mode 0640: it holds secrets; chmod 0600",
            "warning sync.cfg:0 mode 0664: others may change it; chmod 0644",
        ],
    );
}
