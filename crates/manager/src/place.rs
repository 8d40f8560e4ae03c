//! Where snapshots are: a datastore of this host, or one of a remote.

use clap::Args;
use formats::{RemoteName, StoreName};
use jobs::Place;

/// `--store S`, or `--remote R --remote-store RS`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaceArgs {
    /// Use this datastore of this host
    #[arg(long, value_name = "STORE", required_unless_present = "remote", conflicts_with = "remote")]
    store: Option<StoreName>,

    /// Use a datastore of this remote
    #[arg(long, value_name = "REMOTE", requires = "remote_store")]
    remote: Option<RemoteName>,

    /// Use this datastore of the remote
    #[arg(long, value_name = "STORE", requires = "remote")]
    remote_store: Option<StoreName>,
}

impl PlaceArgs {
    /// The place; the parser has seen to it that exactly one is given.
    pub(crate) fn place(&self) -> Option<Place> {
        match (&self.store, &self.remote, &self.remote_store) {
            (Some(store), None, _) => Some(Place::Local(store.clone())),
            (None, Some(remote), Some(store)) => Some(Place::Remote(remote.clone(), store.clone())),
            _ => None,
        }
    }
}
