//! Inventories and jobs in a line: `vm/100: 1 2* 3` is a group with three snapshots.
//!
//! Groups are separated by `;`, namespaces are put in front of a group with a blank (`a/b vm/100: 1`), an owner behind
//! it (`vm/100 @bob@pbs: 1`). A namespace alone (`a/b`) has no groups. After a time: `p` protected, `~` unfinished,
//! `?` unreadable manifest, `v` verified, `f` verification failed, `e` encrypted, `n` with notes, `m` with other notes.
//! `!` instead of snapshots: they cannot be listed. Notes of a group stand in quotes behind it (`vm/100 "notes": 1`).

use formats::{BackupTime, GroupId, Namespace, SnapshotId, VerifyResult};

use crate::{
    Direction, GroupInventory, Inventory, JobOptions, ListedNotes, NamespaceInventory, Problem, SnapshotInfo, Snapshots,
};

pub(crate) fn inventory(text: &str) -> Inventory {
    let mut namespaces = vec![NamespaceInventory { namespace: Namespace::root(), groups: Ok(Vec::new()) }];
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (head, snapshots) = match part.split_once(':') {
            Some((head, snapshots)) => (head, Some(snapshots)),
            None => (part, None),
        };
        let mut words: Vec<&str> = head.split_whitespace().collect();
        let notes = match words.last().and_then(|word| word.strip_prefix('"')) {
            Some(notes) => {
                words.pop();
                notes.trim_end_matches('"')
            }
            None => "",
        };
        let owner = match words.last().and_then(|word| word.strip_prefix('@')) {
            Some(owner) => {
                words.pop();
                owner
            }
            None => "root@pam",
        };
        let group = snapshots.and_then(|_| words.pop());
        let namespace: Namespace = words.first().copied().unwrap_or_default().parse().unwrap();
        if !namespaces.iter().any(|entry| entry.namespace == namespace) {
            namespaces.push(NamespaceInventory { namespace: namespace.clone(), groups: Ok(Vec::new()) });
        }
        let entry = namespaces.iter_mut().find(|entry| entry.namespace == namespace).unwrap();
        if let (Some(group), Some(snapshots)) = (group, snapshots) {
            let id: GroupId = group.parse().unwrap();
            let snapshots = match snapshots.trim() {
                "!" => Snapshots::Failed(Problem::new(group, "cannot be listed")),
                list => Snapshots::Listed(list.split_whitespace().map(|word| snapshot(&id, word)).collect()),
            };
            let owner = Some(owner.parse().unwrap());
            entry.groups.as_mut().unwrap().push(GroupInventory {
                id,
                owner,
                notes: ListedNotes::whole(notes),
                snapshots,
            });
        }
    }
    Inventory { namespaces }
}

/// A job in words: `pull` or `push`, then `mirror` (remove-vanished), `move`, `sync-metadata`, `gaps`, `resync`,
/// `verified-only`, `encrypted-only`, `allow`, `last=N`, `filter=FILTER`, `from=NS`, `to=NS`, `depth=N`, `max=N` or `N%`.
pub(crate) fn job(words: &str) -> JobOptions {
    let mut options = super::pull();
    let mut filters = Vec::new();
    for word in words.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("pull", _) => {}
            ("push", _) => options.direction = Direction::Push,
            ("mirror", _) => options.remove_vanished = true,
            ("move", _) => options.moves = true,
            ("sync-metadata", _) => options.sync_metadata = true,
            ("gaps", _) => options.fill_gaps = true,
            ("resync", _) => options.resync_corrupt = true,
            ("verified-only", _) => options.verified_only = true,
            ("encrypted-only", _) => options.encrypted_only = true,
            ("allow", _) => options.allow_removals = true,
            ("last", count) => options.transfer_last = Some(count.parse().unwrap()),
            ("filter", filter) => filters.push(filter.parse().unwrap()),
            ("from", namespace) => options.source_ns = namespace.parse().unwrap(),
            ("to", namespace) => options.target_ns = namespace.parse().unwrap(),
            ("depth", levels) => options.max_depth = Some(levels.parse().unwrap()),
            ("max", limit) => options.max_removals = Some(limit.parse().unwrap()),
            (other, _) => panic!("unknown word {other}"),
        }
    }
    options.group_filter = filters.into_iter().collect();
    options
}

fn snapshot(group: &GroupId, word: &str) -> SnapshotInfo {
    let marks = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let time = BackupTime::from_unix(word[..word.len() - marks.len()].parse().unwrap()).unwrap();
    let mut info = SnapshotInfo::finished(SnapshotId::new(group.clone(), time));
    for mark in marks.chars() {
        match mark {
            'p' => info.protected = true,
            '~' => info.finished = false,
            '?' => info.manifest_unreadable = true,
            'v' => info.verified = Some(VerifyResult::Ok),
            'f' => info.verified = Some(VerifyResult::Failed),
            'e' => info.fully_encrypted = true,
            'n' => info.notes = ListedNotes::whole("notes"),
            'm' => info.notes = ListedNotes::whole("more"),
            other => panic!("unknown mark {other}"),
        }
    }
    info
}
