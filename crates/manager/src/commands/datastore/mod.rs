//! `datastore`: the commands below it.

use anyhow::Result;
use clap::Subcommand;
use config::DatastoreConfig;
use formats::{StoreName, UserId};

use crate::args::parse_bool;
use crate::context::Context;
use crate::errors::unknown;
use crate::options::{Pairs, comment};
use crate::outcome::Outcome;

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod update;

/// The commands below `datastore`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a datastore, or take over an existing one
    Create(create::Args),
    /// List the datastores
    List(list::Args),
    /// Show the settings of a datastore
    Show(show::Args),
    /// Change the settings of a datastore
    Update(update::Args),
    /// Forget a datastore; its data stays where it is
    Remove(remove::Args),
    /// Show the space and the content of datastores
    Status(status::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Create(args) => args.run(ctx),
            Self::List(args) => args.run(ctx),
            Self::Show(args) => args.run(ctx),
            Self::Update(args) => args.run(ctx),
            Self::Remove(args) => args.run(ctx),
            Self::Status(args) => args.run(ctx),
        }
    }
}

/// Settings of a datastore that can change.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Remark of at most 128 characters
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,

    /// Collect garbage at these times, for example daily
    #[arg(long, value_name = "EVENT")]
    gc_schedule: Option<String>,

    /// Verify new snapshots at once [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    verify_new: Option<bool>,

    /// Tune, for example sync-level=file,gc-atime-cutoff=1445
    #[arg(long, value_name = "KEY=VALUE,...")]
    tuning: Option<String>,

    /// Refuse use: read-only or offline, for example offline,message=disk-swap
    #[arg(long, value_name = "MODE")]
    maintenance_mode: Option<String>,

    /// Tell this user what happens, by default root@pam
    #[arg(long, value_name = "USERID")]
    notify_user: Option<UserId>,

    /// Tell about these, for example gc=error,sync=always
    #[arg(long, value_name = "KEY=VALUE,...")]
    notify: Option<String>,

    /// Notify by legacy-sendmail or notification-system
    #[arg(long, value_name = "MODE")]
    notification_mode: Option<String>,
}

impl Settings {
    fn add_to(&self, pairs: &mut Pairs) {
        pairs.put("comment", self.comment.as_ref());
        pairs.put("gc-schedule", self.gc_schedule.as_ref());
        pairs.put("verify-new", self.verify_new);
        pairs.put("tuning", self.tuning.as_ref());
        pairs.put("maintenance-mode", self.maintenance_mode.as_ref());
        pairs.put("notify-user", self.notify_user.as_ref());
        pairs.put("notify", self.notify.as_ref());
        pairs.put("notification-mode", self.notification_mode.as_ref());
    }
}

/// The datastore of this name; an error that names the datastores there are.
fn known(ctx: &Context, name: &StoreName) -> Result<DatastoreConfig> {
    let stores = config::datastores::load(&ctx.paths)?;
    if let Some(store) = stores.find(name) {
        return Ok(store.clone());
    }
    crate::problems::tell(&stores.problems);
    Err(unknown("datastore", name, stores.entries.iter().map(|store| &store.name)).into())
}
