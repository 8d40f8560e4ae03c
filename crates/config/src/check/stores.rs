//! `datastore.cfg`: directories that are not there, are none of ours, or lie inside each other.

use std::path::Path;

use super::{Findings, Lines, Severity};
use crate::{
    datastores::{self, DatastoreConfig},
    paths::Paths,
    users,
};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    let file = datastores::file(paths);
    let loaded = match datastores::load(paths) {
        Ok(loaded) => loaded,
        Err(error) => return findings.failed(Severity::Fatal, &file.path, &error),
    };
    findings.problems(loaded.problems);
    let lines = Lines::of(&file);
    let users = users::load(paths).ok();
    for store in &loaded.entries {
        if let Some(reason) = unsupported(store) {
            findings.error(&file.path, lines.line(&store.name, "path"), format!("datastore `{}` {reason}", store.name));
            continue;
        }
        if let Some(reason) = not_there(&store.path) {
            findings.warn(
                &file.path,
                lines.line(&store.name, "path"),
                format!("datastore `{}`: {} {reason}", store.name, store.path.display()),
            );
        }
        if let Err(error) = datastores::check_place(paths, store) {
            findings.error(&file.path, lines.line(&store.name, "path"), error.to_string());
        }
        if let (Some(user), Some(users)) = (&store.notify_user, &users)
            && users.user(user).is_none()
        {
            let reason = format!("datastore `{}`: there is no user `{user}` to notify", store.name);
            findings.warn(&file.path, lines.line(&store.name, "notify-user"), reason);
        }
    }
}

/// Why this server cannot use a datastore at all.
fn unsupported(store: &DatastoreConfig) -> Option<&'static str> {
    let object_store = store.backend().is_ok_and(|backend| backend.kind != "filesystem");
    match (object_store, &store.backing_device) {
        (true, _) => Some("is in an object store, which is not supported"),
        (_, Some(_)) => Some("is removable, which is not supported"),
        _ => None,
    }
}

fn not_there(path: &Path) -> Option<&'static str> {
    match (path.is_dir(), path.join(".chunks").is_dir()) {
        (false, _) => Some("does not exist; is its disk mounted?"),
        (true, false) => Some("has no `.chunks`; is its disk mounted?"),
        _ => None,
    }
}
