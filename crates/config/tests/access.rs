//! Users, tokens and permissions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{Root, n, text};
use config::{
    AccessCache, AccessControl, TokenConfig, UserConfig,
    acl::{self, Acl, AclAction, AclChange, AclPath, Privileges, Role},
    keys, users,
};

/// Privileges by a permission file alone.
fn privileges(file: &str, who: &str, path: &str) -> String {
    let access = AccessControl { acl: Acl::parse(file).unwrap(), ..AccessControl::superuser_only() };
    access.privileges(&n(who), &n::<AclPath>(path)).to_string()
}

fn grant(root: &Root, path: &str, who: &str, role: Role) -> config::Result<()> {
    let action = AclAction::Grant { propagate: true };
    acl::update(&root.paths, &AclChange { path: n(path), auth_id: n(who), role, action }, None)
}

fn revoke(root: &Root, path: &str, who: &str, role: Role) -> config::Result<()> {
    acl::update(&root.paths, &AclChange { path: n(path), auth_id: n(who), role, action: AclAction::Revoke }, None)
}

#[test]
fn the_table_of_permissions() {
    let store = "/datastore/main";
    for (name, file, who, path, expected) in [
        ("nothing is given by default", "", "a@pbs", store, ""),
        ("a role on the path", "acl:1:/datastore/main:a@pbs:DatastoreAudit", "a@pbs", store, "Datastore.Audit"),
        ("a role is inherited", "acl:1:/:a@pbs:DatastoreAudit", "a@pbs", "/datastore/main/x/y", "Datastore.Audit"),
        ("only when it propagates", "acl:0:/datastore:a@pbs:DatastoreAudit", "a@pbs", store, ""),
        (
            "on the path itself it need not",
            "acl:0:/datastore/main:a@pbs:DatastoreAudit",
            "a@pbs",
            store,
            "Datastore.Audit",
        ),
        (
            "roles on one path add up",
            "acl:1:/:a@pbs:DatastoreAudit,RemoteAudit",
            "a@pbs",
            store,
            "Datastore.Audit, Remote.Audit",
        ),
        (
            "deeper ones replace",
            "acl:1:/datastore:a@pbs:DatastoreAdmin\nacl:1:/datastore/main:a@pbs:DatastoreBackup",
            "a@pbs",
            store,
            "Datastore.Backup",
        ),
        (
            "a deeper one that does not propagate replaces nothing below",
            "acl:1:/datastore:a@pbs:DatastoreAudit\nacl:0:/datastore/main:a@pbs:DatastoreBackup",
            "a@pbs",
            "/datastore/main/x",
            "Datastore.Audit",
        ),
        (
            "NoAccess replaces like any other",
            "acl:1:/:a@pbs:Admin\nacl:1:/datastore/main:a@pbs:NoAccess",
            "a@pbs",
            "/datastore/main/x",
            "",
        ),
        ("NoAccess displaces others on its path", "acl:1:/:a@pbs:Admin,NoAccess", "a@pbs", store, ""),
        ("somebody else's role says nothing", "acl:1:/:b@pbs:Admin", "a@pbs", store, ""),
        ("groups have no members", "acl:1:/:@staff:Admin", "a@pbs", store, ""),
        ("a token without own roles may do nothing", "acl:1:/:a@pbs:Admin", "a@pbs!t", store, ""),
        ("nor with roles its user lacks", "acl:1:/:a@pbs!t:Admin", "a@pbs!t", store, ""),
        (
            "a token may do what it and its user may",
            "acl:1:/:a@pbs:DatastoreReader\nacl:1:/:a@pbs!t:DatastoreAdmin",
            "a@pbs!t",
            store,
            "Datastore.Audit, Datastore.Read, Datastore.Verify",
        ),
        (
            "a token may have less than its user",
            "acl:1:/:a@pbs:Admin\nacl:1:/datastore:a@pbs!t:DatastoreBackup",
            "a@pbs!t",
            store,
            "Datastore.Backup",
        ),
        ("a token of the superuser needs own roles", "", "root@pam!t", store, ""),
        ("and then has them", "acl:1:/:root@pam!t:DatastoreAudit", "root@pam!t", store, "Datastore.Audit"),
        ("a similar name is another name", "acl:1:/datastore/main:a@pbs:Admin", "a@pbs", "/datastore/main2", ""),
    ] {
        assert_eq!(privileges(file, who, path), expected, "{name}");
    }
    assert_eq!(privileges("acl:1:/:root@pam:NoAccess", "root@pam", store), Privileges::ALL.to_string());
}

#[test]
fn every_role_gives_its_privileges_on_its_path() {
    for role in Role::ALL {
        let file = format!("acl:1:/datastore/main:a@pbs:{role}");
        assert_eq!(privileges(&file, "a@pbs", "/datastore/main"), role.privileges().to_string());
    }
}

#[test]
fn a_wrong_line_refuses_the_file_with_its_number() {
    for (line, reason) in [
        ("acl:1:/:a@pbs", "expected acl:PROPAGATE:PATH:IDENTITIES:ROLES"),
        ("acl:1:/:a@pbs:Admin:x", "expected acl:PROPAGATE:PATH:IDENTITIES:ROLES"),
        ("acl:2:/:a@pbs:Admin", "propagate is 0 or 1, not `2`"),
        ("acl:1:datastore:a@pbs:Admin", "`datastore` is no permission path: it must start with `/`"),
        ("acl:1:/:a@pbs:Boss", "unknown role `Boss`"),
        ("# comment", "expected acl:PROPAGATE:PATH:IDENTITIES:ROLES"),
    ] {
        let root = Root::new().with(|p| p.acl_cfg(), format!("\nacl:1:/:b@pbs:Audit\n{line}\n"));
        let error = acl::load(&root.paths).unwrap_err().to_string();
        assert!(error.ends_with(&format!("acl.cfg:3: {reason}")), "{error}");
    }
    assert!(Acl::parse("acl:1:/:nobody:Admin").is_err());
}

#[test]
fn the_file_is_written_in_tree_order_with_equal_roles_merged() {
    let before = "acl:1:/remote:b@pbs:RemoteAudit\n  acl:1:/datastore/main/x:a@pbs:DatastoreAudit\n\n\
                  acl:1:/datastore/main:b@pbs:DatastoreReader,DatastoreBackup\n\
                  acl:1:/datastore/main:a@pbs:DatastoreBackup\nacl:1:/datastore/main:a@pbs:DatastoreReader\n\
                  acl:0:/datastore/main:c@pbs:Audit\nacl:1:/:root@pam:Admin\nacl:1:/:@staff,d@pbs:Audit,NoAccess\n";
    let after = "acl:1:/:@staff,d@pbs:NoAccess\n\
                 acl:0:/datastore/main:c@pbs:Audit\n\
                 acl:1:/datastore/main:a@pbs,b@pbs:DatastoreBackup,DatastoreReader\n\
                 acl:1:/datastore/main/x:a@pbs:DatastoreAudit\n\
                 acl:1:/remote:b@pbs:RemoteAudit\n";

    let written = Acl::parse(before).unwrap().to_text();

    assert_eq!(written, after);
    assert_eq!(Acl::parse(&written).unwrap().to_text(), written);
}

#[test]
fn roles_are_given_and_taken_back() {
    let root = Root::new();
    users::create(&root.paths, &UserConfig::new(n("a@pbs")), None).unwrap();

    grant(&root, "/datastore/main", "a@pbs", Role::DatastoreAdmin).unwrap();
    assert_eq!(text(&root.paths.acl_cfg()), "acl:1:/datastore/main:a@pbs:DatastoreAdmin\n");

    revoke(&root, "/datastore/main", "a@pbs", Role::DatastoreAudit).unwrap();
    revoke(&root, "/datastore/main", "a@pbs", Role::DatastoreAdmin).unwrap();
    assert_eq!(text(&root.paths.acl_cfg()), "");

    assert!(grant(&root, "/", "nobody@pbs", Role::Audit).unwrap_err().is_not_found());
    assert!(grant(&root, "/", "a@pbs!none", Role::Audit).unwrap_err().is_not_found());
    assert!(grant(&root, "/", "root@pam", Role::Audit).is_err());
}

#[test]
fn what_is_held_somewhere_below_is_found() {
    let acl = Acl::parse("acl:1:/datastore/main/team/a:a@pbs:DatastoreBackup").unwrap();
    let access = AccessControl { acl, ..AccessControl::superuser_only() };
    let has = |path: &str| access.has_any_below(&n("a@pbs"), &n(path), Privileges::DATASTORE_ANY);

    assert!(has("/datastore/main") && has("/datastore") && has("/datastore/main/team/a/b"));
    assert!(!has("/datastore/other") && !has("/datastore/main/team/b"));
}

#[test]
fn permissions_are_listed_with_what_reaches_further_down() {
    let acl = Acl::parse("acl:0:/datastore/main:a@pbs:DatastoreAudit\nacl:1:/remote:a@pbs:RemoteAudit").unwrap();
    let access = AccessControl { acl, ..AccessControl::superuser_only() };

    let listed: Vec<_> =
        access.permissions(&n("a@pbs")).iter().map(|(path, all, down)| format!("{path}: {all} / {down}")).collect();

    assert_eq!(listed, ["/datastore/main: Datastore.Audit / ", "/remote: Remote.Audit / Remote.Audit"]);
}

#[test]
fn a_user_logs_in_with_its_password_only() {
    let root = Root::new();
    let user = UserConfig::new(n("anna@pbs"));
    users::create(&root.paths, &user, Some("correct horse")).unwrap();
    let verify = |user: &str, password: &str| users::verify_password(&root.paths, &n(user), password).unwrap();

    assert!(verify("anna@pbs", "correct horse"));
    assert!(!verify("anna@pbs", "wrong horse") && !verify("bert@pbs", "correct horse") && !verify("root@pam", ""));
    users::set_password(&root.paths, &n("anna@pbs"), "battery staple").unwrap();
    assert!(verify("anna@pbs", "battery staple") && !verify("anna@pbs", "correct horse"));

    let shadow = root.paths.shadow();
    assert_eq!(fs::metadata(&shadow).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(text(&shadow).contains("\"anna@pbs\": \"$pbkdf2-sha256$") && !text(&shadow).contains("battery"));
}

#[test]
fn passwords_have_a_realm_and_a_length() {
    let root = Root::new();
    users::create(&root.paths, &UserConfig::new(n("a@pbs")), None).unwrap();
    for (user, password, reason) in [
        ("root@pam", "correct horse", "only users of realm `pbs` have a password here"),
        ("a@pbs", "short", "must have 8 to 64 characters, not 5"),
        ("a@pbs", "with\ncontrol", "control characters"),
        ("nobody@pbs", "correct horse", "does not exist"),
    ] {
        let error = users::set_password(&root.paths, &n(user), password).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = users::create(&root.paths, &UserConfig::new(n("b@ldap")), Some("correct horse")).unwrap_err();
    assert!(error.to_string().contains("realm `pbs`"), "{error}");
    assert!(users::load(&root.paths).unwrap().user(&n("b@ldap")).is_none());
}

#[test]
fn a_hash_of_another_program_is_an_error_that_says_so() {
    let root = Root::new().with(|p| p.shadow(), r#"{"a@pbs": "$5$salt$hash"}"#);

    let error = users::verify_password(&root.paths, &n("a@pbs"), "x").unwrap_err().to_string();

    assert!(error.contains("shadow.json") && error.contains("made by another program"), "{error}");
}

#[test]
fn a_token_has_its_own_secret_and_is_shown_it_once() {
    let root = Root::new();
    users::create(&root.paths, &UserConfig::new(n("a@pbs")), None).unwrap();
    let entry = TokenConfig::new(&n("a@pbs"), &n("t1")).unwrap();

    let token = users::generate_token(&root.paths, &entry, None).unwrap();

    assert_eq!((token.tokenid.to_string().as_str(), token.value.len()), ("a@pbs!t1", 36));
    assert!(!format!("{token:?}").contains(&token.value));
    let verify = |id: &str, secret: &str| users::verify_token(&root.paths, &n(id), secret).unwrap();
    assert!(verify("a@pbs!t1", &token.value));
    assert!(!verify("a@pbs!t1", "") && !verify("a@pbs!t2", &token.value));
    assert!(!text(&root.paths.token_shadow()).contains(&token.value));
    assert_eq!(text(&root.paths.user_cfg()), "user: a@pbs\n\ntoken: a@pbs!t1\n");

    assert!(users::generate_token(&root.paths, &entry, None).unwrap_err().is_exists());
    let stranger = TokenConfig::new(&n("b@pbs"), &n("t1")).unwrap();
    assert!(users::generate_token(&root.paths, &stranger, None).unwrap_err().is_not_found());

    let again = users::regenerate_token(&root.paths, &n("a@pbs!t1")).unwrap();
    assert!(verify("a@pbs!t1", &again.value) && !verify("a@pbs!t1", &token.value));
}

#[test]
fn the_superuser_can_have_tokens_without_being_in_the_file() {
    let root = Root::new();

    let token = users::generate_token(&root.paths, &TokenConfig::new(&n("root@pam"), &n("t1")).unwrap(), None).unwrap();

    assert!(users::verify_token(&root.paths, &token.tokenid, &token.value).unwrap());
    let access = AccessControl::load(&root.paths).unwrap();
    assert!(access.is_active(&n("root@pam"), 0) && access.is_active(&token.tokenid, 0));
}

#[test]
fn a_removed_user_leaves_neither_tokens_nor_secrets_nor_permissions() {
    let root = Root::new();
    for name in ["a@pbs", "b@pbs"] {
        users::create(&root.paths, &UserConfig::new(n(name)), None).unwrap();
        let token = users::generate_token(&root.paths, &TokenConfig::new(&n(name), &n("t1")).unwrap(), None).unwrap();
        grant(&root, "/", name, Role::Admin).unwrap();
        grant(&root, "/", &token.tokenid.to_string(), Role::Admin).unwrap();
    }
    users::set_password(&root.paths, &n("a@pbs"), "correct horse").unwrap();

    users::remove(&root.paths, &n("a@pbs"), None).unwrap();

    for path in [root.paths.user_cfg(), root.paths.acl_cfg(), root.paths.shadow(), root.paths.token_shadow()] {
        assert!(!text(&path).contains("a@pbs"), "{}", path.display());
    }
    assert_eq!(text(&root.paths.user_cfg()), "user: b@pbs\n\ntoken: b@pbs!t1\n");
    users::remove_token(&root.paths, &n("b@pbs!t1"), None).unwrap();
    assert_eq!(text(&root.paths.acl_cfg()), "acl:1:/:b@pbs:Admin\n");
    assert!(users::remove(&root.paths, &n("root@pam"), None).is_err());
    assert!(users::create(&root.paths, &UserConfig::new(n("root@pam")), None).unwrap_err().is_exists());
}

#[test]
fn a_disabled_or_expired_user_takes_its_tokens_along() {
    let file = "user: on@pbs\n\ntoken: on@pbs!t\n\ntoken: on@pbs!off\n\tenable false\n\ntoken: on@pbs!old\n\texpire 100\n\n\
                user: off@pbs\n\tenable 0\n\ntoken: off@pbs!t\n\nuser: old@pbs\n\texpire 100\n\ntoken: old@pbs!t\n\n\
                token: gone@pbs!t\n\nuser: broken@pbs\nenable 0\n";
    let root = Root::new().with(|p| p.user_cfg(), file);
    let access = AccessControl::load(&root.paths).unwrap();

    for (who, at_99, at_100) in [
        ("on@pbs", true, true),
        ("on@pbs!t", true, true),
        ("on@pbs!off", false, false),
        ("on@pbs!old", true, false),
        ("off@pbs", false, false),
        ("off@pbs!t", false, false),
        ("old@pbs", true, false),
        ("old@pbs!t", true, false),
        ("gone@pbs!t", false, false),
        ("broken@pbs", false, false),
        ("nobody@pbs", false, false),
        ("root@pam", true, true),
    ] {
        assert_eq!((access.is_active(&n(who), 99), access.is_active(&n(who), 100)), (at_99, at_100), "{who}");
    }
}

#[test]
fn the_superuser_is_disabled_when_the_file_says_so() {
    let disabled = Root::new().with(|p| p.user_cfg(), "user: root@pam\n\tenable false\n");

    assert!(!AccessControl::load(&disabled.paths).unwrap().is_active(&n("root@pam"), 0));
    users::update(&disabled.paths, &n("root@pam"), None, |user| {
        user.enable = None;
        Ok(())
    })
    .unwrap();
    assert!(AccessControl::load(&disabled.paths).unwrap().is_active(&n("root@pam"), 0));
}

#[test]
fn the_cache_sees_changes_and_keeps_the_last_good_state() {
    let root = Root::new();
    let cache = AccessCache::new(root.paths.clone());
    let may = || cache.current().privileges(&n("a@pbs"), &AclPath::root()).contains(Privileges::SYS_AUDIT);
    assert!(!may());

    users::create(&root.paths, &UserConfig::new(n("a@pbs")), None).unwrap();
    grant(&root, "/", "a@pbs", Role::Audit).unwrap();
    assert!(may());

    fs::write(root.paths.acl_cfg(), "acl:1:/:b@pbs:Audit\nbroken\n").unwrap();
    assert!(may());

    fs::write(root.paths.acl_cfg(), "").unwrap();
    assert!(!may());
}

#[test]
fn a_broken_file_at_the_start_lets_in_nobody_but_the_superuser() {
    let root =
        Root::new().with(|p| p.user_cfg(), "user: a@pbs\n").with(|p| p.acl_cfg(), "acl:1:/:a@pbs:Admin\nbroken\n");

    let access = AccessCache::new(root.paths.clone()).current();

    assert!(!access.is_active(&n("a@pbs"), 0) && access.is_active(&n("root@pam"), 0));
    assert!(access.privileges(&n("a@pbs"), &AclPath::root()).is_empty());
}

#[test]
fn keys_are_made_once_whoever_comes_first() {
    let root = Root::new();

    let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| keys::auth_key(&root.paths).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_ne!(keys[0], keys::csrf_key(&root.paths).unwrap());
    assert_eq!(fs::metadata(root.paths.auth_key()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(root.paths.csrf_key(), "short").unwrap();
    assert!(keys::csrf_key(&root.paths).unwrap_err().to_string().contains("exactly 32 bytes"));
}
