//! From two ends to a plan, or to what the planner thinks of one snapshot.

use std::sync::Arc;

use formats::{GroupId, Namespace};

use crate::error::EndError;
use crate::inventory::Inventory;
use crate::options::JobOptions;
use crate::plan::Plan;
use crate::planner::plan;
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
    let (from, to) = inventories(options, source, target, None).await?;
    Ok(plan(options, &from, &to))
}

/// Takes the inventory of both ends, as far as the planner looks at it; of `also`, a namespace of the target and a group,
/// in any case.
pub(crate) async fn inventories(
    options: &JobOptions,
    source: &Arc<dyn Source>,
    target: &Arc<dyn Target>,
    also: Option<(&Namespace, &GroupId)>,
) -> Result<(Inventory, Inventory), EndError> {
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
    tokio::try_join!(Inventory::take(source, from, wanted), Inventory::take(target, matter, wanted))
}
