//! The configuration as a whole: checked, taken over from a stock server, and written for one.

use std::fs;

use serde_json::json;

use crate::host::Host;

#[test]
fn a_configuration_is_checked_with_file_line_and_exit_code() {
    let host = Host::with_stores(&["store"]);
    let said = host.run(&["config", "check"]);
    assert_eq!((said.code, said.stdout.trim().ends_with("nothing to complain about")), (0, true), "{said:?}");
    assert_eq!(host.json(&["config", "check"]), json!({"result": "ok", "findings": []}));

    let sync = host.paths().sync_cfg();
    fs::write(&sync, "sync: job\n\tremote nowhere\n\tremote-store there\n\tstore store\n\tcolour blue\n").unwrap();
    host.ok(&["config", "check", "--start"]);
    let said = host.run(&["config", "check"]);
    assert_eq!(said.code, 1, "{said:?}");
    let line = format!("error: {}:2: job `job`: remote `nowhere` is not configured here", sync.display());
    assert_eq!(said.stdout.lines().next(), Some(line.as_str()));
    assert!(said.stdout.ends_with("1 error, 1 warning\n"), "{said:?}");

    fs::write(host.paths().server_conf(), "[server]\nlisten = 8007\n").unwrap();
    let said = host.run(&["config", "check", "--start"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("fatal: ") && said.stdout.contains("backup-server.conf:2: `[server] listen`"));
}

#[test]
fn a_stock_servers_configuration_is_taken_over_and_given_back() {
    let host = Host::new();
    let stock = host.path("etc/proxmox-backup");
    fs::create_dir_all(&stock).unwrap();
    let job = "sync: nightly\n\tremote office\n\tremote-store main\n\tremove-vanished true\n\tstore tank\n";
    fs::write(stock.join("sync.cfg"), job).unwrap();
    fs::write(stock.join("user.cfg"), "user: ann@pbs\n\ntoken: ann@pbs!nas\n").unwrap();
    let from = stock.to_str().unwrap();

    let dry = host.json(&["config", "import", "--from", from, "--dry-run"]);
    assert!(!host.paths().etc().exists(), "nothing changes");
    let done = host.json(&["config", "import", "--from", from]);
    assert_eq!(dry, done);
    assert_eq!(done["entries"][2]["entry"], "nightly");
    assert_eq!(host.json(&["sync-job", "show", "nightly"])["remote-store"], "main");
    let again = host.ok(&["config", "import", "--from", from]);
    assert!(again.contains("exists") && !again.contains("Left to do"), "{again}");

    host.ok(&["user", "generate-token", "ann@pbs", "nas", "--regenerate"]);
    host.ok(&["sync-job", "update", "nightly", "--max-removals", "10%"]);
    let out = host.path("out");
    let said = host.run(&["config", "export", "--pbs", out.to_str().unwrap()]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stdout.contains("max-removals") && said.stdout.contains("removes any number"), "{said:?}");
    assert_eq!(fs::read_to_string(out.join("sync.cfg")).unwrap(), job);
    assert_eq!(host.run(&["config", "export", "--pbs", out.to_str().unwrap()]).code, 1, "nothing is overwritten");
}
