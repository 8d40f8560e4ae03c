//! `pull`.

use anyhow::Result;
use formats::{JobId, RemoteName, StoreName};

use crate::context::Context;
use crate::options::{Direction, OwnerOption, Pairs, ResyncOption, RunOptions, SyncOptions};
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Remote to copy from
    #[arg(value_name = "REMOTE")]
    remote: RemoteName,

    /// Datastore there
    #[arg(value_name = "REMOTE-STORE")]
    remote_store: StoreName,

    /// Datastore of this host to copy into
    #[arg(value_name = "STORE")]
    store: StoreName,

    #[command(flatten)]
    options: SyncOptions,

    #[command(flatten)]
    resync: ResyncOption,

    #[command(flatten)]
    owner: OwnerOption,

    /// Decrypt snapshots under this key of `encryption-key list` (repeatable)
    #[arg(long, value_name = "KEY", help_heading = "What to copy")]
    decryption_key: Vec<JobId>,

    #[command(flatten)]
    run: RunOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("store", Some(self.store));
        pairs.put("remote", Some(self.remote));
        pairs.put("remote-store", Some(self.remote_store));
        Direction::Pull.add_to(&mut pairs);
        self.options.add_to(&mut pairs);
        self.resync.add_to(&mut pairs);
        self.owner.add_to(&mut pairs);
        pairs.put_all("associated-key", &self.decryption_key);
        let job = config::from_pairs(jobs::ADHOC, pairs.as_slice())?;
        crate::job_output::run_or_forecast(ctx, &job, jobs::Kind::Adhoc, self.run.dry_run, self.run.this_run())
    }
}
