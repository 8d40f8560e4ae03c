//! `remote.cfg`: what contradicts itself or cannot be used.

use super::{Findings, Lines, Severity};
use crate::{
    error::ConfigError,
    paths::Paths,
    remotes::{self},
    server_conf::ServerConf,
    store::Entry,
};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    let file = remotes::file(paths);
    let loaded = match remotes::load(paths) {
        Ok(loaded) => loaded,
        Err(error) => return findings.failed(Severity::Fatal, &file.path, &error),
    };
    findings.problems(loaded.problems);
    let lines = Lines::of(&file);
    let has_proxy = ServerConf::load(paths).is_ok_and(|(conf, _)| conf.http_proxy.is_some());
    for remote in &loaded.entries {
        let wrong = [remote.check(), remote.password.reveal().map(drop)];
        for error in wrong.into_iter().filter_map(Result::err) {
            if let ConfigError::Invalid { property, reason } = error {
                let line = lines.line(&remote.name, &property);
                findings.error(&file.path, line, format!("remote `{}`: `{property}` {reason}", remote.name));
            }
        }
        if remote.use_node_proxy == Some(true) && !has_proxy {
            let line = lines.line(&remote.name, "use-node-proxy");
            let conf = paths.server_conf();
            let reason = format!("remote `{}`: no `[node] http-proxy` is set in {}", remote.name, conf.display());
            findings.warn(&file.path, line, reason);
        }
    }
}
