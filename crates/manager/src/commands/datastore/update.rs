//! `datastore update`.

use anyhow::Result;
use config::ConfigDigest;
use formats::StoreName;

use super::Settings;
use crate::context::Context;
use crate::options::Pairs;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the datastore
    #[arg(value_name = "NAME")]
    name: StoreName,

    #[command(flatten)]
    settings: Settings,

    /// Unset this property (repeatable)
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
        self.settings.add_to(&mut pairs);
        config::datastores::update(&ctx.paths, &self.name, self.digest.as_ref(), |store| {
            *store = config::patch(store, pairs.as_slice(), &self.delete)?;
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
