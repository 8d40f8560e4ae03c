//! The command line of the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Serve datastores to backup clients and to other backup servers
#[derive(Debug, Parser)]
#[command(name = "backup-server", version, max_term_width = 120)]
pub struct Options {
    /// Keep all files below DIR instead of /etc, /var and /run
    #[arg(long, value_name = "DIR", env = "BACKUP_MANAGER_ROOT")]
    pub root: Option<PathBuf>,

    /// Listen on this address and port instead of the configured one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}
