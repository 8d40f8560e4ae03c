//! The commands, one file each: an `Args` struct whose comments are the help, and a short `run`.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

pub(crate) mod acl;
pub(crate) mod backup;
pub(crate) mod cert;
pub(crate) mod config;
pub(crate) mod datastore;
pub(crate) mod encryption_key;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod job;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod relay;
pub(crate) mod remote;
pub(crate) mod restore;
pub(crate) mod schedule;
pub(crate) mod scheduler;
pub(crate) mod snapshot;
pub(crate) mod sync_job;
pub(crate) mod task;
pub(crate) mod user;

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage datastores of this host
    #[command(subcommand)]
    Datastore(datastore::Command),
    /// Manage the other servers that jobs pull from and push to
    #[command(subcommand)]
    Remote(remote::Command),
    /// Manage and run sync jobs
    #[command(subcommand, name = "sync-job")]
    SyncJob(Box<sync_job::Command>),
    /// Look at and steer runs that are under way
    #[command(subcommand)]
    Job(job::Command),
    /// Tell whether every job does what it is for: the age of its copies against its objective
    Health(health::Args),
    /// Print metrics of jobs and datastores for Prometheus
    Metrics(metrics::Args),
    /// Look at the schedules of jobs
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Start jobs by themselves, and see when and why
    #[command(subcommand)]
    Scheduler(scheduler::Command),
    /// Look at what runs and ran on this host, and stop it
    #[command(subcommand)]
    Task(task::Command),
    /// Manage the keys that sync jobs encrypt and decrypt with
    #[command(subcommand, name = "encryption-key")]
    EncryptionKey(encryption_key::Command),
    /// Copy snapshots from a remote into a datastore of this host, once
    Pull(pull::Args),
    /// Copy snapshots from a datastore of this host to a remote, once
    Push(push::Args),
    /// Copy snapshots from one remote to another, once, without a datastore of this host
    Relay(relay::Args),
    /// Manage namespaces of a datastore
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Manage groups of a datastore
    #[command(subcommand)]
    Group(group::Command),
    /// Look at, verify and remove snapshots
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Make backups
    #[command(subcommand)]
    Backup(backup::Command),
    /// Write an archive of a snapshot to a file or to standard output
    Restore(restore::Args),
    /// Manage users and their API tokens
    #[command(subcommand)]
    User(user::Command),
    /// Manage permissions
    #[command(subcommand)]
    Acl(acl::Command),
    /// Look at the certificate of this server
    #[command(subcommand)]
    Cert(cert::Command),
    /// Check the configuration, take over that of a stock server, or write one for it
    #[command(subcommand)]
    Config(config::Command),
}

impl Command {
    /// Does the work.
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        match self {
            Self::Datastore(command) => command.run(ctx),
            Self::Remote(command) => command.run(ctx),
            Self::SyncJob(command) => command.run(ctx),
            Self::Job(command) => command.run(ctx),
            Self::Health(args) => args.run(ctx),
            Self::Metrics(args) => args.run(ctx),
            Self::Schedule(command) => command.run(ctx),
            Self::Scheduler(command) => command.run(ctx),
            Self::Task(command) => command.run(ctx),
            Self::EncryptionKey(command) => command.run(ctx),
            Self::Pull(args) => args.run(ctx),
            Self::Push(args) => args.run(ctx),
            Self::Relay(args) => args.run(ctx),
            Self::Namespace(command) => command.run(ctx),
            Self::Group(command) => command.run(ctx),
            Self::Snapshot(command) => command.run(ctx),
            Self::Backup(command) => command.run(ctx),
            Self::Restore(args) => args.run(ctx),
            Self::User(command) => command.run(ctx),
            Self::Acl(command) => command.run(ctx),
            Self::Cert(command) => command.run(ctx),
            Self::Config(command) => command.run(ctx),
        }
    }

    /// Whether the command needs the rights it was started with: making a datastore, which it then
    /// hands over, and starting units.
    pub(crate) fn keeps_root(&self) -> bool {
        match self {
            // The latter writes wherever the caller may.
            Self::Datastore(datastore::Command::Create(_)) | Self::Config(config::Command::Export(_)) => true,
            Self::Scheduler(command) => command.keeps_root(),
            _ => false,
        }
    }
}
