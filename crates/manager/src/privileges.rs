//! Who the program runs as.
//!
//! Everything in a datastore belongs to the user of the daemon. A command started by root would leave files behind that
//! the daemon cannot touch, so root becomes the owner of the configuration directory **before any thread exists** (the
//! kernel keeps user ids per thread). With `--root` everything runs as the caller.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};

use crate::errors::Hinted;

/// What has to happen to the identity of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Go on as the caller.
    Stay,
    /// Become this user and group.
    Become(Uid, Gid),
}

/// Decides the identity from the facts: the caller, whether `--root` was given, and who owns the configuration.
pub(crate) fn decide(caller: Uid, has_own_root: bool, config_owner: (Uid, Gid)) -> Identity {
    let (uid, gid) = config_owner;
    if has_own_root || !caller.is_root() || uid.is_root() { Identity::Stay } else { Identity::Become(uid, gid) }
}

/// Looks up what [`decide`] needs and returns its answer. `config_dir` is only looked at when it matters.
pub(crate) fn identity(has_own_root: bool, config_dir: &Path) -> Result<Identity> {
    if has_own_root || !geteuid().is_root() {
        return Ok(Identity::Stay);
    }
    Ok(decide(geteuid(), false, owner_of(config_dir)?))
}

/// Drops to `identity` for good. Call it while the process has a single thread.
pub(crate) fn assume(identity: Identity) -> Result<()> {
    let Identity::Become(uid, gid) = identity else { return Ok(()) };
    match User::from_uid(uid).ok().flatten() {
        Some(user) => {
            let name = std::ffi::CString::new(user.name).context("user name with a NUL byte")?;
            initgroups(&name, gid).with_context(|| format!("cannot take the groups of user {uid}"))?;
        }
        None => setgroups(&[gid]).with_context(|| format!("cannot take group {gid}"))?,
    }
    setgid(gid).with_context(|| format!("cannot become group {gid}"))?;
    setuid(uid).with_context(|| format!("cannot become user {uid}"))
}

fn owner_of(directory: &Path) -> Result<(Uid, Gid)> {
    match fs::metadata(directory) {
        Ok(meta) => Ok((Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(directory)),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", directory.display())),
    }
}

fn missing(directory: &Path) -> anyhow::Error {
    let directory: PathBuf = directory.into();
    Hinted::new(format!("the configuration directory {} does not exist", directory.display()))
        .hint(format!(
            "create it: install -d -m 0700 -o backup -g backup {}; or work below a directory of your own with --root DIR",
            directory.display()
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: (Uid, Gid) = (Uid::from_raw(34), Gid::from_raw(34));
    const ROOT: (Uid, Gid) = (Uid::from_raw(0), Gid::from_raw(0));

    #[test]
    fn root_becomes_the_owner_of_the_configuration() {
        assert_eq!(decide(Uid::from_raw(0), false, BACKUP), Identity::Become(BACKUP.0, BACKUP.1));
    }

    #[test]
    fn root_stays_root_below_a_root_of_its_own() {
        assert_eq!(decide(Uid::from_raw(0), true, BACKUP), Identity::Stay);
    }

    #[test]
    fn root_stays_root_when_root_owns_the_configuration() {
        assert_eq!(decide(Uid::from_raw(0), false, ROOT), Identity::Stay);
    }

    #[test]
    fn a_plain_user_stays_who_they_are() {
        assert_eq!(decide(Uid::from_raw(1000), false, BACKUP), Identity::Stay);
    }

    #[test]
    fn the_owner_is_read_from_the_directory_itself() {
        let dir = tempfile::tempdir().unwrap();
        let meta = fs::metadata(dir.path()).unwrap();
        assert_eq!(owner_of(dir.path()).unwrap(), (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())));
    }

    #[test]
    fn a_missing_configuration_directory_comes_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let error = owner_of(&dir.path().join("etc")).unwrap_err();
        assert!(crate::errors::hint_of(&error).unwrap().contains("install -d"));
    }
}
