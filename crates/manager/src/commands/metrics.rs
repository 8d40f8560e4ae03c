//! `metrics`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jobs::health::{Look, judge, survey};
use jobs::metrics::{Detail, Exposition, add, rooms};

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::write_stdout;

/// Mode of the written file: its readers run as somebody else.
const MODE: u32 = 0o644;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Write them to FILE, all at once, for the textfile collector of node_exporter [default: standard output]
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,

    /// Add a series for each group
    #[arg(long)]
    per_group: bool,

    /// Ask the other servers for the age of pushed copies [default: judge pushes by their last good run]
    #[arg(long)]
    online: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let zone = jobs::host_zone(std::env::var("TZ").ok().as_deref()).zone;
        let look = if self.online { Look::Everywhere } else { Look::Here };
        let facts = ctx.block_on(async { Ok(survey(&ctx.paths, None, look, zone).await?) })?;
        let mut text = Exposition::default();
        let detail = if self.per_group { Detail::Groups } else { Detail::Jobs };
        add(&mut text, &facts, &judge(&facts, tasks::now()), &rooms(&ctx.paths), detail);
        match self.textfile {
            None => write_stdout(text.finish().as_bytes())?,
            Some(file) => {
                let file = std::path::absolute(&file).with_context(|| format!("cannot use {}", file.display()))?;
                config::replace_file(&file, text.finish().as_bytes(), MODE)?;
            }
        }
        Ok(Outcome::Done)
    }
}
