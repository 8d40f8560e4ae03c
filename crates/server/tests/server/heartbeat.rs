//! A server that cannot serve does not say that it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use config::{Paths, ServerConf};
use server::{Server, Settings};
use tokio::net::TcpListener;

use super::support::PATIENCE;

const INTERVAL: Duration = Duration::from_millis(5);

#[test]
fn the_heart_beats_while_workers_are_free_and_stands_still_when_all_are_stuck() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under_root(root.path());
    let certificate = config::cert::ensure(&paths, &ServerConf::default(), chrono::Utc::now()).unwrap();
    let tls = server::server_config(certificate.certificate_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap();
    let beats = Arc::new(AtomicUsize::new(0));
    // As in the daemon: the listener is on the main thread, what serves connections on the workers - here a single one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (heart, workers) = (Arc::clone(&beats), runtime.handle().clone());
    let story = thread::spawn(move || {
        let beyond = |count: usize| {
            let begun = Instant::now();
            while beats.load(Ordering::SeqCst) <= count {
                assert!(begun.elapsed() < PATIENCE, "no more than {count} beats");
                thread::sleep(INTERVAL);
            }
        };
        beyond(3);

        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        workers.spawn(async move {
            begin.send(()).unwrap();
            let _ = released.recv();
        });
        begun.recv().unwrap();
        let before = beats.load(Ordering::SeqCst);
        thread::sleep(20 * INTERVAL);
        assert_eq!(beats.load(Ordering::SeqCst), before, "the only worker is stuck");

        drop(release);
        beyond(before);
        drop(stop);
    });
    runtime.block_on(async {
        let server = Server::new(paths, Settings::default(), tls).unwrap().with_heartbeat(INTERVAL, move || {
            heart.fetch_add(1, Ordering::SeqCst);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = async {
            let _ = stopped.await;
        };
        server::run(listener, server, shutdown).await.unwrap();
    });
    story.join().unwrap();
}
