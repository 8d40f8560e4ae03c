//! `relay`.

use anyhow::Result;
use formats::{JobId, Namespace, RemoteName, StoreName};

use crate::context::Context;
use crate::options::{Direction, Pairs, RuleOptions, RunOptions};
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Remote to copy from
    #[arg(value_name = "REMOTE")]
    from_remote: RemoteName,

    /// Datastore there
    #[arg(value_name = "STORE")]
    from_store: StoreName,

    /// Remote to copy to
    #[arg(value_name = "TO-REMOTE")]
    to_remote: RemoteName,

    /// Datastore there
    #[arg(value_name = "TO-STORE")]
    to_store: StoreName,

    /// Start from this namespace of the first datastore [default: the root]
    #[arg(long, value_name = "NS", help_heading = "What to copy")]
    source_ns: Option<Namespace>,

    /// Copy into this namespace of the second datastore [default: the root]
    #[arg(long, value_name = "NS", help_heading = "What to copy")]
    target_ns: Option<Namespace>,

    #[command(flatten)]
    rules: RuleOptions,

    /// Encrypt plain snapshots with this key of `encryption-key list`
    #[arg(long, value_name = "KEY", help_heading = "What to copy", conflicts_with = "decryption_key")]
    encryption_key: Option<JobId>,

    /// Decrypt snapshots under this key of `encryption-key list` (repeatable)
    #[arg(long, value_name = "KEY", help_heading = "What to copy")]
    decryption_key: Vec<JobId>,

    #[command(flatten)]
    run: RunOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let mut pairs = Pairs::default();
        pairs.put("store", Some(self.from_store));
        pairs.put("remote", Some(self.to_remote));
        pairs.put("remote-store", Some(self.to_store));
        Direction::Push.add_to(&mut pairs);
        pairs.put("ns", self.source_ns.filter(|ns| !ns.is_root()));
        pairs.put("remote-ns", self.target_ns.filter(|ns| !ns.is_root()));
        self.rules.add_to(&mut pairs);
        pairs.put("active-encryption-key", self.encryption_key);
        pairs.put_all("associated-key", &self.decryption_key);
        let relay = jobs::Relay { from: self.from_remote, job: config::from_pairs(jobs::ADHOC, pairs.as_slice())? };
        let this_run = self.run.this_run();
        if self.run.dry_run {
            return crate::forecast_output::run(ctx, async |control| {
                jobs::forecast_relay(&ctx.paths, &relay, this_run, control).await
            });
        }
        crate::job_output::run(ctx, false, async |caller| {
            let report = jobs::run_relay(&ctx.paths, &relay, this_run, caller).await?;
            Ok(jobs::RunEnd::Done(Box::new(report)))
        })
    }
}
