//! Which connections are open and what each is doing, so that idle ones can be told from busy ones.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::settings::Settings;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request.
    Idle,
    /// The first bytes of a request came then.
    Head(Instant),
    /// So many requests are being answered.
    Busy(usize),
    /// It belongs to a session now.
    Session,
}

/// One connection.
pub(crate) struct Connection {
    id: u64,
    state: Mutex<(Phase, Instant)>,
    evict: Notify,
}

impl Connection {
    fn with<T>(&self, change: impl FnOnce(&mut Phase, &mut Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (phase, last) = &mut *state;
        change(phase, last)
    }

    /// A request head is complete; busy until the mark is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.with(|phase, _| {
            *phase = match *phase {
                Phase::Busy(count) => Phase::Busy(count + 1),
                Phase::Session => Phase::Session,
                Phase::Idle | Phase::Head(_) => Phase::Busy(1),
            };
        });
        Busy(Arc::clone(self))
    }

    /// The connection now belongs to a session, which has its own rules.
    pub(crate) fn becomes_session(&self) {
        self.with(|phase, _| *phase = Phase::Session);
    }

    /// Resolves when the connection must go, with the reason.
    pub(crate) async fn overdue(&self, settings: &Settings) -> &'static str {
        loop {
            let now = Instant::now();
            let (left, reason) = self.with(|phase, last| match *phase {
                Phase::Idle => (settings.idle_timeout.saturating_sub(now - *last), "idle for too long"),
                Phase::Head(since) => (settings.head_timeout.saturating_sub(now - since), "request head too slow"),
                Phase::Busy(_) | Phase::Session => (Duration::MAX, ""),
            });
            if left.is_zero() {
                return reason;
            }
            let pause = left.min(Duration::from_secs(1));
            tokio::select! {
                () = self.evict.notified() => return "making room for a new connection",
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// A request is being answered.
pub(crate) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|phase, last| {
            *last = Instant::now();
            *phase = match *phase {
                Phase::Busy(count) if count > 1 => Phase::Busy(count - 1),
                Phase::Session => Phase::Session,
                _ => Phase::Idle,
            };
        });
    }
}

/// All open connections.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<Mutex<HashMap<u64, Arc<Connection>>>>,
    next: Arc<AtomicU64>,
    max: usize,
}

impl Connections {
    /// Room for `max` connections.
    pub(crate) fn new(max: usize) -> Self {
        Self { open: Arc::default(), next: Arc::default(), max }
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Admits a connection. At the cap the one idle for longest is told to go; `None` when none is idle.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.max {
            let oldest = open
                .values()
                .filter_map(|connection| {
                    connection
                        .with(|phase, last| (*phase == Phase::Idle).then_some(*last))
                        .map(|last| (last, connection.id))
                })
                .min();
            let (_, id) = oldest?;
            if let Some(connection) = open.remove(&id) {
                connection.evict.notify_one();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection =
            Arc::new(Connection { id, state: Mutex::new((Phase::Idle, Instant::now())), evict: Notify::new() });
        open.insert(id, Arc::clone(&connection));
        Some(Admission { connection, all: self.clone() })
    }
}

/// A place among the connections, given back when dropped.
pub(crate) struct Admission {
    connection: Arc<Connection>,
    all: Connections,
}

impl Admission {
    /// The connection.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection.id);
    }
}

/// A stream that notes when bytes arrive on a connection, and holds its place.
pub(crate) struct Watched<T> {
    inner: T,
    place: Admission,
}

impl<T> Watched<T> {
    /// Watches `inner`.
    pub(crate) fn new(inner: T, place: Admission) -> Self {
        Self { inner, place }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.place.connection.with(|phase, _| {
                if *phase == Phase::Idle {
                    *phase = Phase::Head(Instant::now());
                }
            });
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_cap_the_oldest_idle_connection_goes() {
        let connections = Connections::new(2);
        let first = connections.admit().unwrap();
        let second = connections.admit().unwrap();
        let busy = first.connection().busy();
        let third = connections.admit().unwrap();
        assert!(!connections.open.lock().unwrap().contains_key(&second.connection().id));
        let _busy = third.connection().busy();
        assert!(connections.admit().is_none(), "busy connections stay");
        drop(busy);
        assert!(connections.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_never_overdue() {
        let connections = Connections::new(1);
        let place = connections.admit().unwrap();
        place.connection().becomes_session();
        drop(place.connection().busy());
        let settings = Settings { idle_timeout: Duration::ZERO, head_timeout: Duration::ZERO, ..Settings::default() };
        let overdue = place.connection().overdue(&settings);
        assert!(tokio::time::timeout(Duration::from_secs(5), overdue).await.is_err());
    }
}
