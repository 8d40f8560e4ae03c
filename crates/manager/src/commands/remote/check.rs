//! `remote check`.

use std::time::SystemTime;

use anyhow::Result;
use formats::{RemoteName, StoreName};
use jobs::{CheckStep, RemoteCheck, StepState, StoreRights};

use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the remote
    #[arg(value_name = "NAME")]
    name: RemoteName,

    /// Look at our rights in this datastore there (repeatable) [default: all that we see]
    #[arg(long = "store", value_name = "STORE")]
    stores: Vec<StoreName>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let check = ctx
            .block_on(async { Ok(jobs::check_remote(&ctx.paths, &self.name, &self.stores, SystemTime::now).await?) })?;
        if ctx.out.is_text() {
            ctx.out.line(&text(&check))?;
        } else {
            ctx.out.json(&check)?;
        }
        Ok(if check.ok { Outcome::Done } else { Outcome::Failed })
    }
}

/// One line for each step, with what to do below those that need it.
fn text(check: &RemoteCheck) -> String {
    let mut lines = Vec::new();
    for step in &check.steps {
        let state = match step.state {
            StepState::Ok => "ok",
            StepState::Warning => "warning",
            StepState::Failed => "FAILED",
        };
        lines.push(format!("{:<10}  {state:<7}  {}", name(step.step), step.message));
        lines.extend(step.hint.iter().map(|hint| format!("{:21}what to do: {hint}", "")));
        if step.step == CheckStep::Privileges {
            lines.extend(check.datastores.iter().map(|rights| format!("{:21}{}", "", rights_text(rights))));
        }
    }
    // What a server sends must not reach the terminal raw.
    let plain = |line: String| line.chars().filter(|c| !c.is_control()).collect::<String>();
    lines.into_iter().map(plain).collect::<Vec<_>>().join("\n")
}

fn name(step: CheckStep) -> &'static str {
    match step {
        CheckStep::Name => "name",
        CheckStep::Port => "port",
        CheckStep::Tls => "tls",
        CheckStep::Login => "login",
        CheckStep::Version => "version",
        CheckStep::Privileges => "privileges",
        CheckStep::Clock => "clock",
    }
}

fn rights_text(rights: &StoreRights) -> String {
    let pull = match rights.pull {
        "all" => "pull: all groups",
        "own" => "pull: own groups only (all need DatastoreReader)",
        _ => "pull: no (needs DatastoreReader)",
    };
    let moves = match rights.pull_move {
        "all" => "move away: all groups",
        "own" => "move away: own groups only (all need DatastoreAdmin)",
        _ => "move away: no (own groups need DatastorePowerUser, all need DatastoreAdmin)",
    };
    let push = match (rights.push, rights.push_remove, rights.push_namespaces) {
        (false, ..) => "push: no (needs DatastoreBackup)",
        (true, true, true) => "push: yes, also removals and new namespaces",
        (true, true, false) => "push: yes, also removals; new namespaces need DatastoreAdmin",
        (true, false, true) => "push: yes, also new namespaces; removals need DatastorePowerUser",
        (true, false, false) => "push: yes; removals need DatastorePowerUser, new namespaces DatastoreAdmin",
    };
    let mut text = format!("{}  {pull}  {push}  {moves}", rights.store);
    if !rights.namespaces.is_empty() {
        text.push_str(&format!("  with rights of their own: {}", rights.namespaces.join(", ")));
    }
    text
}
