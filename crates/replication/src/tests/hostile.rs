//! Sources that lie.

use super::{pull, push, sync_with};
use crate::RunResult;
use crate::memory::{Lie, MemoryStore};

const A: &[u8] = b"first chunk of all";
const B: &[u8] = b"second chunk";

fn source() -> MemoryStore {
    let store = MemoryStore::new();
    store.backup("", "vm/100", 1, &[("disk.img.didx", &[A, B]), ("vm.conf.blob", &[b"cores 4"])]);
    store
}

#[tokio::test]
async fn every_lie_is_refused_by_name_and_leaves_nothing() {
    for lie in [
        Lie::WrongContent,
        Lie::TruncatedChunk,
        Lie::EncryptedChunk,
        Lie::BadIndex,
        Lie::ShortIndex,
        Lie::BadBlob,
        Lie::MissingFile,
        Lie::Silence,
        Lie::OtherManifest,
        Lie::WrongLength,
    ] {
        for (options, target) in [(pull(), MemoryStore::new()), (push(), MemoryStore::new().as_remote())] {
            let honest = source();

            let report = sync_with(&options, &honest.lying(lie), &target).await;

            assert_eq!(report.result, RunResult::Error, "{lie:?}");
            assert_eq!(report.errors.len(), 1, "{lie:?}: {:?}", report.errors);
            assert_eq!(report.errors[0].where_, "vm/100/1970-01-01T00:00:01Z", "{lie:?}");
            assert_eq!(report.snapshots_copied, 0);
            assert_eq!(target.finished(), Vec::<String>::new(), "{lie:?}");

            let report = sync_with(&options, &honest, &target).await;

            assert_eq!(report.result, RunResult::Ok, "{lie:?}: {:?}", report.errors);
            assert_eq!(target.contents(), honest.contents(), "{lie:?}");
            assert_eq!(target.check(), Ok(()));
        }
    }
}

#[tokio::test]
async fn a_wrong_length_does_not_cost_the_target_its_good_chunk() {
    let (honest, target) = (source(), MemoryStore::new());
    target.backup("", "ct/1", 1, &[("disk.img.didx", &[A, B])]);

    sync_with(&pull(), &honest.lying(Lie::WrongLength), &target).await;

    assert!(target.finished() == ["ct/1 1"]);
}
