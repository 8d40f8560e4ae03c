//! Walks the way to a remote, step by step, and says what to do at the first that fails.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use api_types::PermissionMap;
use client::{ClientError, Remote, RemoteAddress, Timeouts, Verdict};
use config::{Paths, RemoteConfig};
use formats::{RemoteName, StoreName};
use serde::Serialize;

use crate::ends::{address_of, find_remote, open_as_configured, proxy_for};
use crate::error::JobError;

/// How far the clocks of two servers may be apart.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// One step on the way to a remote, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStep {
    /// The host name has an address.
    Name,
    /// Something listens there, or the proxy leads there.
    Port,
    /// It speaks TLS and shows a certificate that is trusted.
    Tls,
    /// It lets us in.
    Login,
    /// It says which version it is.
    Version,
    /// We may read (pull) or write (push) there.
    Privileges,
    /// Its clock and ours agree.
    Clock,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Well.
    Ok,
    /// Well, but something is to be done soon.
    Warning,
    /// Not; later steps were not tried.
    Failed,
}

/// A step and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckedStep {
    /// Which.
    pub step: CheckStep,
    /// How.
    pub state: StepState,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What we may do in one datastore of the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreRights {
    /// The datastore.
    pub store: StoreName,
    /// Whether a pull can read: `all` groups, our `own` ones, or `none`.
    pub pull: &'static str,
    /// Whether a pull that moves can remove: `all` groups, our `own` ones, or `none`.
    pub pull_move: &'static str,
    /// Whether a push can write.
    pub push: bool,
    /// Whether a push can remove what vanished.
    pub push_remove: bool,
    /// Whether a push can make namespaces.
    pub push_namespaces: bool,
    /// Namespaces that have permissions of their own.
    pub namespaces: Vec<String>,
}

/// The whole walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RemoteCheck {
    /// The remote.
    pub remote: RemoteName,
    /// Whether no step failed.
    pub ok: bool,
    /// The steps that were tried.
    pub steps: Vec<CheckedStep>,
    /// What we may do in each datastore looked at.
    pub datastores: Vec<StoreRights>,
}

impl RemoteCheck {
    fn good(&mut self, step: CheckStep, message: impl Into<String>) {
        self.steps.push(CheckedStep { step, state: StepState::Ok, message: message.into(), hint: None });
    }

    fn warn(&mut self, step: CheckStep, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), Some(hint.into()));
        self.steps.push(CheckedStep { step, state: StepState::Warning, message, hint });
    }

    fn fail(&mut self, step: CheckStep, message: impl Into<String>, hint: Option<String>) {
        self.ok = false;
        self.steps.push(CheckedStep { step, state: StepState::Failed, message: message.into(), hint });
    }

    fn fail_with(&mut self, step: CheckStep, error: &ClientError) {
        self.fail(step, crate::sync::chain(error), error.hint());
    }
}

/// Checks the remote `name` and the datastores `stores` there, all that are visible if there are none; `now` is the
/// time by our clock when asked.
///
/// # Errors
/// The remote is not configured, or its settings cannot be used. What fails later is in the answer.
pub async fn check_remote(
    paths: &Paths,
    name: &RemoteName,
    stores: &[StoreName],
    now: impl Fn() -> SystemTime,
) -> Result<RemoteCheck, JobError> {
    let settings = find_remote(paths, name)?;
    let timeouts = Timeouts { request: Duration::from_secs(30), ..Timeouts::default() };
    let proxy = proxy_for(paths, &settings)?;
    let (remote, _) = open_as_configured(paths, &settings, timeouts)?;
    let address = address_of(&settings);
    let mut check = RemoteCheck { remote: name.clone(), ok: true, steps: Vec::new(), datastores: Vec::new() };
    match &proxy {
        Some(proxy) => check.good(CheckStep::Name, format!("left to the proxy {}", proxy.address())),
        None => resolve(&mut check, &address).await,
    }
    if check.ok {
        connect(&mut check, &remote, &settings).await;
    }
    if check.ok {
        talk(&mut check, &remote, stores, &now).await;
    }
    Ok(check)
}

async fn resolve(check: &mut RemoteCheck, address: &RemoteAddress) {
    match tokio::net::lookup_host((address.host.as_str(), address.port)).await {
        Ok(found) => {
            let found: BTreeSet<String> = found.map(|address| address.ip().to_string()).collect();
            let found: Vec<String> = found.into_iter().collect();
            check.good(CheckStep::Name, format!("{} is {}", address.host, found.join(", ")));
        }
        Err(source) => {
            check.fail_with(CheckStep::Name, &ClientError::Resolve { remote: address.clone(), source });
        }
    }
}

/// Port and TLS, by one connection.
async fn connect(check: &mut RemoteCheck, remote: &Remote, settings: &RemoteConfig) {
    let listening = format!("something listens at {}", remote.address());
    match remote.connect().await {
        Ok(()) => check.good(CheckStep::Port, listening),
        Err(error) => {
            let step = match &error {
                ClientError::Resolve { .. } => CheckStep::Name,
                ClientError::Tls { .. } | ClientError::Fingerprint { .. } => CheckStep::Tls,
                ClientError::Timeout { waiting_for, .. } if waiting_for == "TLS handshake" => CheckStep::Tls,
                _ => CheckStep::Port,
            };
            if step == CheckStep::Tls {
                check.good(CheckStep::Port, listening);
            }
            let hint = match &error {
                ClientError::Fingerprint { found, .. } => Some(format!(
                    "compare with what `cert info` shows on that server; if it is the same: backup-manager remote \
                     update {} --fingerprint {found}",
                    check.remote
                )),
                other => other.hint(),
            };
            check.fail(step, crate::sync::chain(&error), hint);
            return;
        }
    }
    let Some(shown) = remote.certificate() else { return };
    let print = &shown.fingerprint;
    match shown.verdict {
        Verdict::Vouched if settings.fingerprint.is_some_and(|pinned| pinned != *print) => check.warn(
            CheckStep::Tls,
            format!("a root of this system vouches for the certificate, but {print} is not the fingerprint pinned"),
            format!(
                "the pin has no effect; unset it: backup-manager remote update {} --delete fingerprint",
                check.remote
            ),
        ),
        Verdict::Vouched => check.good(CheckStep::Tls, format!("a root of this system vouches for {print}")),
        Verdict::Pinned(1..) => {
            let message = format!("the certificate was renewed as planned, {print} is fingerprint-next");
            let name = &check.remote;
            let hint = format!(
                "make it the present one: backup-manager remote update {name} --fingerprint {print} --delete \
                 fingerprint-next"
            );
            check.warn(CheckStep::Tls, message, hint);
        }
        _ => check.good(CheckStep::Tls, format!("the fingerprint is the one pinned, {print}")),
    }
}

/// Everything that needs a login.
async fn talk(check: &mut RemoteCheck, remote: &Remote, stores: &[StoreName], now: &impl Fn() -> SystemTime) {
    let (version, time) = match remote.version_and_time().await {
        Ok(answer) => answer,
        Err(error) => return check.fail_with(CheckStep::Login, &error),
    };
    let ours = now();
    check.good(CheckStep::Login, format!("as {}", remote.auth_id()));
    check.good(CheckStep::Version, format!("{}.{}", version.version, version.release));
    // A stock server's command has another name.
    let manager = if version.extensions.is_empty() { "proxmox-backup-manager" } else { "backup-manager" };
    privileges(check, remote, stores, manager).await;
    if check.ok {
        clock(check, time, ours);
    }
}

async fn privileges(check: &mut RemoteCheck, remote: &Remote, stores: &[StoreName], manager: &str) {
    let step = CheckStep::Privileges;
    let who = remote.auth_id().to_string();
    let visible: Vec<StoreName> = match remote.datastores().await {
        Ok(list) => list.into_iter().map(|item| item.store).collect(),
        Err(error) => return check.fail_with(step, &error),
    };
    let grant = |store: &str| {
        let user = match remote.auth_id() {
            id if id.is_token() => {
                format!("; a token may do no more than its user, so also with --auth-id '{}'", id.user())
            }
            _ => String::new(),
        };
        Some(format!(
            "there: {manager} acl update /datastore/{store} ROLE --auth-id '{who}', ROLE being DatastoreReader to pull \
             or DatastoreBackup to push{user}"
        ))
    };
    if let Some(missing) = stores.iter().find(|store| !visible.contains(store)) {
        let message = format!("{who} sees no datastore '{missing}' there");
        return check.fail(step, message, grant(missing.as_str()));
    }
    let looked_at = if stores.is_empty() { &visible[..] } else { stores };
    if looked_at.is_empty() {
        return check.fail(step, format!("{who} sees no datastore there"), grant("STORE"));
    }
    let all = match remote.permissions(None).await {
        Ok(all) => all,
        Err(error) => return check.fail_with(step, &error),
    };
    for store in looked_at {
        match remote.permissions(Some(&format!("/datastore/{store}"))).await {
            Ok(here) => check.datastores.push(rights(store, &here, &all)),
            Err(error) => return check.fail_with(step, &error),
        }
    }
    let usable = |rights: &StoreRights| rights.pull != "none" || rights.push || !rights.namespaces.is_empty();
    let useless = check.datastores.iter().find(|rights| !usable(rights)).map(|rights| rights.store.clone());
    let none_usable = !check.datastores.iter().any(usable);
    match useless {
        // Of those asked for, every one must be of use; of all there are, one.
        Some(store) if none_usable || !stores.is_empty() => {
            check.fail(step, format!("{who} may neither read nor write datastore '{store}'"), grant(store.as_str()));
        }
        _ => check.good(
            step,
            format!("{} of use to {who}", count(check.datastores.iter().filter(|rights| usable(rights)).count())),
        ),
    }
}

fn count(stores: usize) -> String {
    if stores == 1 { "1 datastore".to_owned() } else { format!("{stores} datastores") }
}

/// What the privileges on a datastore are good for.
fn rights(store: &StoreName, here: &PermissionMap, all: &PermissionMap) -> StoreRights {
    let path = format!("/datastore/{store}");
    let held = |privilege: &str| here.get(&path).is_some_and(|held| held.contains_key(privilege));
    let below = format!("{path}/");
    let useful = |held: &std::collections::BTreeMap<String, bool>| {
        held.contains_key("Datastore.Read") || held.contains_key("Datastore.Backup")
    };
    let namespaces = all.iter().filter(|(_, held)| useful(held));
    let pull = match (held("Datastore.Read"), held("Datastore.Backup")) {
        (true, _) => "all",
        (false, true) => "own",
        (false, false) => "none",
    };
    let push = held("Datastore.Backup");
    StoreRights {
        store: store.clone(),
        pull,
        pull_move: match (pull, held("Datastore.Modify"), held("Datastore.Prune")) {
            ("none", ..) | (_, false, false) => "none",
            (_, true, _) => pull,
            (_, false, true) => "own",
        },
        push,
        push_remove: push && held("Datastore.Prune"),
        push_namespaces: push && held("Datastore.Modify"),
        namespaces: namespaces.filter_map(|(path, _)| path.strip_prefix(&below)).map(str::to_owned).collect(),
    }
}

fn clock(check: &mut RemoteCheck, theirs: Option<SystemTime>, ours: SystemTime) {
    let Some(theirs) = theirs else {
        return check.good(CheckStep::Clock, "the server does not say what time it is");
    };
    let (apart, word) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let seconds = apart.as_secs();
    if apart > MAX_CLOCK_DIFFERENCE {
        let hint =
            "let both servers take their time from an NTP server; a snapshot dated in the future hides later ones";
        check.fail(CheckStep::Clock, format!("its clock is {seconds} s {word} ours"), Some(hint.to_owned()));
    } else {
        check.good(CheckStep::Clock, format!("its clock and ours are {seconds} s apart"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &[&str])]) -> PermissionMap {
        let privileges = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), true)).collect();
        entries.iter().map(|(path, names)| ((*path).to_owned(), privileges(names))).collect()
    }

    fn empty() -> RemoteCheck {
        RemoteCheck { remote: "there".parse().unwrap(), ok: true, steps: Vec::new(), datastores: Vec::new() }
    }

    #[test]
    fn rights_tell_reading_all_from_reading_ones_own_and_writing_from_removing() {
        let store: StoreName = "tank".parse().unwrap();
        let of = |names: &[&str]| {
            let here = map(&[("/datastore/tank", names)]);
            let rights = rights(&store, &here, &here);
            (rights.pull, rights.pull_move, rights.push, rights.push_remove, rights.push_namespaces)
        };

        assert_eq!(of(&["Datastore.Audit", "Datastore.Read"]), ("all", "none", false, false, false));
        assert_eq!(of(&["Datastore.Backup"]), ("own", "none", true, false, false));
        assert_eq!(of(&["Datastore.Backup", "Datastore.Prune"]), ("own", "own", true, true, false));
        assert_eq!(of(&["Datastore.Prune", "Datastore.Modify"]), ("none", "none", false, false, false));
        assert_eq!(of(&["Datastore.Backup", "Datastore.Modify"]), ("own", "own", true, false, true));
        assert_eq!(of(&["Datastore.Read", "Datastore.Modify"]), ("all", "all", false, false, false));
        assert_eq!(of(&["Datastore.Read", "Datastore.Prune"]), ("all", "own", false, false, false));
    }

    #[test]
    fn a_namespace_with_rights_of_its_own_is_named() {
        let store: StoreName = "tank".parse().unwrap();
        let all = map(&[
            ("/datastore/tank/a/b", &["Datastore.Read"]),
            ("/datastore/tank/c", &["Datastore.Audit"]),
            ("/datastore/tank2/d", &["Datastore.Read"]),
        ]);

        assert_eq!(rights(&store, &PermissionMap::new(), &all).namespaces, ["a/b"]);
    }

    #[test]
    fn a_clock_that_is_more_than_a_minute_off_fails_in_either_direction() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (theirs, ok, word) in [
            (now + Duration::from_secs(60), true, "60 s apart"),
            (now + Duration::from_secs(61), false, "61 s ahead of ours"),
            (now - Duration::from_secs(3600), false, "3600 s behind ours"),
        ] {
            let mut check = empty();
            clock(&mut check, Some(theirs), now);
            assert_eq!(check.ok, ok);
            assert!(check.steps[0].message.contains(word), "{:?}", check.steps);
        }
        let mut silent = empty();
        clock(&mut silent, None, now);
        assert!(silent.ok);
    }
}
