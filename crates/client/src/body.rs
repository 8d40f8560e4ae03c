//! Waits for answers that may never come and collects bodies that may never end.

use std::{future::Future, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Response, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::activity::Activity;

/// A request without bytes of its own fails after this many times the stall limit, however busy its connection is.
const BUSY_FACTOR: u32 = 30;

/// Frames below this length are copied, so that a small body does not hold on to a large receive buffer.
const COPY_BELOW: usize = 64 * 1024;

/// No more than this is allocated on the word of a `content-length`.
const TRUSTED_LENGTH: u64 = 16 * 1024 * 1024 + 64;

/// Nothing moved for this long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stalled(pub(crate) Duration);

/// Watches one request: it must see bytes of its own, or its connection must.
pub(crate) struct Watch<'a> {
    activity: &'a Activity,
    stall: Duration,
    /// How many times `stall` the request itself may be silent while its connection is not.
    busy_factor: u32,
    own: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(activity: &'a Activity, stall: Duration) -> Self {
        Self { activity, stall, busy_factor: BUSY_FACTOR, own: Instant::now() }
    }

    /// Makes a watch to which bytes on the connection do not count, only time under our own rate limit.
    pub(crate) fn strict(activity: &'a Activity, limit: Duration) -> Self {
        Self { busy_factor: 1, ..Self::new(activity, limit) }
    }

    /// Waits for `step` of the request; its end counts as a sign of life.
    pub(crate) async fn step<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut step = pin!(step);
        loop {
            let hopeless = self.own + self.stall.saturating_mul(self.busy_factor);
            let deadline = (self.own.max(self.activity.last()) + self.stall).min(hopeless);
            tokio::select! {
                biased;
                done = &mut step => {
                    self.own = Instant::now();
                    return Ok(done);
                }
                () = tokio::time::sleep_until(deadline) => {}
            }
            let now = Instant::now();
            if self.activity.is_throttled() {
                self.own = now;
            } else if now >= hopeless || now >= self.own.max(self.activity.last()) + self.stall {
                return Err(Stalled(now - self.own));
            }
        }
    }
}

/// Why a body could not be collected.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is longer than allowed.
    TooLong,
    /// It ended, but not after the announced number of bytes.
    Length { announced: u64, found: u64 },
    /// Nothing came any more.
    Stalled(Stalled),
    /// Connection or stream broke.
    Broken { source: hyper::Error, announced: Option<u64>, found: u64 },
}

/// Collects a body of at most `max` bytes.
///
/// A body that came as one large frame is passed on as it is; several frames are put together in one buffer, allocated
/// once when `content-length` says how long it must be.
pub(crate) async fn collect(response: Response<Incoming>, max: u64, watch: &mut Watch<'_>) -> Result<Bytes, BodyError> {
    let announced = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(BodyError::TooLong);
    }
    let mut body = response.into_body();
    let mut found: u64 = 0;
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = watch.step(body.frame()).await.map_err(BodyError::Stalled)? {
        let frame = frame.map_err(|source| BodyError::Broken { source, announced, found })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        found += data.len() as u64;
        if found > max {
            return Err(BodyError::TooLong);
        }
        if found == data.len() as u64 {
            first = data;
            continue;
        }
        if joined.is_empty() {
            let expected = announced.unwrap_or(found).min(TRUSTED_LENGTH).max(found);
            joined.reserve(usize::try_from(expected).map_err(|_| BodyError::TooLong)?);
            joined.extend_from_slice(&first);
            first = Bytes::new();
        }
        joined.extend_from_slice(&data);
    }
    if let Some(announced) = announced
        && announced != found
    {
        return Err(BodyError::Length { announced, found });
    }
    Ok(match (joined.is_empty(), first.len() < COPY_BELOW) {
        (false, _) => joined.freeze(),
        (true, true) => Bytes::copy_from_slice(&first),
        (true, false) => first,
    })
}

/// Makes one printable line of what a server said.
pub(crate) fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line: String = text.trim().chars().take(1000).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() { "(no text)".into() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn silence_on_request_and_connection_is_a_stall() {
        let activity = Activity::new();
        let start = Instant::now();

        let outcome = Watch::new(&activity, STALL).step(std::future::pending::<()>()).await;

        assert!(outcome.is_err());
        assert_eq!(start.elapsed(), STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_gives_a_waiting_request_more_time() {
        let activity = Activity::new();
        let busy = async {
            for _ in 0..5 {
                tokio::time::sleep(STALL / 2).await;
                activity.touch();
            }
            std::future::pending::<()>().await;
        };
        let start = Instant::now();

        let outcome = tokio::select! {
            outcome = async { Watch::new(&activity, STALL).step(std::future::pending::<()>()).await } => outcome,
            () = busy => unreachable!(),
        };

        assert!(outcome.is_err());
        assert_eq!(start.elapsed(), STALL / 2 * 5 + STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_gets_a_byte_of_its_own_ends_however_busy_the_connection_is() {
        let activity = Activity::new();
        let busy = async {
            loop {
                tokio::time::sleep(STALL / 2).await;
                activity.touch();
            }
        };
        let start = Instant::now();

        tokio::select! {
            outcome = async { Watch::new(&activity, STALL).step(std::future::pending::<()>()).await } => {
                assert!(outcome.is_err());
            }
            () = busy => {}
        }

        assert_eq!(start.elapsed(), STALL * BUSY_FACTOR);
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_under_our_own_rate_limit_is_no_stall() {
        let activity = Activity::new();
        let guard = activity.throttled();
        let start = Instant::now();
        let release = async {
            tokio::time::sleep(STALL * 4).await;
            drop(guard);
            std::future::pending::<()>().await;
        };

        tokio::select! {
            outcome = async { Watch::new(&activity, STALL).step(std::future::pending::<()>()).await } => {
                assert!(outcome.is_err());
            }
            () = release => {}
        }

        assert_eq!(start.elapsed(), STALL * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_strict_watch_does_not_count_what_others_move() {
        let activity = Activity::new();
        let start = Instant::now();
        let busy = async {
            loop {
                tokio::time::sleep(STALL / 4).await;
                activity.touch();
            }
        };

        tokio::select! {
            outcome = async { Watch::strict(&activity, STALL).step(std::future::pending::<()>()).await } => {
                assert!(outcome.is_err());
            }
            () = busy => {}
        }

        assert_eq!(start.elapsed(), STALL);
    }

    #[test]
    fn what_a_server_says_becomes_one_printable_line() {
        assert_eq!(one_line(b"no\nsuch\x1b[2J thing\n"), "no such [2J thing");
        assert_eq!(one_line(b""), "(no text)");
        assert_eq!(one_line(&[b'x'; 100_000]).len(), 1000);
    }
}
