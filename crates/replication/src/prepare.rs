//! From two ends to a plan, or to what the planner thinks of one snapshot.

use std::sync::Arc;

use formats::{GroupId, Namespace};

use crate::control::RunControl;
use crate::error::EndError;
use crate::inventory::Inventory;
use crate::options::JobOptions;
use crate::patience::Tries;
use crate::plan::Plan;
use crate::planner::plan;
use crate::report::{Monitor, Silent};
use crate::traits::{Source, Target};

/// Takes the inventory of both ends and plans.
///
/// # Errors
/// A listing without which nothing can be planned. Lesser ones are errors inside the plan.
pub async fn prepare(
    options: &JobOptions,
    source: &Arc<dyn Source>,
    target: &Arc<dyn Target>,
) -> Result<Plan, EndError> {
    prepare_under(options, source, target, &RunControl::new(), &Silent).await
}

/// Prepares a run that `control` steers: a listing whose connection breaks is asked for again.
pub(crate) async fn prepare_under(
    options: &JobOptions,
    source: &Arc<dyn Source>,
    target: &Arc<dyn Target>,
    control: &RunControl,
    monitor: &dyn Monitor,
) -> Result<Plan, EndError> {
    let tries = || Tries::new(options.patience, control, monitor);
    let (from, to) = inventories(options, source, target, None, tries).await?;
    Ok(plan(options, &from, &to))
}

/// Takes the inventory of both ends, as far as the planner looks at it; of `also`, a namespace of the target and a group,
/// in any case.
pub(crate) async fn inventories<'a>(
    options: &JobOptions,
    source: &Arc<dyn Source>,
    target: &Arc<dyn Target>,
    also: Option<(&Namespace, &GroupId)>,
    tries: impl Fn() -> Tries<'a>,
) -> Result<(Inventory, Inventory), EndError> {
    // The first contact with either end. What cannot be reached at all is for the caller to try later.
    let from = source
        .namespaces(&options.source_ns, options.max_depth)
        .await
        .map_err(|error| error.while_doing(source.describe()))?;
    let at_target =
        target.namespaces(&Namespace::root(), None).await.map_err(|error| error.while_doing(target.describe()))?;
    let mapped: Vec<Namespace> =
        from.iter().filter_map(|name| name.map_prefix(&options.source_ns, &options.target_ns).ok()).collect();
    let matters = |name: &Namespace| {
        mapped.contains(name)
            || (options.remove_vanished && options.target_ns.contains(name))
            || also.is_some_and(|(namespace, _)| namespace == name)
    };
    let matter = at_target.into_iter().filter(matters).collect();
    let wanted = |group: &GroupId| options.wants(group) || also.is_some_and(|(_, also)| also == group);
    tokio::try_join!(Inventory::take(source, from, wanted, &tries), Inventory::take(target, matter, wanted, &tries))
}
