//! Who may read what: secrets belong to the service's user alone.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::Findings;
use crate::{paths::Paths, server_conf::ServerConf};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    let etc = paths.etc();
    let Ok(directory) = fs::metadata(etc) else { return };
    limit(findings, etc, &directory, 0o700, "others may look into it");
    let secrets =
        [paths.remote_cfg(), paths.shadow(), paths.token_shadow(), paths.auth_key(), paths.csrf_key(), paths.key()];
    for file in secrets {
        with(findings, &file, 0o600, "it holds secrets", &directory);
    }
    if ServerConf::load(paths).is_ok_and(|(conf, _)| conf.holds_secrets()) {
        with(findings, &paths.server_conf(), 0o600, "it holds a password", &directory);
    }
    for file in
        [paths.datastore_cfg(), paths.sync_cfg(), paths.encryption_keys_cfg(), paths.user_cfg(), paths.acl_cfg()]
    {
        with(findings, &file, 0o644, "others may change it", &directory);
    }
    for key in key_files(paths) {
        with(findings, &key, 0o640, "it holds a key", &directory);
    }
}

fn key_files(paths: &Paths) -> Vec<PathBuf> {
    let entries = fs::read_dir(paths.etc().join("encryption-keys")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "enc")).collect()
}

/// Checks the mode and the owner of a file that is there.
fn with(findings: &mut Findings, path: &Path, most: u32, why: &str, directory: &Metadata) {
    let Some(file) = fs::metadata(path).ok().filter(Metadata::is_file) else { return };
    limit(findings, path, &file, most, why);
    if file.uid() != directory.uid() {
        let (is, should) = (file.uid(), directory.uid());
        let reason = format!(
            "belongs to user {is}, the directory to {should}, whom the services run as; chown {should} {}",
            path.display()
        );
        findings.warn(path, 0, reason);
    }
}

fn limit(findings: &mut Findings, path: &Path, file: &Metadata, most: u32, why: &str) {
    let mode = file.permissions().mode() & 0o777;
    if mode & !most != 0 {
        let reason = format!("mode {mode:04o}: {why}; chmod {most:04o} {}", path.display());
        findings.warn(path, 0, reason);
    }
}
