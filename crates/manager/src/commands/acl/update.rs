//! `acl update`.

use anyhow::Result;
use config::ConfigDigest;
use config::acl::{AclAction, AclChange, AclPath, Role};
use formats::AuthId;

use crate::args::parse_bool;
use crate::context::Context;
use crate::outcome::Outcome;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Path, for example / or /datastore/STORE/NS or /remote/REMOTE
    #[arg(value_name = "PATH")]
    path: AclPath,

    /// Role, for example DatastoreAdmin, DatastoreReader, DatastoreBackup or NoAccess
    #[arg(value_name = "ROLE")]
    role: Role,

    /// User or token that gets the role
    #[arg(long, value_name = "AUTH-ID")]
    auth_id: AuthId,

    /// Grant it for everything below the path too [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    propagate: Option<bool>,

    /// Take the role back instead [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    delete: Option<bool>,

    /// Change nothing unless the file still has this SHA-256 digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<ConfigDigest>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let action = if self.delete.unwrap_or(false) {
            AclAction::Revoke
        } else {
            AclAction::Grant { propagate: self.propagate.unwrap_or(true) }
        };
        let change = AclChange { path: self.path, auth_id: self.auth_id, role: self.role, action };
        config::acl::update(&ctx.paths, &change, self.digest.as_ref())?;
        Ok(Outcome::Done)
    }
}
