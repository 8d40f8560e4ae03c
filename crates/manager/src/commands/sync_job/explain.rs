//! `sync-job explain`.

use anyhow::Result;
use formats::{JobId, Namespace, SnapshotId};
use replication::{Explained, Explanation, Presence, Verdict};

use crate::context::Context;
use crate::errors::Hinted;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the job
    #[arg(value_name = "ID")]
    id: JobId,

    /// The snapshot
    #[arg(value_name = "TYPE/ID/TIME")]
    snapshot: SnapshotId,

    /// Its namespace at the source [default: where the job begins]
    #[arg(long, value_name = "NS")]
    ns: Option<Namespace>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let job = super::known(ctx, &self.id)?;
        let explained =
            ctx.block_on(async { Ok(jobs::explain_sync(&ctx.paths, &job, self.ns.as_ref(), &self.snapshot).await?) })?;
        match explained {
            Explained::Known(explanation) if ctx.out.is_text() => ctx.out.line(&text(&explanation))?,
            Explained::Known(explanation) => ctx.out.json(&explanation)?,
            Explained::Nowhere { before, after } => {
                let near: Vec<String> = before.into_iter().chain(after).map(|time| time.to_string()).collect();
                let hint = if near.is_empty() {
                    "neither end has a snapshot of this group there; check type, id and --ns".to_owned()
                } else {
                    format!("the nearest of its group: {}", near.join(", "))
                };
                let what = format!("snapshot {} is at neither end of job '{}'", self.snapshot, self.id);
                return Err(Hinted::new(what).hint(hint).into());
            }
        }
        Ok(Outcome::Done)
    }
}

/// The answer for people: where the snapshot is, what each rule says, what happens in the end.
fn text(explanation: &Explanation) -> String {
    let Explanation { snapshot, source_ns, at_source, at_target, action, reason, .. } = explanation;
    let mut lines = vec![
        format!("snapshot:  {}", crate::progress::place(source_ns, snapshot)),
        format!("at source: {}", presence(*at_source)),
        format!("at target: {}", presence(*at_target)),
    ];
    for finding in &explanation.rules {
        let verdict = match finding.verdict {
            Verdict::Passed => "passed",
            Verdict::Decided => "DECIDED",
            Verdict::NotUsed => "not used",
            Verdict::NotReached => continue,
        };
        lines.push(format!("  {:<15}  {verdict:<8}  {}", finding.rule.name(), finding.says));
    }
    lines.push(format!("result:    {action} - {reason}"));
    if let (Some(what), Some(why)) = (explanation.source_action, explanation.source_reason) {
        lines.push(format!("at source: {what} - {why}"));
    }
    lines.extend(explanation.remedy.iter().map(|remedy| format!("to change: {remedy}")));
    // What a server sends must not reach the terminal raw.
    let plain = |line: String| line.chars().filter(|c| !c.is_control()).collect::<String>();
    lines.into_iter().map(plain).collect::<Vec<_>>().join("\n")
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Finished => "there",
        Presence::Unfinished => "there, unfinished",
        Presence::Unreadable => "there, but its manifest cannot be read",
        Presence::Absent => "not there",
        Presence::Unknown => "not known",
    }
}
