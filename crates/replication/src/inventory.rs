//! What is at one end: everything the planner looks at, and what could not be listed.

use std::sync::Arc;

use formats::{AuthId, GroupId, Namespace};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::error::{EndError, ErrorClass};
use crate::notes::ListedNotes;
use crate::patience::Tries;
use crate::report::Problem;
use crate::traits::{Inventoried, SnapshotInfo};

/// Listings asked for at the same time.
const LISTINGS_IN_FLIGHT: usize = 16;

/// All namespaces of one end that matter, parents first.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The namespaces, the anchor included where it exists.
    pub namespaces: Vec<NamespaceInventory>,
}

/// One namespace and its groups, or why they could not be listed.
#[derive(Clone, Debug)]
pub struct NamespaceInventory {
    /// Its name at this end.
    pub namespace: Namespace,
    /// Its groups.
    pub groups: Result<Vec<GroupInventory>, Problem>,
}

/// One group and its snapshots.
#[derive(Clone, Debug)]
pub struct GroupInventory {
    /// Type and id.
    pub id: GroupId,
    /// Its owner, where the listing tells.
    pub owner: Option<AuthId>,
    /// Its notes.
    pub notes: ListedNotes,
    /// Its snapshots.
    pub snapshots: Snapshots,
}

/// The snapshots of one group, as far as they are known.
#[derive(Clone, Debug)]
pub enum Snapshots {
    /// All of them.
    Listed(Vec<SnapshotInfo>),
    /// They could not be listed.
    Failed(Problem),
    /// Nobody wanted to know.
    NotAsked,
}

impl Snapshots {
    /// Returns the snapshots where they are known.
    pub fn listed(&self) -> Option<&[SnapshotInfo]> {
        match self {
            Self::Listed(list) => Some(list),
            _ => None,
        }
    }
}

impl Inventory {
    /// Finds a namespace by its name.
    pub fn find(&self, namespace: &Namespace) -> Option<&NamespaceInventory> {
        self.namespaces.iter().find(|entry| entry.namespace == *namespace)
    }

    /// Lists groups and snapshots of `namespaces`, several at a time; snapshots only of groups that are `wanted`.
    ///
    /// A listing whose connection broke is asked for again, as `tries` says; a group or namespace that cannot be listed
    /// is noted as such.
    ///
    /// # Errors
    /// Only an error of class `Stop`, after which no other listing could succeed.
    pub(crate) async fn take<'a, E: Inventoried + ?Sized>(
        end: &Arc<E>,
        namespaces: Vec<Namespace>,
        wanted: impl Fn(&GroupId) -> bool,
        tries: impl Fn() -> Tries<'a>,
    ) -> Result<Self, EndError> {
        let tries = &tries;
        let mut listed = stream::iter(namespaces)
            .map(|namespace| async move {
                let at = where_is(end.as_ref(), &namespace, None);
                let groups = tries().persist(&at, async || end.groups(&namespace).await).await;
                (namespace, groups)
            })
            .buffered(LISTINGS_IN_FLIGHT);

        let mut inventory = Self::default();
        while let Some((namespace, groups)) = listed.next().await {
            let groups = match groups {
                Ok(groups) => Ok(groups),
                Err(error) if error.class() == ErrorClass::Stop => return Err(error),
                Err(error) => Err(Problem::from_error(where_is(end.as_ref(), &namespace, None), &error)),
            };
            inventory.namespaces.push(NamespaceInventory {
                namespace,
                groups: groups.map(|groups| {
                    let mut groups: Vec<_> = groups
                        .into_iter()
                        .map(|group| GroupInventory {
                            id: group.id,
                            owner: group.owner,
                            notes: group.notes,
                            snapshots: Snapshots::NotAsked,
                        })
                        .collect();
                    groups.sort_by(|one, other| one.id.cmp(&other.id));
                    groups.dedup_by(|one, other| one.id == other.id);
                    groups
                }),
            });
        }
        drop(listed);

        let asked = inventory.namespaces.iter_mut().flat_map(|entry| {
            let namespace = &entry.namespace;
            entry.groups.iter_mut().flatten().map(move |group| (namespace, group))
        });
        let mut answers = stream::iter(asked.filter(|(_, group)| wanted(&group.id)))
            .map(|(namespace, group)| async move {
                let at = where_is(end.as_ref(), namespace, Some(&group.id));
                let listed = tries().persist(&at, async || end.snapshots(namespace, &group.id).await).await;
                group.snapshots = match listed {
                    Ok(list) => Snapshots::Listed(list),
                    Err(error) if error.class() == ErrorClass::Stop => return Err(error),
                    Err(error) => Snapshots::Failed(Problem::from_error(at, &error)),
                };
                Ok(())
            })
            .buffer_unordered(LISTINGS_IN_FLIGHT);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        drop(answers);
        Ok(inventory)
    }
}

fn where_is<E: Inventoried + ?Sized>(end: &E, namespace: &Namespace, group: Option<&GroupId>) -> String {
    match group {
        Some(group) => format!("{}, {}", end.describe(), place(namespace, group)),
        None if namespace.is_root() => format!("{}, root namespace", end.describe()),
        None => format!("{}, namespace `{namespace}`", end.describe()),
    }
}

/// Writes a place inside a datastore the way reports do: `vm/100`, or `site/a vm/100` below a namespace.
pub(crate) fn place(namespace: &Namespace, what: impl std::fmt::Display) -> String {
    if namespace.is_root() { what.to_string() } else { format!("{namespace} {what}") }
}
