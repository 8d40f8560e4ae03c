//! `encryption-key show`.

use anyhow::Result;
use formats::JobId;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the key
    #[arg(value_name = "ID")]
    id: JobId,
}

const KINDS: [Column; 3] = [Column::time("created"), Column::time("modified"), Column::time("archived-at")];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        ctx.out.record(&KINDS, &super::known(ctx, &self.id)?)?;
        Ok(Outcome::Done)
    }
}
