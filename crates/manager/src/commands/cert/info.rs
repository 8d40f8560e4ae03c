//! `cert info`.

use anyhow::{Context as _, Result};
use chrono::Utc;
use config::cert::{self, CertInfo};
use config::server_conf::ServerConf;

use crate::context::Context;
use crate::human::local_time;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let (conf, problems) = ServerConf::load(&ctx.paths)?;
        crate::problems::tell(&problems);
        // A server that never started has none yet: made here, it can be pinned before the first start.
        let certificate = cert::ensure(&ctx.paths, &conf, Utc::now())?;
        let path = cert::path(&ctx.paths, &conf);
        let name = path.file_name().and_then(|name| name.to_str()).context("the certificate has no file name")?;
        let info = cert::info(name, &certificate.certificate_pem)?;
        if ctx.out.is_text() {
            ctx.out.line(&text(&info))?;
        } else {
            ctx.out.json(&info)?;
        }
        Ok(Outcome::Done)
    }
}

fn text(info: &CertInfo) -> String {
    let mut lines = vec![format!("Subject: {}", info.subject)];
    lines.extend(info.san.iter().map(|name| format!("  {name}")));
    lines.push(format!("Issuer: {}", info.issuer));
    lines.push("Validity:".to_owned());
    lines.push(format!("  Not Before: {}", local_time(info.notbefore)));
    lines.push(format!("  Not After : {}", local_time(info.notafter)));
    lines.push(format!("Fingerprint (sha256): {}", info.fingerprint));
    lines.push(format!("Public key type: {}", info.public_key_type));
    lines.extend(info.public_key_bits.map(|bits| format!("Public key bits: {bits}")));
    lines.join("\n")
}
