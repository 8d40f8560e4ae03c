//! `config export`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Write files for Proxmox Backup Server into DIR, which has none of them yet
    #[arg(long, value_name = "DIR")]
    pbs: PathBuf,
}

const COLUMNS: [Column; 4] =
    [Column::new("file"), Column::new("entry"), Column::new("property"), Column::new("reason")];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let dir = std::path::absolute(&self.pbs).with_context(|| format!("cannot use {}", self.pbs.display()))?;
        let made = config::pbs::export(&ctx.paths)?;
        made.write(&dir)?;
        if ctx.out.is_text() {
            for file in &made.files {
                ctx.out.line(&dir.join(&file.path).display().to_string())?;
            }
            if !made.left_out.is_empty() {
                ctx.out.line("Left out, as a stock server does not know it:")?;
                ctx.out.list(&COLUMNS, &made.left_out)?;
            }
            for what in &made.to_do {
                ctx.out.line(&format!("* {what}"))?;
            }
        } else {
            let files: Vec<PathBuf> = made.files.iter().map(|file| dir.join(&file.path)).collect();
            ctx.out.json(&json!({ "files": files, "left-out": made.left_out, "to-do": made.to_do }))?;
        }
        Ok(if made.left_out.is_empty() { Outcome::Done } else { Outcome::Warnings })
    }
}
