//! `namespace list`.

use anyhow::Result;
use formats::{Namespace, StoreName};
use serde_json::json;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::Column;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Datastore of this host
    #[arg(value_name = "STORE")]
    store: StoreName,

    /// List this namespace and those below it [default: the root]
    #[arg(long, value_name = "NS", default_value = "", hide_default_value = true)]
    ns: Namespace,

    /// Go down at most this many levels [default: all]
    #[arg(long, value_name = "0..7", value_parser = clap::value_parser!(u8).range(0..=7))]
    max_depth: Option<u8>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let store = jobs::open_store(&ctx.paths, &self.store)?;
        let found = store.namespaces(&self.ns, self.max_depth.map(usize::from))?;
        let rows: Vec<_> = found.iter().map(|ns| json!({ "ns": ns.as_str() })).collect();
        ctx.out.list(&[Column::new("ns")], &rows)?;
        Ok(Outcome::Done)
    }
}
