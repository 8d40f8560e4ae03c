//! `relay`.

use std::num::NonZeroU64;

use anyhow::Result;
use config::ByteSize;
use formats::{FilterSet, GroupFilter, Namespace, RemoteName, StoreName};
use replication::{Direction, JobOptions};

use crate::context::Context;
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
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    source_ns: Namespace,

    /// Copy into this namespace of the second datastore [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    target_ns: Namespace,

    /// Go down at most this many levels of namespaces; 0 is the start only [default: all]
    #[arg(long, value_name = "0..7", value_parser = clap::value_parser!(u8).range(0..=7))]
    max_depth: Option<u8>,

    /// Copy only groups that pass: [include:|exclude:]type:vm|ct|host, group:TYPE/ID or regex:EXPR (repeatable)
    #[arg(long, value_name = "FILTER")]
    group_filter: Vec<GroupFilter>,

    /// Copy only the newest N snapshots of each group [default: all]
    #[arg(long, value_name = "N")]
    transfer_last: Option<NonZeroU64>,

    /// Limit bytes received from the first remote per second [default: no limit]
    #[arg(long, value_name = "BYTES")]
    rate_in: Option<ByteSize>,

    /// Limit bytes sent to the second remote per second [default: no limit]
    #[arg(long, value_name = "BYTES")]
    rate_out: Option<ByteSize>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let request = jobs::RelayRequest {
            from: (self.from_remote, self.from_store),
            to: (self.to_remote, self.to_store),
            options: JobOptions {
                source_ns: self.source_ns,
                target_ns: self.target_ns,
                max_depth: self.max_depth.map(usize::from),
                group_filter: FilterSet::new(self.group_filter),
                transfer_last: self.transfer_last,
                ..JobOptions::new(Direction::Push, tasks::superuser())
            },
            rate_in: self.rate_in.as_ref().and_then(ByteSize::as_bytes_per_second),
            rate_out: self.rate_out.as_ref().and_then(ByteSize::as_bytes_per_second),
        };
        crate::job_output::run(ctx, false, async |caller| {
            let report = jobs::run_relay(&ctx.paths, request, caller).await?;
            Ok(jobs::RunEnd::Done(Box::new(report)))
        })
    }
}
