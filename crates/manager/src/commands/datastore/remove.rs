//! `datastore remove`.

use anyhow::Result;
use config::ConfigDigest;
use config::datastores::JobConfigs;
use formats::StoreName;

use crate::args::parse_bool;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the datastore
    #[arg(value_name = "NAME")]
    name: StoreName,

    /// Keep the sync jobs of the datastore [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    keep_job_configs: Option<bool>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        super::known(ctx, &self.name)?;
        let jobs = if self.keep_job_configs == Some(true) { JobConfigs::Keep } else { JobConfigs::Remove };
        let removed = config::datastores::remove(&ctx.paths, &self.name, self.digest.as_ref(), jobs)?;
        for job in &removed.removed_jobs {
            eprintln!("removed its sync job '{job}'");
        }
        for job in &removed.jobs_left {
            eprintln!("warning: sync job '{job}' still names it");
        }
        eprintln!("the data stays in {}", removed.config.path.display());
        Ok(Outcome::Done)
    }
}
