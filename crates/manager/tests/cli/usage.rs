//! Exit codes, errors and help.

use crate::host::Host;

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let host = Host::with_stores(&["store"]);
    for words in [
        &["nonsense"][..],
        &[],
        &["datastore", "create", "store"],
        &["sync-job", "create", "job", "--store", "store"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "other", "--group-filter", "kind:vm"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "other", "--max-depth", "8"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "store"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "other", "--rate-in", "fast"],
        &["sync-job", "create", "job", "--store", "store", "--remote-store", "other", "--schedule", "25:00"],
        &["snapshot", "verify", "store", "host/a/yesterday"],
        &["backup", "create", "root.pxar:/", "--store", "store"],
        &["backup", "create", "a.conf:/etc/hosts"],
        &["acl", "update", "/datastore", "Emperor", "--auth-id", "root@pam"],
    ] {
        let answer = host.run(words);
        assert_eq!(answer.code, 2, "{words:?}: {answer:?}");
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty(), "{words:?}: {answer:?}");
    }
}

#[test]
fn a_failure_ends_with_1_and_one_error_line() {
    let host = Host::with_stores(&["alpha", "beta"]);

    let answer = host.run(&["snapshot", "list", "gamma"]);

    assert_eq!(answer.code, 1);
    assert_eq!(answer.stderr, "Error: there is no datastore 'gamma'\nhint: there is: alpha, beta\n");
}

#[test]
fn an_unknown_name_lists_what_exists_for_every_kind() {
    let host = Host::with_stores(&["store"]);
    host.ok(&["sync-job", "create", "nightly", "--store", "store", "--remote-store", "other"]);
    for (words, hint) in [
        (&["sync-job", "run", "weekly"][..], "there is: nightly"),
        (&["remote", "show", "elsewhere"], "there is no remote at all yet"),
        (&["datastore", "show", "other"], "there is: store"),
        (&["user", "passwd", "who@pbs", "--password-file", "/dev/null"], "there is: root@pam"),
    ] {
        let answer = host.run(words);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stderr.contains(hint), "{words:?}: {answer:?}");
    }
}

#[test]
fn the_root_may_stand_before_or_after_the_command_or_in_the_environment() {
    let host = Host::with_stores(&["store"]);
    let root = host.path("").to_str().unwrap().to_owned();
    let plain = |words: &[&str], env: &[(&str, &str)]| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("backup-manager"));
        let output = command.env_clear().envs(env.iter().copied()).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };

    let expected = host.ok(&["datastore", "list"]);

    assert!(expected.contains("store"));
    assert_eq!(plain(&["datastore", "list", "--root", &root], &[]), expected);
    assert_eq!(plain(&["datastore", "--root", &root, "list"], &[]), expected);
    assert_eq!(plain(&["datastore", "list"], &[("BACKUP_MANAGER_ROOT", &root)]), expected);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let host = Host::with_stores(&["store"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let output = host.command(&["datastore", "list"]).stdout(writer).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_command_explains_itself() {
    let host = Host::new();
    for words in [
        &["datastore", "create"][..],
        &["remote", "scan"],
        &["sync-job", "create"],
        &["pull"],
        &["push"],
        &["backup", "create"],
        &["restore"],
        &["user", "generate-token"],
        &["acl", "update"],
    ] {
        let help = host.ok(&[words, &["--help"]].concat());
        assert!(help.contains("Usage: backup-manager"), "{help}");
        assert!(help.contains("--root <DIR>"), "{help}");
    }
}

#[test]
fn commands_may_be_abbreviated_as_long_as_they_are_unique() {
    let host = Host::with_stores(&["store"]);
    assert_eq!(host.ok(&["data", "li"]), host.ok(&["datastore", "list"]));
}
