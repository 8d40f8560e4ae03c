//! `config import`.

use std::path::PathBuf;

use anyhow::Result;
use config::pbs::{Fate, ImportOptions, Imported, import};
use serde_json::Value;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Read the files in DIR
    #[arg(long, value_name = "DIR", default_value = "/etc/proxmox-backup")]
    from: PathBuf,

    /// Say what would be taken over, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Take jobs over disabled, to look at each before it runs
    #[arg(long)]
    disable_jobs: bool,
}

const COLUMNS: [Column; 4] =
    [Column::new("file"), Column::new("entry"), Column::new("fate"), Column::with("notes", joined)];

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let options = ImportOptions { dry_run: self.dry_run, disable_jobs: self.disable_jobs, now: tasks::now() };
        let done = import(&ctx.paths, &self.from, options)?;
        if ctx.out.is_text() {
            ctx.out.list(&COLUMNS, &done.entries)?;
            if !done.to_do.is_empty() {
                ctx.out.line("Left to do:")?;
            }
            for what in &done.to_do {
                ctx.out.line(&format!("* {what}"))?;
            }
        } else {
            ctx.out.json(&done)?;
        }
        Ok(outcome(&done))
    }
}

/// What could not be taken over, though it could have an effect here, is to be looked at.
fn outcome(done: &Imported) -> Outcome {
    let skipped = done.entries.iter().any(|line| line.fate == Fate::Skipped && !line.entry.is_empty());
    if skipped { Outcome::Warnings } else { Outcome::Done }
}

fn joined(value: &Value) -> String {
    let notes: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    notes.join("; ")
}
