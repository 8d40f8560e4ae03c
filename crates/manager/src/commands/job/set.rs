//! `job set`.

use anyhow::Result;
use tasks::control::Request;

use super::Which;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("rates").required(true).multiple(true).args(["rate_in", "rate_out"])))]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Limit received bytes per second, for example 2MiB; 0 or unlimited for no limit
    #[arg(long, value_name = "BYTES")]
    rate_in: Option<String>,

    /// Limit sent bytes per second, for example 2MiB; 0 or unlimited for no limit
    #[arg(long, value_name = "BYTES")]
    rate_out: Option<String>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        self.which.order(ctx, &Request::Set { rate_in: self.rate_in, rate_out: self.rate_out })
    }
}
