//! `remote create`.

use anyhow::Result;
use config::RemoteConfig;
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
    host: String,

    /// User or token to log in as, for example sync@pbs!token
    #[arg(long, value_name = "AUTH-ID")]
    auth_id: AuthId,

    /// Read the password or token secret from this file, or from standard input for -
    #[arg(long, value_name = "FILE|-")]
    password_file: SecretSource,

    #[command(flatten)]
    settings: Settings,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("host", Some(&self.host));
        pairs.put("auth-id", Some(&self.auth_id));
        pairs.put("password", Some(self.password_file.read()?));
        self.settings.add_to(&mut pairs);
        let remote: RemoteConfig = config::from_pairs(self.name.as_str(), pairs.as_slice())?;
        config::remotes::create(&ctx.paths, &remote)?;
        Ok(Outcome::Done)
    }
}
