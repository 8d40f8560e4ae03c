//! `sync-job update`.

use anyhow::Result;
use config::ConfigDigest;
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
    store: Option<StoreName>,

    /// Remote to pull from or push to
    #[arg(long, value_name = "REMOTE")]
    remote: Option<RemoteName>,

    /// The other datastore
    #[arg(long, value_name = "STORE")]
    remote_store: Option<StoreName>,

    /// Copy into the local datastore (pull) or from it (push)
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

    /// Unset this property (repeatable)
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("store", self.store.as_ref());
        pairs.put("remote", self.remote.as_ref());
        pairs.put("remote-store", self.remote_store.as_ref());
        if let Some(direction) = self.sync_direction {
            direction.add_to(&mut pairs);
        }
        self.options.add_to(&mut pairs);
        self.resync.add_to(&mut pairs);
        self.owner.add_to(&mut pairs);
        self.job.add_to(&mut pairs);
        let mut delete = self.delete;
        delete.extend(self.options.unset());
        super::known(ctx, &self.id)?;
        let consequence = config::sync_jobs::update(&ctx.paths, &self.id, self.digest.as_ref(), |job| {
            *job = config::patch(job, pairs.as_slice(), &delete)?;
            Ok(())
        })?;
        if consequence == Some(config::Consequence::ModeReset) {
            eprintln!("warning: the direction changed, so transfer-mode is `copy` now and nothing is removed");
        }
        super::warn_of_missing(ctx, &config::sync_jobs::get(&ctx.paths, &self.id)?)?;
        Ok(Outcome::Done)
    }
}
