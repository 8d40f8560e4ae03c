//! `remote`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use config::RemoteConfig;
use formats::{Fingerprint, RemoteName};

use crate::args::parse_bool;
use crate::context::Context;
use crate::errors::unknown;
use crate::options::{Pairs, comment};
use crate::outcome::Outcome;

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod scan;
pub(crate) mod show;
pub(crate) mod update;

/// The commands below `remote`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a remote
    Create(create::Args),
    /// List the remotes
    List(list::Args),
    /// Show the settings of a remote
    Show(show::Args),
    /// Change the settings of a remote
    Update(update::Args),
    /// Remove a remote that no sync job names
    Remove(remove::Args),
    /// Walk the way to a remote and say what to do at the first step that fails
    Check(check::Args),
    /// Ask a remote for its datastores, namespaces and groups
    Scan(scan::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Show(args) => args.run(ctx),
            Self::Update(args) => args.run(ctx),
            Self::Remove(args) => args.run(ctx),
            Self::Check(args) => args.run(ctx),
            Self::Scan(args) => args.run(ctx),
        }
    }
}

/// Settings that a remote can do without.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Port [default: 8007]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Trust the certificate with this SHA-256 fingerprint [default: trust the system's authorities]
    #[arg(long, value_name = "FP")]
    fingerprint: Option<Fingerprint>,

    /// Also trust this one, which the certificate will have after a planned renewal
    #[arg(long, value_name = "FP")]
    fingerprint_next: Option<Fingerprint>,

    /// Go through `[node] http-proxy` of backup-server.conf instead of the proxy of the environment [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    use_node_proxy: Option<bool>,

    /// Remark of at most 128 characters
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,
}

impl Settings {
    fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("port", self.port);
        pairs.put("fingerprint", self.fingerprint.as_ref());
        pairs.put("fingerprint-next", self.fingerprint_next.as_ref());
        pairs.put("use-node-proxy", self.use_node_proxy);
        pairs.put("comment", self.comment.as_ref());
    }
}

/// A host as the file has it: brackets around an IPv6 address are for addresses with a port.
fn bare_host(text: &str) -> String {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok()).unwrap_or(text).to_owned()
}

/// The remote of this name; an error that names the remotes there are.
fn known(ctx: &Context, name: &RemoteName) -> Result<RemoteConfig> {
    let remotes = config::remotes::load(&ctx.paths)?;
    if let Some(remote) = remotes.find(name) {
        return Ok(remote.clone());
    }
    crate::problems::tell(&remotes.problems);
    Err(unknown("remote", name, remotes.entries.iter().map(|remote| &remote.name)).into())
}
