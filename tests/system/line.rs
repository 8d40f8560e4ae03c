//! A counted, breakable line between a site and a server.

use std::{net::SocketAddr, time::Duration};

use tokio::runtime::Runtime;
use wan_proxy::{Line, Running};

/// A line with a runtime of its own, so that stories stay free of async.
pub(crate) struct Wire {
    running: Running,
    _runtime: Runtime,
}

impl Wire {
    /// A line that only counts.
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::with(Line::default(), server)
    }

    pub(crate) fn with(line: Line, server: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let running = runtime.block_on(line.start(([127, 0, 0, 1], 0).into(), server)).expect("a line");
        Self { running, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    pub(crate) fn bytes_up(&self) -> u64 {
        self.running.bytes_up()
    }

    pub(crate) fn bytes_down(&self) -> u64 {
        self.running.bytes_down()
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.running.was_cut()
    }

    /// Waits until more than `bytes` have passed in one direction, or `ended` says that nothing more will come.
    pub(crate) fn wait_for(&self, bytes: u64, mut ended: impl FnMut() -> bool) {
        while self.bytes_up().max(self.bytes_down()) <= bytes && !ended() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
