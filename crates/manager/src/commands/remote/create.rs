//! `remote create`.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::{ShownCertificate, Timeouts, Verdict};
use config::{Entry, RemoteConfig};
use formats::{AuthId, RemoteName};

use super::Settings;
use crate::args::SecretSource;
use crate::context::Context;
use crate::errors::{self, Hinted};
use crate::human;
use crate::options::Pairs;
use crate::outcome::Outcome;

/// How long to wait for the server at each step.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,

    /// Host name or address
    #[arg(long, value_name = "HOST")]
    host: String,

    /// User or token to log in as, for example sync@pbs!token
    #[arg(long, value_name = "AUTH-ID")]
    auth_id: AuthId,

    /// Read the password or token secret from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-")]
    password_file: SecretSource,

    #[command(flatten)]
    settings: Settings,

    /// Trust the certificate the server shows now, without asking
    #[arg(long, conflicts_with_all = ["fingerprint", "no_check"])]
    accept_fingerprint: bool,

    /// Do not connect to the server
    #[arg(long)]
    no_check: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("host", Some(super::bare_host(&self.host)));
        pairs.put("auth-id", Some(&self.auth_id));
        pairs.put("password", Some(self.password_file.read()?));
        self.settings.add_to(&mut pairs);
        let mut remote: RemoteConfig = config::from_pairs(self.name.as_str(), pairs.as_slice())?;
        // What is refused anyway is refused before anybody is asked.
        remote.check()?;
        if config::remotes::load(&ctx.paths)?.find(&self.name).is_some() {
            return Err(Hinted::new(format!("remote '{}' already exists", self.name))
                .hint(format!("to change it: backup-manager remote update {}", self.name))
                .into());
        }
        if !self.no_check {
            let asked = if self.accept_fingerprint {
                Answer::Accept
            } else if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
                Answer::Ask
            } else {
                Answer::Nobody
            };
            ctx.block_on(meet(ctx, &mut remote, asked))?;
        }
        config::remotes::create(&ctx.paths, &remote)?;
        Ok(Outcome::Done)
    }
}

/// Who decides about a certificate that nothing vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It was accepted beforehand.
    Accept,
    /// Somebody at the terminal.
    Ask,
    /// Nobody: a script runs us.
    Nobody,
}

/// Connects to the server, pins its certificate if that is wanted, and tries the login.
///
/// A script may create a remote before its server runs, so there what is wrong is a warning and no error.
async fn meet(ctx: &Context, remote: &mut RemoteConfig, answer: Answer) -> Result<()> {
    let proxy = jobs::proxy_for(&ctx.paths, remote)?;
    let timeouts = Timeouts { connect: PATIENCE, request: PATIENCE, ..Timeouts::default() };
    let address = jobs::address_of(remote);
    let shown = match client::shown_certificate(&address, proxy, timeouts).await {
        Ok(shown) => shown,
        Err(error) if remote.fingerprint.is_some() || answer == Answer::Nobody => {
            warn(remote, &error.into());
            return Ok(());
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
            return Err(Hinted::new(errors::one_line(&error.into()))
                .hint(format!("{hint}to add the remote all the same: --no-check"))
                .into());
        }
    };
    let found = shown.fingerprint;
    match (&shown.verdict, remote.fingerprint) {
        (Verdict::Vouched, _) => {}
        (_, Some(pinned)) if pinned == found || remote.fingerprint_next == Some(found) => {}
        (_, Some(pinned)) => {
            eprintln!(
                "warning: the server's certificate has the fingerprint {found}, not {pinned}; nothing will be sent to it"
            );
            return Ok(());
        }
        (_, None) if answer == Answer::Nobody => {
            eprintln!(
                "warning: the server's certificate is not trusted; compare its fingerprint with what `cert info` shows \
                 there, then: backup-manager remote update {} --fingerprint {found}",
                remote.name
            );
            return Ok(());
        }
        (Verdict::Untrusted(reason), None) => {
            describe(&address.to_string(), &shown, reason);
            if answer == Answer::Ask && !confirmed()? {
                return Err(Hinted::new("the certificate was not accepted; no remote was added")
                    .hint("compare the fingerprint with what `cert info` shows on that server")
                    .into());
            }
            remote.fingerprint = Some(found);
        }
        (Verdict::Pinned(_), None) => {}
    }
    let (server, _) = jobs::open_as_configured(&ctx.paths, remote, timeouts)?;
    if let Err(error) = server.version().await {
        warn(remote, &error.into());
    }
    Ok(())
}

fn warn(remote: &RemoteConfig, error: &anyhow::Error) {
    eprintln!("warning: {}; see: backup-manager remote check {}", errors::one_line(error), remote.name);
}

/// Shows a certificate on standard error. Its texts are the server's, so nothing in them may reach the terminal raw.
fn describe(address: &str, shown: &ShownCertificate, reason: &str) {
    eprintln!("The certificate of {address} is not vouched for by this system ({reason}):");
    if let Ok(info) = config::cert::info_of_der("certificate", &shown.der) {
        eprintln!("  Subject:     {}", plain(&info.subject));
        eprintln!("  Issuer:      {}", plain(&info.issuer));
        eprintln!("  Valid:       {} to {}", human::local_time(info.notbefore), human::local_time(info.notafter));
    }
    eprintln!("  Fingerprint: {}", shown.fingerprint);
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Asks whether to trust; anything but yes is no.
fn confirmed() -> Result<bool> {
    eprint!("Compare the fingerprint with what `cert info` shows on that server. Trust it? (y/N) ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
