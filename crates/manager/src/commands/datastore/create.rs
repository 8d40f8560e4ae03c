//! `datastore create`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use config::DatastoreConfig;
use datastore::{CreateOptions, Datastore};
use formats::StoreName;

use super::Settings;
use crate::args::parse_bool;
use crate::context::Context;
use crate::errors::Hinted;
use crate::options::Pairs;
use crate::outcome::Outcome;
use crate::privileges::{self, Identity};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the datastore
    #[arg(value_name = "NAME")]
    name: StoreName,

    /// Directory of the datastore, made if missing
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Take over the datastore that is there already, one of PBS for example [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    reuse_datastore: Option<bool>,

    #[command(flatten)]
    settings: Settings,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let path = std::path::absolute(&self.path).context("cannot make the path absolute")?;
        let mut pairs = Pairs::default();
        let text = path.to_str().ok_or_else(|| Hinted::new("the path is not UTF-8 text"))?;
        pairs.put("path", Some(text));
        self.settings.add_to(&mut pairs);
        let store: DatastoreConfig = config::from_pairs(self.name.as_str(), pairs.as_slice())?;
        // A name or path that is taken must be found before anything is made on disk.
        config::datastores::check_new(&ctx.paths, &store)?;
        datastore::refuse_other_name(&self.name, &path, &ctx.paths.pbs_datastore_cfg())?;

        // Here, and only here, root's rights are needed: to make a directory anywhere and give it away.
        let identity = privileges::identity(ctx.own_root, ctx.paths.etc())?;
        let owner = match identity {
            Identity::Stay => None,
            Identity::Become(uid, gid) => Some((uid, gid)),
        };
        let reuse = self.reuse_datastore.unwrap_or(false);
        Datastore::create(&path, &CreateOptions { reuse, owner, ..CreateOptions::default() })?;
        privileges::assume(identity)?;
        config::datastores::create(&ctx.paths, &store)?;
        Ok(Outcome::Done)
    }
}
