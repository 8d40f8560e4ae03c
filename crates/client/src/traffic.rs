//! Counts the bytes of a run on the wire and holds them to a rate.
//!
//! Everything is measured below TLS, so the figures are what the line carries. One token bucket per direction is shared
//! by all connections of a run. A connection moves one small portion, charges the bucket for it, and may move the next
//! one only when the bucket has paid for the last: portions are paid in the order they were charged, so connections
//! take turns, and a change of the rate reaches those that wait.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::Instant,
};

use crate::{
    activity::{Activity, ThrottleGuard},
    bucket::{Bucket, Rate, Wait},
};

/// Counters and rates of all connections of one run.
///
/// The counters start at zero, the rates unlimited. Rates may be changed while transfers are under way.
#[derive(Debug)]
pub struct Traffic {
    inbound: Direction,
    outbound: Direction,
}

impl Traffic {
    /// Makes counters at zero and no limits.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inbound: Direction::new(), outbound: Direction::new() })
    }

    /// Returns the bytes received so far, TLS included.
    pub fn bytes_in(&self) -> u64 {
        self.inbound.bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes sent so far, TLS included.
    pub fn bytes_out(&self) -> u64 {
        self.outbound.bytes.load(Ordering::Relaxed)
    }

    /// Limits what is received to `rate` bytes per second, `None` for no limit.
    ///
    /// After an idle time up to `burst` bytes (default: `rate`) may pass at once; the allowance starts empty. A rate
    /// of zero stops the direction until the next change.
    pub fn set_rate_in(&self, rate: Option<u64>, burst: Option<u64>) {
        self.inbound.set_rate(rate, burst);
    }

    /// Charges `bytes` that move without a connection, as from disk to disk, to both rates and waits until they are paid
    /// for. They are no bytes on the wire and are not counted.
    pub async fn pay(&self, bytes: u64) {
        for direction in [&self.inbound, &self.outbound] {
            if let Some(ticket) = direction.charge(bytes) {
                direction.paid(ticket).await;
            }
        }
    }

    /// Limits what is sent, as [`Traffic::set_rate_in`] does what is received.
    pub fn set_rate_out(&self, rate: Option<u64>, burst: Option<u64>) {
        self.outbound.set_rate(rate, burst);
    }
}

/// One direction: what passed, and the bucket it is charged to.
#[derive(Debug)]
struct Direction {
    bytes: AtomicU64,
    /// False lets transfers pass without looking at the bucket.
    limited: AtomicBool,
    bucket: Mutex<Bucket>,
    /// Wakes those that wait when the rate changes.
    changes: watch::Sender<()>,
}

impl Direction {
    fn new() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            limited: AtomicBool::new(false),
            bucket: Mutex::new(Bucket::new(Instant::now())),
            changes: watch::Sender::new(()),
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // The bucket is valid after every statement, so a panic elsewhere while it was held does no harm.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_rate(&self, rate: Option<u64>, burst: Option<u64>) {
        let rate = rate.map(|per_second| Rate { per_second, burst: burst.unwrap_or(per_second) });
        self.bucket().set_rate(rate, Instant::now());
        self.limited.store(rate.is_some(), Ordering::Release);
        self.changes.send_replace(());
    }

    /// Returns how many bytes may move before the bucket must be asked again; `None` without a limit.
    fn portion(&self) -> Option<usize> {
        if !self.limited.load(Ordering::Acquire) {
            return None;
        }
        self.bucket().portion()
    }

    /// Accounts for `moved` bytes; returns the ticket to wait for when the bucket has not paid for them yet.
    fn account(&self, moved: usize) -> Option<u64> {
        self.bytes.fetch_add(moved as u64, Ordering::Relaxed);
        self.charge(moved as u64)
    }

    /// Charges the bucket; returns the ticket to wait for when it has not paid yet.
    fn charge(&self, moved: u64) -> Option<u64> {
        if moved == 0 || !self.limited.load(Ordering::Acquire) {
            return None;
        }
        let mut bucket = self.bucket();
        let now = Instant::now();
        let ticket = bucket.charge(moved, now);
        (bucket.wait(ticket, now) != Wait::Ready).then_some(ticket)
    }

    /// Waits until the bucket has paid for `ticket`.
    async fn paid(&self, ticket: u64) {
        let mut changes = self.changes.subscribe();
        loop {
            let wait = self.bucket().wait(ticket, Instant::now());
            match wait {
                Wait::Ready => return,
                Wait::For(time) => {
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        _ = changes.changed() => {}
                    }
                }
                // The sender lives as long as `self`, so this ends only by a change.
                Wait::UntilChange => drop(changes.changed().await),
            }
        }
    }
}

/// Which direction of a [`Traffic`].
#[derive(Debug, Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Traffic {
    fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::In => &self.inbound,
            Way::Out => &self.outbound,
        }
    }
}

/// The wait for the last portion of one direction of one connection.
struct Waiting {
    paid: Pin<Box<dyn Future<Output = ()> + Send>>,
    _guard: ThrottleGuard,
}

/// A byte stream whose traffic is counted and throttled. Sits between TCP and TLS.
pub(crate) struct Metered<S> {
    io: S,
    traffic: Arc<Traffic>,
    activity: Arc<Activity>,
    reading: Option<Waiting>,
    writing: Option<Waiting>,
}

impl<S> Metered<S> {
    pub(crate) fn new(io: S, traffic: Arc<Traffic>, activity: Arc<Activity>) -> Self {
        Self { io, traffic, activity, reading: None, writing: None }
    }

    /// Is ready when the last portion in direction `way` is paid for.
    fn poll_paid(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = match way {
            Way::In => &mut self.reading,
            Way::Out => &mut self.writing,
        };
        if let Some(pending) = waiting {
            ready!(pending.paid.as_mut().poll(cx));
            *waiting = None;
        }
        Poll::Ready(())
    }

    /// Counts and charges `moved` bytes.
    fn moved(&mut self, way: Way, moved: usize) {
        if moved > 0 {
            self.activity.touch();
        }
        let Some(ticket) = self.traffic.direction(way).account(moved) else {
            return;
        };
        let traffic = Arc::clone(&self.traffic);
        let waiting = Some(Waiting {
            paid: Box::pin(async move { traffic.direction(way).paid(ticket).await }),
            _guard: self.activity.throttled(),
        });
        match way {
            Way::In => self.reading = waiting,
            Way::Out => self.writing = waiting,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_paid(Way::In, cx));
        let moved = match this.traffic.inbound.portion() {
            Some(portion) if portion < buf.remaining() => {
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(portion));
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
                let moved = part.filled().len();
                buf.advance(moved);
                moved
            }
            _ => {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                buf.filled().len() - before
            }
        };
        this.moved(Way::In, moved);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_paid(Way::Out, cx));
        let portion = this.traffic.outbound.portion().unwrap_or(data.len()).min(data.len());
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, &data[..portion]))?;
        this.moved(Way::Out, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_paid(Way::Out, cx));
        if this.traffic.outbound.portion().is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
            return Pin::new(this).poll_write(cx, first);
        }
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, slices))?;
        this.moved(Way::Out, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pipe(traffic: &Arc<Traffic>, capacity: usize) -> (Metered<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(capacity);
        (Metered::new(ours, Arc::clone(traffic), Activity::new()), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_in_both_directions() {
        let traffic = Traffic::new();
        let (mut ours, mut theirs) = pipe(&traffic, 1 << 16);

        ours.write_all(&[1; 1000]).await.unwrap();
        theirs.write_all(&[2; 300]).await.unwrap();
        ours.read_exact(&mut [0; 300]).await.unwrap();

        assert_eq!((traffic.bytes_in(), traffic.bytes_out()), (300, 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_transfer_does_not_wait() {
        let traffic = Traffic::new();
        let (mut ours, _theirs) = pipe(&traffic, 1 << 20);
        let start = Instant::now();

        ours.write_all(&vec![1; 1 << 20]).await.unwrap();

        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_10_kb_makes_100_kb_take_10_seconds() {
        let traffic = Traffic::new();
        traffic.set_rate_out(Some(10_000), None);
        let (mut ours, _theirs) = pipe(&traffic, 1 << 20);
        let start = Instant::now();

        ours.write_all(&vec![1; 100_000]).await.unwrap();

        let seconds = start.elapsed().as_secs_f64();
        assert!((9.8..=10.1).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_read_arrives_in_small_steps() {
        let traffic = Traffic::new();
        traffic.set_rate_in(Some(20_000), None);
        let (mut ours, mut theirs) = pipe(&traffic, 1 << 20);
        theirs.write_all(&vec![1; 100_000]).await.unwrap();

        let first = ours.read(&mut vec![0; 100_000]).await.unwrap();

        assert!(first <= 1000, "{first} bytes at once is not smooth at 20 kB/s");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_share_one_rate_fairly() {
        let traffic = Traffic::new();
        traffic.set_rate_out(Some(100_000), None);
        let start = Instant::now();
        let one = |traffic: Arc<Traffic>| async move {
            let (mut ours, _theirs) = pipe(&traffic, 1 << 20);
            ours.write_all(&vec![1; 100_000]).await.unwrap();
            start.elapsed().as_secs_f64()
        };

        let (first, second) = tokio::join!(one(Arc::clone(&traffic)), one(Arc::clone(&traffic)));

        assert!((1.8..=2.1).contains(&first) && (1.8..=2.1).contains(&second), "{first} {second}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_without_a_connection_pays_the_lower_rate_and_is_not_counted() {
        let traffic = Traffic::new();
        traffic.pay(1 << 40).await;
        traffic.set_rate_in(Some(10_000), None);
        traffic.set_rate_out(Some(100_000), None);
        let start = Instant::now();

        for _ in 0..10 {
            traffic.pay(10_000).await;
        }

        let seconds = start.elapsed().as_secs_f64();
        assert!((9.8..=10.1).contains(&seconds), "{seconds}");
        assert_eq!((traffic.bytes_in(), traffic.bytes_out()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_rate_reaches_a_transfer_that_waits() {
        let traffic = Traffic::new();
        traffic.set_rate_out(Some(0), None);
        let (mut ours, _theirs) = pipe(&traffic, 1 << 20);
        let start = Instant::now();
        let release = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            traffic.set_rate_out(None, None);
        };

        let (written, ()) = tokio::join!(async { ours.write_all(&vec![1; 1 << 19]).await }, release);

        written.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
