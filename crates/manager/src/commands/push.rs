//! `push`.

use anyhow::Result;
use formats::{JobId, RemoteName, StoreName};

use crate::context::Context;
use crate::options::{Direction, Pairs, RunOptions, SyncOptions};
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host to copy from
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// Remote to copy to
    #[arg(value_name = "REMOTE")]
    remote: RemoteName,

    /// Datastore there
    #[arg(value_name = "REMOTE-STORE")]
    remote_store: StoreName,

    #[command(flatten)]
    options: SyncOptions,

    /// Encrypt plain snapshots with this key of `encryption-key list`
    #[arg(long, value_name = "KEY", help_heading = "What to copy")]
    encryption_key: Option<JobId>,

    #[command(flatten)]
    run: RunOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("store", Some(self.store));
        pairs.put("remote", Some(self.remote));
        pairs.put("remote-store", Some(self.remote_store));
        Direction::Push.add_to(&mut pairs);
        self.options.add_to(&mut pairs);
        pairs.put("active-encryption-key", self.encryption_key);
        let job = config::from_pairs(jobs::ADHOC, pairs.as_slice())?;
        crate::job_output::run_or_forecast(ctx, &job, jobs::Kind::Adhoc, self.run.dry_run, self.run.this_run())
    }
}
