//! What steers a run.

use std::num::NonZeroU64;

use formats::{AuthId, BackupTime, CryptKey, FilterSet, GroupId, Namespace, RemovalLimit};

use crate::patience::Patience;

/// Which end is at home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The target is a datastore of ours; the source is a remote, or another datastore of ours.
    #[default]
    Pull,
    /// The source is a datastore of ours; the target is a remote.
    Push,
}

/// Which snapshots come first, across all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferOrder {
    /// Group by group, each from its oldest snapshot on.
    #[default]
    OldestFirst,
    /// The newest snapshot of every group, then the others. Only a target that takes older snapshots can do that.
    NewestFirst,
}

/// Where a namespace of the source is, as a job sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The job is about it.
    Inside,
    /// It is neither the anchor nor below it.
    Outside,
    /// It is more levels below the anchor than `max_depth` permits.
    TooDeep,
}

/// Options of one run: those of a sync job that the engine obeys, and the limits of the engine itself.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Pull (and local sync) or push.
    pub direction: Direction,
    /// Anchor inside the source.
    pub source_ns: Namespace,
    /// Anchor inside the target.
    pub target_ns: Namespace,
    /// Name of the target's datastore, for advice.
    pub target_store: Option<String>,
    /// Levels of namespaces below the anchors; 0 is only the anchor, `None` is all.
    pub max_depth: Option<usize>,
    /// Groups the run is about; empty is all of them.
    pub group_filter: FilterSet,
    /// Only the newest so many snapshots of each group.
    pub transfer_last: Option<NonZeroU64>,
    /// Copy also what is older than the newest snapshot at the target and missing there. On pull alone: a remote takes
    /// nothing older than what it has.
    pub fill_gaps: bool,
    /// Which snapshots come first.
    pub transfer_order: TransferOrder,
    /// The time of the run, by which snapshots from the future are told; `None` does not look.
    pub now: Option<BackupTime>,
    /// Only snapshots whose files are all encrypted.
    pub encrypted_only: bool,
    /// Only snapshots whose verify state is ok.
    pub verified_only: bool,
    /// Copy snapshots again whose verify state at the target is failed, or whose manifest there cannot be read.
    pub resync_corrupt: bool,
    /// Remove at the target what is no longer at the source.
    pub remove_vanished: bool,
    /// Remove at the source what is at the target, once its copy was read back.
    pub moves: bool,
    /// Set notes and protection of what is at the target as they are at the source.
    pub sync_metadata: bool,
    /// Keys at hand: what is encrypted under one of them is read back by content, other encrypted data by checksum.
    pub keys: Vec<CryptKey>,
    /// The most snapshots that `remove_vanished` may remove in one run; with more than that it removes none. `None` is
    /// a fifth of those in scope, or [`JobOptions::FEW_REMOVALS`] where that is more.
    pub max_removals: Option<RemovalLimit>,
    /// Snapshots in scope when an earlier run first held removals back: what such runs copied does not loosen a
    /// percentage. `None` where none was held.
    pub held_in_scope: Option<u64>,
    /// Whether this run may remove any number.
    pub allow_removals: bool,
    /// How broken connections are taken; [`Patience::NONE`] unless said otherwise.
    pub patience: Patience,
    /// Who owns new groups and must own existing ones. For a push this is the remote's own identity.
    pub owner: AuthId,
    /// Groups worked on at the same time.
    pub worker_threads: usize,
    /// Plain bytes of chunks on their way, over all groups.
    pub in_flight_bytes: u64,
    /// Chunks on their way, over all groups.
    pub in_flight_requests: usize,
}

impl JobOptions {
    /// Plain bytes on their way when nothing else is said.
    pub const DEFAULT_IN_FLIGHT_BYTES: u64 = 128 << 20;
    /// Chunks on their way when nothing else is said.
    pub const DEFAULT_IN_FLIGHT_REQUESTS: usize = 64;
    /// Groups at the same time when nothing else is said.
    pub const DEFAULT_WORKERS: usize = 4;

    /// Removals that the default brake always lets pass.
    pub const FEW_REMOVALS: u64 = 5;
    /// Part of the snapshots in scope that the default brake lets pass.
    pub const DEFAULT_MAX_REMOVALS: RemovalLimit = RemovalLimit::Percent(20);

    /// Returns the options of a plain job: every group, new snapshots only, nothing removed.
    pub fn new(direction: Direction, owner: AuthId) -> Self {
        Self {
            direction,
            source_ns: Namespace::root(),
            target_ns: Namespace::root(),
            target_store: None,
            max_depth: None,
            group_filter: FilterSet::default(),
            transfer_last: None,
            fill_gaps: false,
            transfer_order: TransferOrder::default(),
            now: None,
            encrypted_only: false,
            verified_only: false,
            resync_corrupt: false,
            remove_vanished: false,
            moves: false,
            sync_metadata: false,
            keys: Vec::new(),
            max_removals: None,
            held_in_scope: None,
            allow_removals: false,
            patience: Patience::NONE,
            owner,
            worker_threads: Self::DEFAULT_WORKERS,
            in_flight_bytes: Self::DEFAULT_IN_FLIGHT_BYTES,
            in_flight_requests: Self::DEFAULT_IN_FLIGHT_REQUESTS,
        }
    }

    /// Returns how many of `in_scope` snapshots at the target a run may remove; `None` when it may remove any number.
    pub(crate) fn removals_permitted(&self, in_scope: u64) -> Option<u64> {
        if self.allow_removals {
            return None;
        }
        Some(match self.max_removals {
            Some(limit) => limit.of(in_scope),
            None => Self::DEFAULT_MAX_REMOVALS.of(in_scope).max(Self::FEW_REMOVALS),
        })
    }

    /// Says whether the job is about a namespace of the source.
    pub fn scope(&self, namespace: &Namespace) -> Scope {
        if !self.source_ns.contains(namespace) {
            return Scope::Outside;
        }
        let level = namespace.depth() - self.source_ns.depth();
        if self.max_depth.is_some_and(|most| level > most) { Scope::TooDeep } else { Scope::Inside }
    }

    /// Whether the group filters let `group` pass.
    pub fn wants(&self, group: &GroupId) -> bool {
        self.group_filter.accepts(group)
    }
}
