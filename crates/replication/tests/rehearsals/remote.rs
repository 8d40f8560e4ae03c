//! A rehearsal announces what a pull or push will move.

use std::sync::Arc;

use datastore::fixtures::TestStore;
use replication::{Direction, Forecast, JobOptions, LocalSource, LocalTarget, RemoteSource, RemoteTarget, RunControl};
use replication::{Silent, rehearse};

use super::TestServer;
use super::pairs::{Dice, age, assert_same_tree, damage, grow, options, tree};

impl TestServer {
    async fn pull_forecast(&self, options: &JobOptions, to: &TestStore) -> Forecast {
        let (remote, store, _) = self.remote();
        let source = Arc::new(RemoteSource::new(remote, store));
        let target = Arc::new(LocalTarget::new(to.store().clone()).unwrap());
        rehearse(options, source, target, &RunControl::new(), Arc::new(Silent)).await.unwrap()
    }

    async fn push_forecast(&self, options: &JobOptions, from: &TestStore) -> Forecast {
        let (remote, store, _) = self.remote();
        let source = Arc::new(LocalSource::new(from.store().clone()));
        let target = Arc::new(RemoteTarget::connect(remote, store).await.unwrap());
        rehearse(options, source, target, &RunControl::new(), Arc::new(Silent)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_random_pulls_move_exactly_the_chunks_announced() {
    let mut chunks = 0;
    for seed in 100..110 {
        let mut dice = Dice::new(seed);
        let (server, origin, target) = (TestServer::start().await, TestStore::new("origin"), TestStore::new("target"));
        grow(&origin, &mut dice, 0);
        server.fill(origin.store()).await;
        if dice.hits(2) {
            server.pull(&super::pull_options(), target.store()).await;
        }
        grow(&origin, &mut dice, 1);
        server.fill(origin.store()).await;
        let mut options = options(&mut dice, Direction::Pull, "root@pam");
        if dice.hits(2) {
            damage(&target, &mut dice);
            options.worker_threads = 1;
        }
        let before = tree(target.path());

        let announced = server.pull_forecast(&options, &target).await;

        assert_same_tree(&before, target.path());
        let (done, _) = server.pull(&options, target.store()).await;
        let bound = announced.report.bytes_transferred;
        assert!(bound >= done.bytes_transferred, "seed {seed}: {bound} < {}", done.bytes_transferred);
        assert!(!announced.exact || done.chunks_transferred == 0, "seed {seed}");
        let announced = super::Report { bytes_transferred: done.bytes_transferred, ..announced.report };
        assert_eq!(announced, done, "seed {seed}");
        chunks += done.chunks_transferred;
        server.stop().await;
    }
    assert!(chunks > 40, "{chunks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_random_pushes_move_exactly_the_chunks_and_bytes_announced() {
    let mut chunks = 0;
    for seed in 200..210 {
        let mut dice = Dice::new(seed);
        let (server, source) = (TestServer::start().await, TestStore::new("source"));
        grow(&source, &mut dice, 0);
        if !dice.hits(4) {
            server.push(source.store(), |_| {}).await;
        }
        grow(&source, &mut dice, 1);
        if dice.hits(2) {
            age(&source, &mut dice);
        }
        let options = options(&mut dice, Direction::Push, &server.identity.to_string());
        let before = tree(server.store.path());

        let announced = server.push_forecast(&options, &source).await;

        assert_same_tree(&before, server.store.path());
        assert!(announced.exact);
        let (done, _) = server.push(source.store(), |of_run| *of_run = options).await;
        assert_eq!(announced.report, done, "seed {seed}\n{}", announced.plan);
        chunks += done.chunks_transferred;
        server.stop().await;
    }
    assert!(chunks > 80, "{chunks}");
}
