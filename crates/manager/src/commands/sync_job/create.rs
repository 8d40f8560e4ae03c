//! `sync-job create`.

use anyhow::Result;
use config::SyncJobConfig;
use formats::{JobId, RemoteName, StoreName};

use crate::context::Context;
use crate::options::{Direction, JobOptions, OwnerOption, Pairs, ResyncOption, SyncOptions};
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job
    #[arg(value_name = "ID")]
    id: JobId,

    /// Datastore of this host: the target of a pull, the source of a push
    #[arg(long, value_name = "STORE")]
    store: StoreName,

    /// Remote to pull from or push to [default: none, both datastores are of this host]
    #[arg(long, value_name = "REMOTE")]
    remote: Option<RemoteName>,

    /// The other datastore
    #[arg(long, value_name = "STORE")]
    remote_store: StoreName,

    /// Copy into the local datastore (pull) or from it (push) [default: pull]
    #[arg(long, value_name = "DIRECTION", value_enum)]
    sync_direction: Option<Direction>,

    #[command(flatten)]
    options: SyncOptions,

    #[command(flatten)]
    resync: ResyncOption,

    #[command(flatten)]
    owner: OwnerOption,

    #[command(flatten)]
    job: JobOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("store", Some(&self.store));
        pairs.put("remote", self.remote.as_ref());
        pairs.put("remote-store", Some(&self.remote_store));
        if let Some(direction) = self.sync_direction {
            direction.add_to(&mut pairs);
        }
        self.options.add_to(&mut pairs);
        self.resync.add_to(&mut pairs);
        self.owner.add_to(&mut pairs);
        self.job.add_to(&mut pairs);
        let job: SyncJobConfig = config::from_pairs(self.id.as_str(), pairs.as_slice())?;
        config::sync_jobs::create(&ctx.paths, &job)?;
        super::made(ctx, &job.id);
        super::warn_of_missing(ctx, &job)?;
        Ok(Outcome::Done)
    }
}
