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
