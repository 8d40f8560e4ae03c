//! Moving, and keeping in step, between a datastore of ours and a real server.

use std::sync::Arc;

use config::acl::{AclAction, AclChange, AclPath, Role};
use datastore::fixtures::TestStore;
use formats::{AuthId, Namespace, SnapshotId};
use replication::{JobOptions, LocalSource, RemoteTarget, RunControl, RunResult, Silent, run};

use crate::common::filled;
use crate::{TestServer, pull_options, snapshot_files};

impl TestServer {
    /// Leaves only these roles, on the datastore.
    fn restrict_to_roles(&self, roles: &[Role]) {
        let grant = AclAction::Grant { propagate: true };
        let store = || AclPath::datastore(&"tank".parse().unwrap(), &Namespace::root());
        let changes = || roles.iter().map(|role| (store(), *role, grant));
        for auth_id in [AuthId::from(self.identity.user().clone()), self.identity.clone()] {
            for (path, role, action) in [(AclPath::root(), Role::Admin, AclAction::Revoke)].into_iter().chain(changes())
            {
                let change = AclChange { path, auth_id: auth_id.clone(), role, action };
                config::acl::update(&self.paths, &change, None).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_moves_snapshots_away_from_a_server_after_reading_them_back() {
    let (server, origin, target) = (TestServer::start().await, filled(), TestStore::new("target"));
    server.fill(origin.store()).await;
    let kept: SnapshotId = "ct/7/2023-11-14T22:14:20Z".parse().unwrap();
    server.store.set_protected(&"site".parse().unwrap(), &kept, true).unwrap();
    let options = JobOptions { moves: true, ..pull_options() };

    let (first, _) = server.pull(&options, target.store()).await;
    let (second, _) = server.pull(&options, target.store()).await;

    assert_eq!(
        (first.result, first.snapshots_copied, first.snapshots_moved),
        (RunResult::Ok, 5, 4),
        "{:?}",
        first.errors
    );
    assert_eq!(snapshot_files(target.path()), snapshot_files(origin.path()));
    assert_eq!(server.store.groups(&Namespace::root()).unwrap(), []);
    assert_eq!(server.store.snapshots(&"site".parse().unwrap(), &kept.group).unwrap().len(), 1);
    assert!(second.moved_nothing(), "{second:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_needs_no_more_than_backup_at_the_server_to_move_and_to_keep_in_step() {
    let (server, origin) = (TestServer::start().await, filled());
    // `DatastoreBackup` makes no namespaces.
    server.store.create_namespace_path(&"site/lab".parse().unwrap()).unwrap();
    server.restrict_to_roles(&[Role::DatastoreBackup]);
    let expected = snapshot_files(origin.path()).into_keys().collect::<Vec<_>>();
    let (root, old): (Namespace, SnapshotId) = (Namespace::root(), "vm/100/2023-11-14T22:13:20Z".parse().unwrap());
    let (copied, _) = server.push(origin.store(), |_| {}).await;
    assert_eq!(copied.result, RunResult::Ok, "{:?}", copied.errors);
    let noted = origin.store().update_manifest(&root, &old, |manifest| {
        manifest.set_notes("first\nsecond");
        Ok(())
    });
    noted.unwrap();
    origin.store().set_protected(&root, &old, true).unwrap();
    origin.store().set_group_notes(&root, &old.group, "the old one").unwrap();

    let (kept, _) = server.push(origin.store(), |options| options.sync_metadata = true).await;
    let (idle, _) = server.push(origin.store(), |options| options.sync_metadata = true).await;

    assert_eq!(
        (kept.result, kept.snapshots_refreshed, kept.groups_updated),
        (RunResult::Ok, 1, 1),
        "{:?}",
        kept.errors
    );
    assert!(server.store.protected(&root, &old).unwrap());
    assert_eq!(server.store.manifest(&root, &old).unwrap().0.notes(), Some("first\nsecond"));
    assert_eq!(server.store.group_notes(&root, &old.group).unwrap(), "the old one");
    assert!(idle.moved_nothing(), "{idle:?}");

    let (moved, _) = server.push(origin.store(), |options| options.moves = true).await;

    assert_eq!((moved.result, moved.snapshots_moved), (RunResult::Ok, 4), "{:?}", moved.errors);
    assert_eq!(snapshot_files(server.store.path()).into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(origin.store().snapshots(&root, &old.group).unwrap().iter().filter(|entry| entry.finished).count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_without_the_right_to_remove_copies_and_says_what_moving_needs() {
    let (server, origin, target) = (TestServer::start().await, filled(), TestStore::new("target"));
    server.fill(origin.store()).await;
    server.restrict_to_roles(&[Role::DatastoreReader]);
    let options = JobOptions { moves: true, ..pull_options() };

    let (report, _) = server.pull(&options, target.store()).await;

    assert_eq!((report.result, report.snapshots_copied, report.snapshots_moved), (RunResult::Error, 5, 0));
    assert_eq!(snapshot_files(server.store.path()), snapshot_files(origin.path()));
    let problem = &report.errors[0];
    assert!(problem.message.contains("may not remove snapshots"), "{problem}");
    assert!(problem.hint.as_ref().unwrap().contains("Datastore.Modify"), "{problem}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_may_not_be_read_back_keeps_its_original_and_says_which_right_is_missing() {
    let (server, origin) = (TestServer::start().await, filled());
    server.push(origin.store(), |_| {}).await;
    // It may list what it pushed, and no longer read it.
    server.restrict_to_roles(&[Role::DatastoreAudit]);
    let (remote, store, _) = server.remote();
    let source = Arc::new(LocalSource::new(origin.store().clone()));
    let target = Arc::new(RemoteTarget::connect(remote, store).await.unwrap());
    let options = JobOptions { moves: true, ..JobOptions::new(replication::Direction::Push, server.identity.clone()) };
    let before = snapshot_files(origin.path());

    let report = run(&options, source, target, &RunControl::new(), Arc::new(Silent)).await;

    assert_eq!((report.result, report.snapshots_moved), (RunResult::Error, 0));
    assert_eq!(snapshot_files(origin.path()), before);
    assert!(report.errors[0].hint.as_ref().unwrap().contains("DatastoreReader"), "{}", report.errors[0]);
    server.stop().await;
}
