//! `scheduler`: the commands below it, and how they start jobs.

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use formats::JobId;
use jobs::Surroundings;
use jobs::scheduler::{Children, Reason, Starter, Systemctl, Tick, TickReport};
use nix::unistd::geteuid;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::write_stdout;
use crate::privileges::{self, Identity};

mod delegate;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod tick;

/// Present where systemd is the service manager.
const SYSTEMD: &str = "/run/systemd/system";

/// The commands below `scheduler`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look once which jobs are due, and start them
    Tick(tick::Args),
    /// Look every minute, and whenever something is due or asked for, until told to stop
    Run(run::Args),
    /// Show every job with its last run, its next one, and why it does not run
    Status(status::Args),
}

impl Command {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Tick(args) => args.run(ctx),
            Self::Run(args) => args.run(ctx),
            Self::Status(args) => args.run(ctx),
        }
    }

    /// Whether the command needs the rights it was started with: only root may start units.
    pub(crate) fn keeps_root(&self) -> bool {
        match self {
            Self::Tick(tick::Args { start }) | Self::Run(run::Args { start }) => start.with() == StartWith::Systemctl,
            Self::Status(_) => false,
        }
    }
}

/// How jobs are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StartWith {
    /// As units, by `systemctl start backup-manager-job@ID.service`.
    Systemctl,
    /// As child processes that go on when the scheduler ends.
    Child,
    /// By the process that started this one, which is told on standard output.
    #[value(hide = true)]
    Parent,
}

/// How jobs are started.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct StartArgs {
    /// Start jobs as units or as child processes [default: systemctl for root under systemd without --root, else child]
    #[arg(long, value_name = "HOW", value_enum)]
    start_with: Option<StartWith>,
}

impl StartArgs {
    /// As it was given, else as fits the host; a root of its own is dealt with by [`StartArgs::for_context`].
    fn with(self) -> StartWith {
        let units = || geteuid().is_root() && Path::new(SYSTEMD).is_dir();
        self.start_with.unwrap_or_else(|| if units() { StartWith::Systemctl } else { StartWith::Child })
    }

    fn for_context(self, ctx: &Context) -> StartWith {
        match self.start_with {
            None if ctx.own_root => StartWith::Child,
            _ => self.with(),
        }
    }
}

/// What starts jobs here.
enum Start {
    /// This process does.
    Here(Box<dyn Starter>),
    /// This process, with the rights of root, does it for one that decides without them.
    Delegated,
}

fn starter(ctx: &Context, args: StartArgs) -> Result<Start> {
    Ok(match args.for_context(ctx) {
        StartWith::Parent => Start::Here(Box::new(Parent)),
        StartWith::Child => {
            let program = std::env::current_exe().context("cannot tell where this program is")?;
            Start::Here(Box::new(Children { program, root: ctx.root.clone() }))
        }
        StartWith::Systemctl => match privileges::identity(ctx.own_root, ctx.paths.etc())? {
            Identity::Stay => Start::Here(Box::new(Systemctl)),
            Identity::Become(..) => Start::Delegated,
        },
    })
}

/// Has the process that started this one start the job.
struct Parent;

impl Starter for Parent {
    fn start(&self, job: &JobId, reason: &Reason) -> io::Result<()> {
        write_stdout(format!("{job} {reason}\n").as_bytes()).map_err(io::Error::other)
    }
}

/// One tick, now.
async fn tick(ctx: &Context, starter: &dyn Starter) -> Result<Option<TickReport>> {
    let zone = zone();
    let tick = Tick { paths: &ctx.paths, zone, clock: &tasks::now, starter, around: &Surroundings::default() };
    Ok(tick.run().await?)
}

/// The time zone of the host, read anew each time.
fn zone() -> jobs::HostZone {
    jobs::host_zone(std::env::var("TZ").ok().as_deref())
}

/// Says aloud what a tick found that the one before did not know.
fn tell(report: &TickReport) {
    for id in &report.died {
        eprintln!("warning: the last run of job {id} died; it is recorded as failed");
    }
    for problem in &report.news {
        eprintln!("warning: {problem}");
    }
}
