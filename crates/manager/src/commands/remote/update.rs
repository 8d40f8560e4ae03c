//! `remote update`.

use anyhow::Result;
use config::ConfigDigest;
use formats::{AuthId, RemoteName};

use super::Settings;
use crate::args::SecretSource;
use crate::context::Context;
use crate::options::Pairs;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,

    /// Host name or address
    #[arg(long, value_name = "HOST")]
    host: Option<String>,

    /// User or token to log in as, for example sync@pbs!token
    #[arg(long, value_name = "AUTH-ID")]
    auth_id: Option<AuthId>,

    /// Read the password or token secret from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<SecretSource>,

    #[command(flatten)]
    settings: Settings,

    /// Unset this property: comment, fingerprint, fingerprint-next, port or use-node-proxy (repeatable)
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.name)?;
        let mut pairs = Pairs::default();
        pairs.put("host", self.host.as_deref().map(super::bare_host));
        pairs.put("auth-id", self.auth_id.as_ref());
        pairs.put("password", self.password_file.as_ref().map(SecretSource::read).transpose()?);
        self.settings.add_to(&mut pairs);
        config::remotes::update(&ctx.paths, &self.name, self.digest.as_ref(), |remote| {
            *remote = config::patch(remote, pairs.as_slice(), &self.delete)?;
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
