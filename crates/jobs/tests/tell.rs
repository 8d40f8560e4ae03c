//! What people and programs hear of a job: real mails to a real SMTP server, real requests to a real HTTP server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::{DatastoreConfig, Paths, SyncJobConfig, UserConfig};
use jobs::{JobReport, JobStates, tell};
use replication::{Problem, Report};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const NOW: i64 = 1_800_000_000;

/// A host with one job and these settings of `[notify]`.
struct Site {
    root: tempfile::TempDir,
    job: SyncJobConfig,
}

impl Site {
    fn new(settings: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut job = SyncJobConfig::new(
            "nightly".parse().unwrap(),
            "tank".parse().unwrap(),
            Some("office".parse().unwrap()),
            "main".parse().unwrap(),
        );
        job.comment = Some("the important one".into());
        let site = Self { root, job };
        fs::create_dir_all(site.paths().etc()).unwrap();
        site.set(settings);
        site
    }

    fn set(&self, settings: &str) {
        fs::write(self.paths().server_conf(), format!("[notify]\n{settings}\n")).unwrap();
    }

    fn paths(&self) -> Paths {
        Paths::under_root(self.root.path())
    }

    fn store(&self, change: impl FnOnce(&mut DatastoreConfig)) {
        let mut store = DatastoreConfig::new("tank".parse().unwrap(), self.root.path().join("tank"));
        change(&mut store);
        config::datastores::create(&self.paths(), &store).unwrap();
    }

    async fn ended(&self, report: Report) -> Vec<String> {
        let upid = tasks::new_upid("syncjob", Some("office:main:tank::nightly".into()), tasks::superuser());
        let report = settled(report);
        let elapsed = Duration::from_secs(90);
        let report = JobReport { upid, report, bytes_on_wire_in: 5, bytes_on_wire_out: 6, elapsed };
        tell::run_ended(&self.paths(), &self.job, &report, NOW).await
    }

    async fn fails(&self) -> Vec<String> {
        let problem = Problem::new("office", "no route to host").with_hint("plug it in");
        self.ended(Report { errors: vec![problem], ..Report::default() }).await
    }

    async fn ends_well(&self) -> Vec<String> {
        self.ended(Report { snapshots_copied: 3, bytes_transferred: 1234, ..Report::default() }).await
    }
}

fn settled(mut report: Report) -> Report {
    report.settle();
    report
}

/// What a server on loopback was sent.
#[derive(Clone)]
struct Sink {
    address: String,
    got: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    async fn start<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self { address: listener.local_addr().unwrap().to_string(), got: Arc::default() };
        let got = Arc::clone(&sink.got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&got)));
            }
        });
        sink
    }

    /// A mail server without STARTTLS: each entry is sender, addressees and message.
    async fn mail() -> Self {
        Self::start(|stream, got| async move {
            let mut stream = BufReader::new(stream);
            let mut mail = String::new();
            stream.write_all(b"220 sink ESMTP\r\n").await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let command = line.trim_end().to_owned();
                line.clear();
                let answer = match command.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                    "EHLO" => "250-sink\r\n250 8BITMIME\r\n",
                    "MAIL" | "RCPT" => {
                        mail.push_str(&format!("{command}\n"));
                        "250 ok\r\n"
                    }
                    "DATA" => {
                        stream.write_all(b"354 go on\r\n").await.unwrap();
                        while stream.read_line(&mut line).await.unwrap() > 0 && line != ".\r\n" {
                            mail.push_str(&line);
                            line.clear();
                        }
                        line.clear();
                        got.lock().unwrap().push(std::mem::take(&mut mail));
                        "250 taken\r\n"
                    }
                    "QUIT" => "221 bye\r\n",
                    _ => "500 what\r\n",
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    /// A web server that answers `status`: each entry is a whole request.
    async fn web(status: &'static str) -> Self {
        Self::start(move |mut stream, got| async move {
            let mut request = Vec::new();
            let whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                (body.len() >= length.unwrap_or(0)).then_some(text)
            };
            let text = loop {
                if let Some(text) = whole(&request) {
                    break text;
                }
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request breaks off");
            };
            got.lock().unwrap().push(text);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

#[tokio::test]
async fn a_mail_reaches_the_mail_server_when_a_job_begins_to_fail_and_when_it_is_well_again() {
    let sink = Sink::mail().await;
    let site = Site::new(&format!("mail-to = admin@example.com\nsmtp = {}\nsmtp-tls = none", sink.address));

    assert_eq!(site.ends_well().await, [""; 0]);
    assert_eq!(sink.take(), [""; 0]);
    assert_eq!(site.fails().await, [""; 0]);
    assert_eq!(site.fails().await, [""; 0]);
    let [mail] = &sink.take()[..] else { panic!("one mail for two failures") };
    let host = tasks::node_name();
    for part in [
        &format!("MAIL FROM:<root@{host}>")[..],
        "RCPT TO:<admin@example.com>",
        &format!("Subject: {host}: sync job nightly fails\r\n"),
        "nightly (office:main -> tank)",
        "the important one",
        "office: no route to host (plug it in)",
        "The whole log: backup-manager task log",
    ] {
        assert!(mail.replace("=\r\n", "").contains(part), "{part:?} in {mail}");
    }

    assert_eq!(site.ends_well().await, [""; 0]);
    let [mail] = &sink.take()[..] else { panic!("one mail for the recovery") };
    assert!(mail.contains("sync job nightly is well again") && mail.contains("3 snapshots, 1234 bytes"), "{mail}");
}

#[tokio::test]
async fn a_mail_server_without_protection_gets_no_mail_unless_the_settings_say_so() {
    let sink = Sink::mail().await;
    let site = Site::new(&format!("mail-to = admin@example.com\nsmtp = {}", sink.address));

    let warnings = site.fails().await;

    assert_eq!(sink.take(), [""; 0]);
    assert!(warnings[0].starts_with("could not tell of this failure: the mail server 127.0.0.1:"), "{warnings:?}");
}

#[tokio::test]
async fn without_a_mail_server_the_mail_goes_to_sendmail_for_the_user_of_the_datastore_too() {
    let site = Site::new("mail-to = admin@example.com\nmail-from = backup@example.com");
    let program = site.root.path().join("sendmail");
    let (args, mail) = (site.root.path().join("args"), site.root.path().join("mail"));
    let script = format!("#!/bin/sh\nprintf '%s ' \"$@\" > {}\ncat > {}\n", args.display(), mail.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    site.set(&format!("mail-to = admin@example.com\nmail-from = backup@example.com\nsendmail = {}", program.display()));
    let ann = UserConfig { email: Some("ann@example.com".into()), ..UserConfig::new("ann@pbs".parse().unwrap()) };
    config::users::create(&site.paths(), &ann, None).unwrap();
    site.store(|store| store.notify_user = Some("ann@pbs".parse().unwrap()));

    assert_eq!(site.fails().await, [""; 0]);

    let args = fs::read_to_string(args).unwrap();
    assert_eq!(args.trim(), "-i -f backup@example.com -- admin@example.com ann@example.com");
    assert!(fs::read_to_string(mail).unwrap().contains("To: admin@example.com, ann@example.com\r\n"));
}

#[tokio::test]
async fn a_webhook_is_sent_the_run_as_data_with_its_header() {
    let sink = Sink::web("204 No Content").await;
    let url = format!("http://{}/hook/s3cret?x=1,2", sink.address);
    let site = Site::new(&format!("webhook = {url}\nwebhook-header = Authorization: Bearer t0ken"));

    let held =
        Report { removals_held: 7, warnings: vec![Problem::new("remove-vanished", "much")], ..Report::default() };
    assert_eq!(site.ended(held).await, [""; 0]);

    let [request] = &sink.take()[..] else { panic!("one request") };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook/s3cret?x=1,2 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nauthorization: bearer t0ken"), "{head}");
    assert!(head.to_lowercase().contains("\r\ncontent-type: application/json"), "{head}");
    let data: Value = serde_json::from_str(body).unwrap();
    for (key, value) in [
        ("event", Value::from("brake")),
        ("job", "nightly".into()),
        ("direction", "pull".into()),
        ("remote", "office".into()),
        ("result", "warnings".into()),
        ("removals-held", 7.into()),
        ("bytes-on-wire-in", 5.into()),
        ("ended", NOW.into()),
    ] {
        assert_eq!(data[key], value, "{key} in {data}");
    }
    assert!(data["upid"].as_str().unwrap().starts_with("UPID:") && data["warnings"][0] == "remove-vanished: much");
}

#[tokio::test]
async fn what_did_not_arrive_is_a_warning_without_the_secret_and_is_told_after_the_next_run() {
    let refusing = Sink::web("500 Oops").await;
    let site = Site::new(&format!("webhook = http://{}/s3cret", refusing.address));

    let warnings = site.fails().await;
    assert_eq!(warnings, ["could not tell of this failure: the webhook at 127.0.0.1 answered 500"]);
    let record = JobStates::new(&site.paths()).record(&site.job.id).unwrap().unwrap();
    assert!(record.told.is_empty() && record.totals.failures == 1, "{record:?}");

    site.fails().await;
    assert_eq!(refusing.take().len(), 2, "tried again");

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.set(&format!("webhook = http://{gone}/s3cret"));
    let warnings = site.fails().await;
    assert!(warnings[0].contains("cannot be reached") && !warnings[0].contains("s3cret"), "{warnings:?}");
    let file = fs::read_to_string(JobStates::new(&site.paths()).path(&site.job.id, "last.json")).unwrap();
    assert!(!file.contains("s3cret"), "{file}");
}

#[tokio::test]
async fn a_datastore_that_wants_silence_gets_it_and_a_stopped_run_is_no_failure() {
    let sink = Sink::web("200 OK").await;
    let site = Site::new(&format!("webhook = http://{}/", sink.address));

    site.ended(Report { cancelled: true, ..Report::default() }).await;
    assert_eq!(sink.take().len(), 0);

    site.store(|store| store.notify = Some("sync=never,gc=always".into()));
    site.fails().await;
    assert_eq!(sink.take().len(), 0);

    let loud = Site::new(&format!("webhook = http://{}/", sink.address));
    loud.store(|store| store.notify = Some("sync=always".into()));
    loud.ends_well().await;
    assert_eq!(sink.take().len(), 1);
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_a_warning_and_the_record_is_kept_all_the_same() {
    let site = Site::new("on = nonsense");

    let warnings = site.fails().await;

    assert!(warnings[0].starts_with("nobody is told of this run: ") && warnings[0].contains(":2: "), "{warnings:?}");
    let record = JobStates::new(&site.paths()).record(&site.job.id).unwrap().unwrap();
    assert_eq!((record.totals.runs, record.errors.len(), record.ended), (1, 1, NOW));
}
