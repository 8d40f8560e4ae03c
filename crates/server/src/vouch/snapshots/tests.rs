use std::collections::HashMap;

use datastore::fixtures::{TestStore, noise};
use formats::{Upid, VerifyState};

use super::*;

/// Reads what its owner list names, in namespaces other than `closed`.
struct Owners(AuthId, &'static [&'static str]);

impl Reader for Owners {
    fn identity(&self) -> &AuthId {
        &self.0
    }

    fn may_look_into(&self, ns: &Namespace) -> bool {
        ns.as_str() != "closed"
    }

    fn may_read(&self, _: &Namespace, owner: &AuthId) -> bool {
        self.1.contains(&owner.to_string().as_str())
    }
}

fn owners(of: &'static [&'static str]) -> Owners {
    Owners("who@pbs".parse().unwrap(), of)
}

/// The image of a group: one chunk, told apart by its seed.
fn image(seed: u64) -> Vec<u8> {
    noise(seed, 5000)
}

fn digest(seed: u64) -> ChunkDigest {
    ChunkDigest::of(&image(seed))
}

/// A store with one snapshot of one chunk (and its seed) per group, owned by whom the fixture makes them for.
fn store_with(snapshots: &[(&str, &str, i64, u64)]) -> TestStore {
    let tank = TestStore::new("tank");
    for (ns, group, time, seed) in snapshots {
        let image = image(*seed);
        tank.backup(ns, group, *time, &[("x.img", image.as_slice())]);
    }
    tank
}

fn seeds_found(snapshots: &Snapshots, store: &Datastore, reader: &Owners, seeds: &[u64]) -> Vec<u64> {
    let mut view = View::default();
    snapshots.refresh(store, reader, &mut view, Instant::now());
    let mut wanted: HashMap<_, _> = seeds.iter().map(|seed| (digest(*seed), None)).collect();
    view.find(&mut wanted);
    seeds.iter().copied().filter(|seed| wanted[&digest(*seed)] == Some(5000)).collect()
}

fn everybody(tank: &TestStore) -> Owners {
    let root = Namespace::root();
    let group = tank.store().groups(&root).unwrap().remove(0);
    let owner = tank.store().owner(&root, &group).unwrap().to_string();
    owners(vec![&*owner.leak()].leak())
}

const T: i64 = 1_700_000_000;

#[test]
fn only_snapshots_that_may_be_read_are_in_view() {
    let tank = store_with(&[("", "host/a", T, 1), ("", "host/b", T, 2), ("closed", "host/c", T, 3)]);
    let (store, snapshots, all) = (tank.store(), Snapshots::new(1 << 20), everybody(&tank));
    store.set_owner(&Namespace::root(), &"host/b".parse().unwrap(), &"other@pbs".parse().unwrap()).unwrap();

    assert_eq!(seeds_found(&snapshots, store, &all, &[1, 2, 3, 4]), [1]);
    assert_eq!(seeds_found(&snapshots, store, &owners(&["other@pbs"]), &[1, 2, 3, 4]), [2]);
    assert_eq!(seeds_found(&snapshots, store, &owners(&[]), &[1, 2, 3, 4]), [0; 0]);
}

#[test]
fn a_failed_verification_or_a_damaged_index_takes_a_snapshot_out_of_view() {
    let tank = store_with(&[("", "host/a", T, 1), ("", "host/b", T, 2), ("", "host/c", T, 3)]);
    let (store, root, snapshots, all) = (tank.store(), Namespace::root(), Snapshots::new(1 << 20), everybody(&tank));
    assert_eq!(seeds_found(&snapshots, store, &all, &[1, 2, 3]), [1, 2, 3]);

    let upid: Upid = "UPID:n:00000001:00000001:00000001:65500000:verify::root@pam:".parse().unwrap();
    let failed = VerifyState { state: VerifyResult::Failed, upid };
    let id =
        |group: &str| SnapshotId { group: group.parse().unwrap(), time: formats::BackupTime::from_unix(T).unwrap() };
    store
        .update_manifest(&root, &id("host/a"), |manifest| {
            manifest.set_verify_state(&failed);
            Ok(())
        })
        .unwrap();
    let index = tank.path().join(id("host/b").dir_path()).join("x.img.fidx");
    let mut bytes = std::fs::read(&index).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&index, bytes).unwrap();

    assert_eq!(seeds_found(&Snapshots::new(1 << 20), store, &all, &[1, 2, 3]), [3]);
    // What was read before is kept only as long as the manifest stays as it is.
    assert_eq!(seeds_found(&snapshots, store, &all, &[1, 2, 3]), [2, 3]);
}

#[test]
fn the_newest_of_every_group_comes_first_when_memory_is_short() {
    let tank = store_with(&[
        ("", "host/a", T, 1),
        ("", "host/a", T + 100, 2),
        ("", "host/b", T, 3),
        ("", "host/b", T + 100, 4),
    ]);
    let all = everybody(&tank);
    let two = Snapshots::new(2 * (TABLE + EACH));

    assert_eq!(seeds_found(&two, tank.store(), &all, &[1, 2, 3, 4]), [2, 4]);
    assert!(two.kept.lock().unwrap().cost <= two.memory);
}

#[test]
fn memory_is_shared_by_readers_of_different_snapshots() {
    let tank = store_with(&[("", "host/a", T, 1), ("", "host/b", T, 2), ("", "host/c", T, 3)]);
    let (store, all) = (tank.store(), everybody(&tank));
    for (group, owner) in [("host/b", "b@pbs"), ("host/c", "c@pbs")] {
        store.set_owner(&Namespace::root(), &group.parse().unwrap(), &owner.parse().unwrap()).unwrap();
    }
    let one = Snapshots::new(TABLE + EACH);

    for _ in 0..2 {
        assert_eq!(seeds_found(&one, store, &all, &[1, 2, 3]), [1]);
        assert_eq!(seeds_found(&one, store, &owners(&["b@pbs"]), &[1, 2, 3]), [2]);
        assert_eq!(seeds_found(&one, store, &owners(&["c@pbs"]), &[1, 2, 3]), [3]);
        assert!(one.kept.lock().unwrap().cost <= one.memory);
    }
}

#[test]
fn chunks_are_found_in_small_and_large_tables_alike() {
    let numbered = |number: u32| ChunkDigest::of(&number.to_le_bytes());
    let mut chunks: Vec<_> = (0..1000).map(|number| (numbered(2 * number), number + 1)).collect();
    chunks.sort_unstable();
    let table = Arc::new(Table(chunks));
    let view = View { made: None, tables: vec![Arc::downgrade(&table)] };

    for asked in [1_u32, 10, 2000] {
        let mut wanted: HashMap<_, _> = (0..asked).map(|number| (numbered(number), None)).collect();
        view.find(&mut wanted);
        for number in 0..asked {
            let length = number.is_multiple_of(2).then(|| u64::from(number / 2 + 1));
            assert_eq!(wanted[&numbered(number)], length, "{number} of {asked}");
        }
    }
}
