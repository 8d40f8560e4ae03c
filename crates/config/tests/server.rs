//! The daemon's own settings and its certificate.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use chrono::{DateTime, Utc};
use common::{Root, text};
use config::{NotifyOn, ServerConf, SmtpTls, cert};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).unwrap()
}

#[test]
fn without_a_file_everything_has_its_default() {
    let (conf, problems) = ServerConf::load(&Root::new().paths).unwrap();

    assert_eq!((conf.listen.to_string().as_str(), conf.log_level.as_str(), problems.len()), ("[::]:8007", "info", 0));
    assert_eq!(conf, ServerConf::default());
}

#[test]
fn every_key_is_read() {
    let root = Root::new().with(
        |p| p.server_conf(),
        "; the daemon\n[server]\nListen = 127.0.0.1:8107\ncertificate=/etc/ssl/a#b.pem\nkey = /etc/ssl/a.key\n\
         log-level = debug\n[node]\nhttp-proxy = http://me:a=b@proxy.lan:3128\n\
         [limits]\nmax-connections = 10\nmax-sessions = 2\n\
         receive-buffer = 64 MiB\nidle-minutes = 5\n[tasks]\nretention-days = 0\nretention-count = 7\n\
         [metrics]\nlisten = 127.0.0.1:9107\n\
         [notify]\nmail-to = a@example.com, root\nmail-from = pbs@example.com\nsendmail = /opt/sendmail\n\
         smtp = [::1]:587\nsmtp-tls = starttls\nsmtp-user = me\nsmtp-password = a=b\n\
         webhook = https://a.test/x,y http://b.test\nwebhook-header = Authorization: Bearer x:y\non = brake, always\n",
    );

    let (conf, problems) = ServerConf::load(&root.paths).unwrap();

    assert_eq!(problems, []);
    assert_eq!(conf.listen.to_string(), "127.0.0.1:8107");
    assert_eq!(conf.certificate.unwrap().to_str(), Some("/etc/ssl/a#b.pem"));
    assert_eq!(conf.http_proxy.as_deref(), Some("http://me:a=b@proxy.lan:3128"));
    assert_eq!((conf.max_connections, conf.max_sessions, conf.receive_buffer), (10, 2, 64 << 20));
    assert_eq!((conf.idle.as_secs(), conf.task_retention_days, conf.task_retention_count), (300, 0, 7));
    assert_eq!(conf.metrics.unwrap().to_string(), "127.0.0.1:9107");
    let notify = conf.notify;
    assert_eq!(notify.mail_to, ["a@example.com", "root"]);
    assert_eq!(
        (notify.mail_from.as_deref(), notify.sendmail.to_str()),
        (Some("pbs@example.com"), Some("/opt/sendmail"))
    );
    let smtp = notify.smtp.unwrap();
    assert_eq!((smtp.host.as_str(), smtp.port, smtp.tls), ("::1", 587, SmtpTls::StartTls));
    assert_eq!(smtp.login, Some(("me".into(), "a=b".into())));
    assert_eq!(notify.webhooks, ["https://a.test/x,y", "http://b.test"]);
    assert_eq!(notify.webhook_header, Some(("Authorization".into(), "Bearer x:y".into())));
    assert_eq!(notify.on, [NotifyOn::Brake, NotifyOn::Always].into());
}

#[test]
fn unknown_keys_are_told_and_bad_values_name_line_and_key() {
    let root = Root::new().with(|p| p.server_conf(), "stray = 1\n[server]\n# x\nlissten = [::]:1\n");
    let (_, problems) = ServerConf::load(&root.paths).unwrap();
    let told: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.line, problem.reason)).collect();
    assert_eq!(told, ["1 unknown key `stray` has no effect", "4 unknown key `[server] lissten` has no effect"]);

    for (file, expected) in [
        ("[server]\n\nlisten = 8007\n", ":3: `[server] listen`: `8007` is no address and port"),
        ("[server]\nlog-level = loud\n", ":2: `[server] log-level`: `loud` is none of"),
        ("[server]\ncertificate = /a.pem\n", "`certificate` and `key` go together"),
        ("[server]\nkey = a.key\n", ":2: `[server] key`: `a.key` is no absolute path"),
        ("[node]\nhttp-proxy =\n", ":2: `[node] http-proxy`: is empty"),
        ("[limits]\nmax-connections = 0\n", ":2: `[limits] max-connections`: `0` is no number from 1"),
        ("[limits]\nreceive-buffer = 1 B\n", ":2: `[limits] receive-buffer`: 1 B is not from"),
        ("[metrics]\nlisten = on\n", ":2: `[metrics] listen`: `on` is no address and port"),
        ("[notify]\nmail-to = a b@\n", ":2: `[notify] mail-to`: `b@` is no mail address"),
        ("[notify]\nmail-from = -oQ/tmp\n", ":2: `[notify] mail-from`: `-oQ/tmp` is no mail address"),
        ("[notify]\nsmtp = a:b\n", ":2: `[notify] smtp`: `a:b` is no HOST or HOST:PORT"),
        ("[notify]\nsmtp-tls = yes\n", ":2: `[notify] smtp-tls`: `yes` is none of"),
        ("[notify]\nsmtp-tls = none\n", "`[notify]`: `smtp-tls` has no meaning without `smtp`"),
        ("[notify]\nsmtp = a\nsmtp-user = me\n", "`[notify]`: `smtp-user` and `smtp-password` go together"),
        (
            "[notify]\nsmtp = a\nsmtp-user = me\nsmtp-password = x\nsmtp-tls = none\n",
            "`[notify]`: `smtp-password` is not sent without protection",
        ),
        ("[notify]\nwebhook = ftp://x\n", ":2: `[notify] webhook`: is no URL that begins with"),
        ("[notify]\nwebhook-header = x\n", ":2: `[notify] webhook-header`: is no header"),
        ("[notify]\non = success\n", ":2: `[notify] on`: `success` is none of"),
        ("[server\n", ":1: Found opening bracket"),
    ] {
        let root = Root::new().with(|p| p.server_conf(), file);
        let error = ServerConf::load(&root.paths).unwrap_err().to_string();
        assert!(error.contains("backup-server.conf") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_certificate_is_made_once_and_is_no_authority() {
    let root = Root::new();
    let conf = ServerConf::default();

    let made = cert::ensure(&root.paths, &conf, now()).unwrap();
    let again = cert::ensure(&root.paths, &conf, now()).unwrap();

    assert_eq!((&made.certificate_pem, &made.key_pem), (&again.certificate_pem, &again.key_pem));
    assert_eq!(fs::metadata(root.paths.key()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{made:?}").contains("PRIVATE"));

    let info = cert::info("proxy.pem", &made.certificate_pem).unwrap();
    assert_eq!(info.san[..3], ["127.0.0.1", "::1", "localhost"]);
    assert!(info.subject.starts_with("O = Backup Replicator, CN = "), "{}", info.subject);
    assert_eq!(info.subject, info.issuer);
    assert_eq!((info.public_key_type.as_str(), info.public_key_bits), ("id-ecPublicKey", Some(256)));
    assert!(info.notbefore < now().timestamp() && info.notafter > now().timestamp() + 999 * 365 * 86400);
    assert_eq!(info.pem, made.certificate_pem.replace('\r', ""));
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["fingerprint"].as_str().unwrap().len(), 95);

    let (_, block) = x509_parser::pem::parse_x509_pem(made.certificate_pem.as_bytes()).unwrap();
    let parsed = block.parse_x509().unwrap();
    assert!(!parsed.is_ca());
    assert!(parsed.extended_key_usage().unwrap().unwrap().value.server_auth);
}

#[test]
fn a_key_without_its_certificate_gets_one() {
    let root = Root::new();
    let made = cert::ensure(&root.paths, &ServerConf::default(), now()).unwrap();
    fs::remove_file(root.paths.cert()).unwrap();

    let again = cert::ensure(&root.paths, &ServerConf::default(), now()).unwrap();

    assert_eq!(made.key_pem, again.key_pem);
    assert_ne!(made.certificate_pem, again.certificate_pem);
    fs::remove_file(root.paths.key()).unwrap();
    let error = cert::ensure(&root.paths, &ServerConf::default(), now()).unwrap_err();
    assert!(error.to_string().contains("there is no key"), "{error}");
}

#[test]
fn given_files_are_used_as_they_are() {
    let root = Root::new();
    cert::ensure(&root.paths, &ServerConf::default(), now()).unwrap();
    let (pem, key) = (root.dir.path().join("my.pem"), root.dir.path().join("my.key"));
    fs::copy(root.paths.cert(), &pem).unwrap();
    fs::copy(root.paths.key(), &key).unwrap();
    let conf = ServerConf { certificate: Some(pem.clone()), key: Some(key.clone()), ..ServerConf::default() };

    let used = cert::ensure(&root.paths, &conf, now()).unwrap();

    assert_eq!(used.certificate_pem, text(&pem));
    assert_eq!(cert::path(&root.paths, &conf), pem);
    fs::remove_file(&key).unwrap();
    let error = cert::ensure(&root.paths, &conf, now()).unwrap_err().to_string();
    assert!(error.contains("my.key") && error.contains("does not exist"), "{error}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    let root = Root::new();
    let made = cert::ensure(&root.paths, &ServerConf::default(), now()).unwrap();

    for bad in ["", "hello", &made.key_pem, &made.certificate_pem[..200]] {
        assert!(cert::info("x.pem", bad).unwrap_err().to_string().starts_with("x.pem"));
    }
}
