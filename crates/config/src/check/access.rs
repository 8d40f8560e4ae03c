//! Users, secrets and permissions.

use formats::AuthId;

use super::{Findings, Severity};
use crate::{
    acl::{self, Acl},
    datastores, files,
    paths::Paths,
    remotes,
    users::{self, Users},
};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    let users = match users::load(paths) {
        Ok(users) => users,
        Err(error) => return findings.failed(Severity::Fatal, &paths.user_cfg(), &error),
    };
    findings.problems(users.problems.clone());
    check_tokens(paths, &users, findings);
    check_secrets(paths, &users, findings);
    check_permissions(paths, &users, findings);
}

fn check_tokens(paths: &Paths, users: &Users, findings: &mut Findings) {
    let lines = super::Lines::of(&users::file(paths));
    for token in &users.tokens {
        if users.user(token.tokenid.user()).is_none() {
            let reason = format!("API token `{}`: there is no user `{}`", token.tokenid, token.tokenid.user());
            findings.error(&lines.path, lines.line(&token.tokenid, ""), reason);
        }
    }
}

/// Secrets that nobody can log in with: of another program, or missing.
fn check_secrets(paths: &Paths, users: &Users, findings: &mut Findings) {
    match users::unusable_passwords(paths) {
        Ok(unusable) => {
            for user in unusable {
                let reason = format!("`{user}` has a hash of another program; set the password: user passwd {user}");
                findings.warn(&paths.shadow(), 0, reason);
            }
        }
        Err(error) => findings.failed(Severity::Error, &paths.shadow(), &error),
    }
    match users::tokens_with_secrets(paths) {
        Ok(known) => {
            for token in users.tokens.iter().filter(|token| token.enable != Some(false)) {
                let id = token.tokenid.to_string();
                let reason = match known.get(&id) {
                    Some(true) => continue,
                    Some(false) => format!("`{id}` has a hash of another program"),
                    None => format!("`{id}` has no secret"),
                };
                let (user, name) = id.split_once('!').unwrap_or((&id, ""));
                let how = format!("make one: user generate-token {user} {name} --regenerate");
                findings.warn(&paths.token_shadow(), 0, format!("{reason}; {how}"));
            }
        }
        Err(error) => findings.failed(Severity::Error, &paths.token_shadow(), &error),
    }
}

fn check_permissions(paths: &Paths, users: &Users, findings: &mut Findings) {
    let file = paths.acl_cfg();
    if let Err(error) = acl::load(paths) {
        return findings.failed(Severity::Error, &file, &error);
    }
    let bytes = files::read(&file).unwrap_or_default();
    let stores = datastores::load(paths).map(|loaded| loaded.entries).unwrap_or_default();
    let remotes = remotes::load(paths).map(|loaded| loaded.entries).unwrap_or_default();
    for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        for entry in Acl::parse(line).unwrap_or_default().entries() {
            let known = entry.is_group
                || entry.ugid.parse::<AuthId>().is_ok_and(|id| {
                    if id.is_token() { users.token(&id).is_some() } else { users.user(id.user()).is_some() }
                });
            if !known {
                findings.warn(&file, index + 1, format!("there is no user or API token `{}`", entry.ugid));
            }
            let missing = match entry.path.parts() {
                [kind, name, ..] if kind == "datastore" && !stores.iter().any(|s| s.name.as_str() == name) => {
                    Some(format!("there is no datastore `{name}`"))
                }
                [kind, name, ..] if kind == "remote" && !remotes.iter().any(|r| r.name.as_str() == name) => {
                    Some(format!("there is no remote `{name}`"))
                }
                _ => None,
            };
            if let Some(reason) = missing {
                findings.warn(&file, index + 1, reason);
            }
        }
    }
}
