//! Whose a group must be.

use formats::{AuthId, GroupId, Namespace};

use super::trace::{Rule, Trace};
use crate::inventory::place;
use crate::options::{Direction, JobOptions};
use crate::report::Problem;

/// A group at the target whose owner is not the one it should have.
pub(crate) struct ForeignGroup<'a> {
    pub(crate) direction: Direction,
    /// Name of the target's datastore, where it is known.
    pub(crate) store: Option<&'a str>,
    pub(crate) namespace: &'a Namespace,
    pub(crate) group: &'a GroupId,
    pub(crate) found: &'a AuthId,
    pub(crate) wanted: &'a AuthId,
}

impl ForeignGroup<'_> {
    /// Says that the group belongs to somebody else, naming both and the commands that mend it.
    pub(crate) fn problem(&self) -> Problem {
        let Self { group, found, wanted, .. } = self;
        let store = self.store.unwrap_or("STORE");
        let ns = if self.namespace.is_root() { String::new() } else { format!(" --ns {}", self.namespace) };
        let mend = format!("backup-manager group change-owner {store} {group} '{wanted}'{ns}");
        let (message, hint) = match self.direction {
            Direction::Pull => (
                format!("the group belongs to `{found}` at the target, but the job's owner is `{wanted}`"),
                format!("to give the group to `{wanted}`: {mend}; to let the job own it: --owner '{found}'"),
            ),
            Direction::Push => (
                format!("the group belongs to `{found}` at the remote, but the job signs in there as `{wanted}`"),
                format!(
                    "at the remote: {mend}; or from anywhere, as its administrator: proxmox-backup-client change-owner \
                     {group} '{wanted}'{ns} --repository ADMIN@HOST:{store}"
                ),
            ),
        };
        Problem::new(place(self.namespace, group), message).with_hint(hint)
    }
}

/// Checks that the group at the target, if there is one, belongs to whom it should.
pub(super) fn check_owner(
    options: &JobOptions,
    namespace: &Namespace,
    group: &GroupId,
    owner: Option<&AuthId>,
    trace: &mut Trace<'_>,
) -> Result<(), Problem> {
    let Some(found) = owner.filter(|owner| **owner != options.owner) else {
        trace.passed(Rule::Owner, || match owner {
            Some(owner) => format!("the group at the target belongs to {owner}, as it must"),
            None => {
                format!("the target does not have the group, or tells no owner; a new one belongs to {}", options.owner)
            }
        });
        return Ok(());
    };
    let (direction, store, wanted) = (options.direction, options.target_store.as_deref(), &options.owner);
    let problem = ForeignGroup { direction, store, namespace, group, found, wanted }.problem();
    trace.refused(Rule::Owner, &problem);
    Err(problem)
}
