//! `encryption-key archive`.

use anyhow::Result;
use config::ConfigDigest;
use formats::JobId;

use crate::args::parse_bool;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key
    #[arg(value_name = "ID")]
    id: JobId,

    /// Take an archived key back into use [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    undo: Option<bool>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.id)?;
        let archived_at = if self.undo == Some(true) { None } else { Some(tasks::now()) };
        config::encryption_keys::set_archived(&ctx.paths, &self.id, archived_at, self.digest.as_ref())?;
        Ok(Outcome::Done)
    }
}
