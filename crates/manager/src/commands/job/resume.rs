//! `job resume`.

use anyhow::Result;
use tasks::control::Request;

use super::Which;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        self.which.order(ctx, &Request::Resume)
    }
}
