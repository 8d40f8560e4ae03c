//! Completion, in the shells themselves: with the script that the package installs.

use std::process::Command;

use formats::{JobId, RemoteName, StoreName};

use crate::host::Host;

/// A host with two datastores, a remote and two jobs.
fn host() -> Host {
    let host = Host::with_stores(&["tank", "attic"]);
    let paths = host.paths();
    let (tank, office): (StoreName, RemoteName) = ("tank".parse().unwrap(), "office".parse().unwrap());
    std::fs::write(paths.remote_cfg(), "remote: office\n\tauth-id a@pbs\n\thost h\n\tpassword cHc=\n").unwrap();
    for id in ["nightly", "noon"] {
        let id: JobId = id.parse().unwrap();
        let job = config::SyncJobConfig::new(id, tank.clone(), Some(office.clone()), "far".parse().unwrap());
        config::sync_jobs::create(&paths, &job).unwrap();
    }
    host
}

/// What `shell` prints for `script`, with our program on its PATH and what the package installs below `$share`.
fn answer(host: &Host, shell: &str, script: &str) -> Vec<String> {
    let program = assert_cmd::cargo::cargo_bin!("backup-manager");
    let installer = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/completions.sh");
    let installed = Command::new(installer).arg(program).arg(host.path("installed")).status().unwrap();
    assert!(installed.success());
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new(shell)
        .args(["-c", script])
        .env("PATH", path)
        .env("HOME", host.path(""))
        .env("BACKUP_MANAGER_ROOT", host.path(""))
        .env("share", host.path("installed/usr/share"))
        .output()
        .unwrap_or_else(|error| panic!("{shell} is needed: {error}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Presses Tab behind `words` in bash.
fn bash(host: &Host, words: &[&str]) -> Vec<String> {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        r#". "$share/bash-completion/completions/backup-manager"
        COMP_WORDS=({}) COMP_CWORD={} COMP_TYPE=9
        $(complete -p backup-manager | sed 's/.*-F \([^ ]*\).*/\1/') backup-manager "${{COMP_WORDS[COMP_CWORD]}}" ""
        printf '%s\n' "${{COMPREPLY[@]}}""#,
        quoted.join(" "),
        words.len() - 1
    );
    answer(host, "bash", &script)
}

#[test]
fn bash_completes_commands_options_and_names() {
    let host = host();

    assert_eq!(bash(&host, &["backup-manager", "sync-"]), ["sync-job"]);
    assert!(bash(&host, &["backup-manager", "sync-job", "run", "--dry"]).contains(&"--dry-run".to_owned()));
    assert_eq!(bash(&host, &["backup-manager", "sync-job", "run", "n"]), ["nightly", "noon"]);
    assert_eq!(bash(&host, &["backup-manager", "remote", "check", ""])[..1], ["office"]);
    assert_eq!(bash(&host, &["backup-manager", "snapshot", "list", "t"]), ["tank"]);
    let root = host.path("").display().to_string();
    assert_eq!(bash(&host, &["backup-manager", "--root", &root, "datastore", "show", "at"]), ["attic"]);
}

#[test]
fn fish_completes_names() {
    let script = r#"source $share/fish/vendor_completions.d/backup-manager.fish
        complete -C "backup-manager sync-job run n""#;

    assert_eq!(answer(&host(), "fish", script), ["nightly", "noon"]);
}

#[test]
fn zsh_completes_names_at_the_first_tab() {
    // Without a line editor: what would be offered is printed by a stand-in for `_describe`.
    let script = r#"fpath=($share/zsh/vendor-completions $fpath); autoload -Uz compinit && compinit -u -D
        _describe() { print -l ${(P)@[-1]} }
        words=(backup-manager sync-job run n); CURRENT=4; $_comps[backup-manager]"#;

    assert_eq!(answer(&host(), "zsh", script), ["nightly", "noon"]);
}
