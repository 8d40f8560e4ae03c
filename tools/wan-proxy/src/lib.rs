//! A long-distance line in a process: forwards TCP on loopback with a one-way delay and a shared rate, and can break
//! once.
//!
//! Each direction delays every byte by half the round trip and lets all connections together pass the configured
//! rate. What is in flight is bounded by the line's bandwidth-delay product plus one mebibyte of queue per direction,
//! so a sender that waits for answers feels the distance, and one that does not fills the line.
//!
//! Tests also use it as a counter: with no delay and no rate it only counts the bytes of each direction.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What may stand in a queue beyond the bandwidth-delay product, in bytes.
const QUEUE_BYTES: usize = 1 << 20;
/// The window of a line without a rate, in bytes.
const UNLIMITED_WINDOW_BYTES: usize = 1 << 28;
/// Read size, in bytes; also the grain of delay and rate.
const READ_BYTES: usize = 64 << 10;

/// Properties of a line, the same in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Round-trip time; half of it delays each direction.
    pub round_trip: Duration,
    /// Bytes per second that all connections together may pass in one direction; 0 = no limit.
    pub bytes_per_second: u64,
    /// Drops every connection of the moment, one time, once this many bytes have passed in one direction; 0 = never.
    pub cut_after_bytes: u64,
}

/// A running line. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    up: Arc<Lane>,
    down: Arc<Lane>,
    cut: Arc<Cut>,
    accepting: JoinHandle<()>,
}

impl Running {
    /// The address clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have passed from clients to the server so far.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.up.passed.load(Ordering::Relaxed)
    }

    /// Bytes that have passed from the server to clients so far.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.down.passed.load(Ordering::Relaxed)
    }

    /// Whether the one cut has happened.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut.done.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut.now.notify_waiters();
    }
}

impl Line {
    /// Starts to forward connections from `listen` (port 0 picks a free one) to `upstream`.
    ///
    /// # Errors
    /// When `listen` cannot be bound.
    pub async fn start(self, listen: SocketAddr, upstream: SocketAddr) -> io::Result<Running> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (up, down) = (Arc::new(Lane::new(&self)), Arc::new(Lane::new(&self)));
        let cut = Arc::new(Cut { after: self.cut_after_bytes, done: AtomicBool::new(false), now: Notify::new() });
        let accepting = tokio::spawn(accept(listener, upstream, up.clone(), down.clone(), cut.clone()));
        Ok(Running { address, up, down, cut, accepting })
    }
}

/// One direction of the line, shared by every connection.
#[derive(Debug)]
struct Lane {
    delay: Duration,
    bytes_per_second: u64,
    window: Arc<Semaphore>,
    free_at: Mutex<Instant>,
    passed: AtomicU64,
}

impl Lane {
    fn new(line: &Line) -> Self {
        let in_flight = u128::from(line.bytes_per_second) * line.round_trip.as_micros() / 1_000_000;
        let window = match line.bytes_per_second {
            0 => UNLIMITED_WINDOW_BYTES,
            _ => usize::try_from(in_flight).unwrap_or(UNLIMITED_WINDOW_BYTES).min(UNLIMITED_WINDOW_BYTES) + QUEUE_BYTES,
        };
        Self {
            delay: line.round_trip / 2,
            bytes_per_second: line.bytes_per_second,
            window: Arc::new(Semaphore::new(window)),
            free_at: Mutex::new(Instant::now()),
            passed: AtomicU64::new(0),
        }
    }

    /// When the last of `bytes`, queued behind all sent before, leaves the far end.
    async fn due(&self, bytes: u64) -> Instant {
        let now = Instant::now();
        if self.bytes_per_second == 0 {
            return now + self.delay;
        }
        let mut free_at = self.free_at.lock().await;
        *free_at = (*free_at).max(now) + Duration::from_nanos(bytes * 1_000_000_000 / self.bytes_per_second);
        *free_at + self.delay
    }
}

/// The one break of the line.
#[derive(Debug)]
struct Cut {
    after: u64,
    done: AtomicBool,
    now: Notify,
}

async fn accept(listener: TcpListener, upstream: SocketAddr, up: Arc<Lane>, down: Arc<Lane>, cut: Arc<Cut>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(connect(near, upstream, up.clone(), down.clone(), cut.clone()));
    }
}

async fn connect(near: TcpStream, upstream: SocketAddr, up: Arc<Lane>, down: Arc<Lane>, cut: Arc<Cut>) {
    let broken = cut.now.notified();
    tokio::pin!(broken);
    broken.as_mut().enable();
    tokio::time::sleep(up.delay * 2).await; // the TCP handshake's round trip
    let Ok(far) = TcpStream::connect(upstream).await else { return };
    // Without TCP_NODELAY the line would be slower than it says; a socket that refuses it is still a line.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        _ = async { tokio::join!(
            carry(up, cut.clone(), near_read, far_write),
            carry(down, cut.clone(), far_read, near_write),
        ) } => {}
        () = broken => {}
    }
}

async fn carry(lane: Arc<Lane>, cut: Arc<Cut>, from: OwnedReadHalf, to: OwnedWriteHalf) {
    // Bounded by the permits that travel with the bytes.
    let (queue, arrivals) = mpsc::unbounded_channel();
    tokio::join!(take_in(lane.clone(), from, queue), give_out(lane, cut, arrivals, to));
}

type Arrival = (Instant, Vec<u8>, OwnedSemaphorePermit);

async fn take_in(lane: Arc<Lane>, mut from: OwnedReadHalf, queue: mpsc::UnboundedSender<Arrival>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(permits) = u32::try_from(read) else { return };
        let Ok(permit) = lane.window.clone().acquire_many_owned(permits).await else { return };
        let due = lane.due(u64::from(permits)).await;
        if queue.send((due, buffer[..read].to_vec(), permit)).is_err() {
            return;
        }
    }
}

async fn give_out(
    lane: Arc<Lane>,
    cut: Arc<Cut>,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    mut to: OwnedWriteHalf,
) {
    let mut backlog = VecDeque::new();
    while let Some(first) = arrivals.recv().await {
        backlog.push_back(first);
        while let Some((due, bytes, permit)) = backlog.pop_front() {
            sleep_until(due).await;
            let sent = to.write_all(&bytes).await;
            drop(permit);
            let length = bytes.len() as u64;
            let passed = lane.passed.fetch_add(length, Ordering::Relaxed) + length;
            if cut.after > 0 && passed > cut.after && !cut.done.swap(true, Ordering::SeqCst) {
                cut.now.notify_waiters();
            }
            if sent.is_err() {
                return;
            }
            while let Ok(next) = arrivals.try_recv() {
                backlog.push_back(next);
            }
        }
    }
    // The peer may have gone already; either way this direction has ended.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    tokio::io::copy(&mut read, &mut write).await.ok();
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_are_counted() {
        let line = Line::default().start(([127, 0, 0, 1], 0).into(), echo_server().await).await.unwrap();
        let mut socket = TcpStream::connect(line.address()).await.unwrap();

        socket.write_all(&[7; 300_000]).await.unwrap();
        let mut back = vec![0; 300_000];
        socket.read_exact(&mut back).await.unwrap();

        assert!(back.iter().all(|byte| *byte == 7));
        assert_eq!((line.bytes_up(), line.bytes_down()), (300_000, 300_000));
    }

    #[tokio::test]
    async fn the_line_is_cut_once_and_serves_again() {
        let cut = Line { cut_after_bytes: 100_000, ..Line::default() };
        let line = cut.start(([127, 0, 0, 1], 0).into(), echo_server().await).await.unwrap();
        let mut socket = TcpStream::connect(line.address()).await.unwrap();

        // The cut may show as an error on either side of the exchange, or as an early end.
        socket.write_all(&[1; 200_000]).await.ok();
        let mut back = Vec::new();
        socket.read_to_end(&mut back).await.ok();
        assert!(line.was_cut());
        assert!(back.len() < 200_000);

        let mut again = TcpStream::connect(line.address()).await.unwrap();
        again.write_all(&[2; 200_000]).await.unwrap();
        again.read_exact(&mut vec![0; 200_000]).await.unwrap();
    }
}
