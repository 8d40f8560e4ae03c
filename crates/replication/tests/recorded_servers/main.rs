//! Our client talks to recorded stock servers: it gets by with what they answer, and asks for nothing they were not asked.
//!
//! Chunks and what depends on them are stand-ins (see the crate `traces`). What our client does otherwise than the
//! recorded ones is listed in `differences`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod differences;
mod local;
mod session;
mod sessions;
mod stock;

use std::sync::Arc;

use datastore::fixtures::TestStore;
use formats::{AuthId, StoreName};
use local::Local;
use replication::{
    Direction, JobOptions, LocalSource, LocalTarget, RemoteSource, RemoteTarget, Report, RunControl, RunResult, Silent,
    run,
};
use stock::Stock;
use traces::{Recording, Step, Trace, Twin};

/// All recordings' contents, and the recording a test is about.
fn stage(trace: Trace) -> (Recording, Arc<Twin>) {
    let all: Vec<Recording> = Trace::ALL.into_iter().map(Trace::load).collect();
    (trace.load(), Arc::new(Twin::of(&all.iter().collect::<Vec<_>>())))
}

/// The options on the recorded command line.
fn options(step: &Step, direction: Direction, owner: AuthId) -> JobOptions {
    let words: Vec<&str> = step.command.split(' ').collect();
    let value = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    let mut options = JobOptions::new(direction, owner);
    let (near, far) = (value("--ns").unwrap_or_default(), value("--remote-ns").unwrap_or_default());
    let (near, far) = (near.parse().unwrap(), far.parse().unwrap());
    (options.source_ns, options.target_ns) = if direction == Direction::Pull { (far, near) } else { (near, far) };
    options.max_depth = value("--max-depth").map(|depth| depth.parse().unwrap());
    options.transfer_last = value("--transfer-last").map(|count| count.parse().unwrap());
    options.remove_vanished = value("--remove-vanished") == Some("true");
    options.encrypted_only = value("--encrypted-only") == Some("true");
    if let Some(filter) = value("--group-filter") {
        options.group_filter = [filter.parse().unwrap()].into_iter().collect();
    }
    options.worker_threads = 1;
    options
}

async fn pull(stock: &Stock, options: &JobOptions, target: &TestStore) -> Report {
    let store: StoreName = "trA".parse().unwrap();
    let source = Arc::new(RemoteSource::new(stock.remote(), store));
    let target = Arc::new(LocalTarget::new(target.store().clone()).unwrap());
    run(options, source, target, &RunControl::new(), Arc::new(Silent)).await
}

async fn push(stock: &Stock, options: &JobOptions, source: &TestStore) -> Report {
    let store: StoreName = "trP".parse().unwrap();
    let target = Arc::new(RemoteTarget::connect(stock.remote(), store).await.unwrap());
    let source = Arc::new(LocalSource::new(source.store().clone()));
    run(options, source, target, &RunControl::new(), Arc::new(Silent)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_from_a_recorded_server_ask_what_was_asked_and_store_what_it_had() {
    let (recording, twin) = stage(Trace::Pull);
    let target = TestStore::new("trB");
    let local = Local::new(&target, &twin);
    let mut chunks = Vec::new();
    for step in recording.steps.iter().filter(|step| !step.connections.is_empty()) {
        let stock = Stock::start(&twin, step).await;
        let mut options = options(step, Direction::Pull, "root@pam".parse().unwrap());
        if step.name == "run of that job" {
            // The command names the job; what it does is told by the step before.
            options.source_ns = "prod".parse().unwrap();
            options.target_ns = "imp".parse().unwrap();
            options.max_depth = Some(1);
        }
        let report = pull(&stock, &options, &target).await;
        assert_eq!(report.result, RunResult::Ok, "{}: {report:?}\n{}", step.name, stock.lines().join("\n"));
        stock.expect_no_complaints();
        local.expect_everything_read_in(&recording, step, &options).await;
        chunks.extend(stock.lines().into_iter().filter(|line| line.contains("/chunk?")));
    }
    let fetched = chunks.len();
    chunks.sort_unstable();
    chunks.dedup();
    assert_eq!(fetched, chunks.len(), "a chunk was fetched twice");
    assert_eq!(local.snapshots("", "host/meta"), [1_763_600_100, 1_763_600_200, 1_763_600_300]);
    assert_eq!(local.snapshots("imp2", "host/meta"), [1_763_600_300]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_a_recorded_server_ask_what_was_asked_and_send_what_was_sent() {
    let (recording, twin) = stage(Trace::Push);
    let source = TestStore::new("trA");
    let local = Local::new(&source, &twin);
    for step in &recording.steps {
        local.prepare_source(&recording, step).await;
        let stock = Stock::start(&twin, step).await;
        let owner = stock.remote().auth_id().clone();
        let report = push(&stock, &options(step, Direction::Push, owner), &source).await;
        // Stock push gets by with a warning although nothing was sent; to us that is an error (see `differences`).
        let expected = if step.name.contains("owner differs") { RunResult::Error } else { RunResult::Ok };
        assert_eq!(report.result, expected, "{}: {report:?}\n{}", step.name, stock.lines().join("\n"));
        stock.expect_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_many_chunks_is_pulled_and_pushed_as_recorded() {
    let (recording, twin) = stage(Trace::ManyChunks);
    let find = |name: &str| recording.steps.iter().find(|step| step.name == name).unwrap();

    let (target, step) = (TestStore::new("trB"), find("pull"));
    let stock = Stock::start(&twin, step).await;
    let options_of_pull = options(step, Direction::Pull, "root@pam".parse().unwrap());
    let report = pull(&stock, &options_of_pull, &target).await;
    assert_eq!((report.result, report.chunks_transferred), (RunResult::Ok, 121), "{report:?}");
    stock.expect_no_complaints();
    Local::new(&target, &twin).expect_everything_read_in(&recording, step, &options_of_pull).await;

    let (source, step) = (TestStore::new("trA"), find("push"));
    Local::new(&source, &twin).prepare_source(&recording, step).await;
    let stock = Stock::start(&twin, step).await;
    let owner = stock.remote().auth_id().clone();
    let report = push(&stock, &options(step, Direction::Push, owner), &source).await;
    assert_eq!((report.result, report.chunks_transferred), (RunResult::Ok, 121), "{report:?}");
    stock.expect_no_complaints();
}
