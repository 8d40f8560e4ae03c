//! `backup-server.conf`, and the certificate it names.

use super::{Findings, Severity};
use crate::{cert, paths::Paths, server_conf::ServerConf};

pub(super) fn check(paths: &Paths, findings: &mut Findings) {
    let file = paths.server_conf();
    let conf = match ServerConf::load(paths) {
        Ok((conf, problems)) => {
            findings.problems(problems);
            conf
        }
        Err(error) => {
            findings.failed(Severity::Fatal, &file, &error);
            return;
        }
    };
    if let Err(error) = cert::present(paths, &conf) {
        findings.failed(Severity::Fatal, &file, &error);
    }
}
