//! The token bucket as arithmetic: no clock, no waiting.
//!
//! Two counters only ever grow: what was charged, and what the rate has paid for. A charge returns the position of its
//! last byte; it is paid for when the second counter has reached that position. Charges are so paid in order, and a
//! change of the rate needs no bookkeeping in those who wait.

use std::time::Duration;

use tokio::time::Instant;

const NANOS: u128 = 1_000_000_000;

/// A rate and the allowance that may gather while nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Bytes per second; zero stops everything.
    pub(crate) per_second: u64,
    /// Bytes.
    pub(crate) burst: u64,
}

/// When a charge is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Now.
    Ready,
    /// After this time at the present rate.
    For(Duration),
    /// Not at the present rate, which is zero.
    UntilChange,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Option<Rate>,
    charged: u64,
    paid: u64,
    /// Part of a byte that is paid for, in 1/NANOS.
    carry: u128,
    last: Instant,
}

impl Bucket {
    /// Makes a bucket without a limit.
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: None, charged: 0, paid: 0, carry: 0, last: now }
    }

    /// Sets the rate; a limit that begins or ends does so with an empty bucket and no debts.
    pub(crate) fn set_rate(&mut self, rate: Option<Rate>, now: Instant) {
        self.advance(now);
        if self.rate.is_none() || rate.is_none() {
            self.paid = self.charged;
            self.carry = 0;
        }
        self.rate = rate;
    }

    /// Returns how much should move at once so that the flow is smooth: a twentieth of a second's worth, within
    /// limits; `None` without a limit.
    pub(crate) fn portion(&self) -> Option<usize> {
        let rate = self.rate?;
        let portion = (rate.per_second / 20).clamp(512, 256 * 1024).min(rate.burst.max(1));
        usize::try_from(portion).ok()
    }

    /// Charges `bytes` that moved; the answer is for [`Bucket::wait`].
    pub(crate) fn charge(&mut self, bytes: u64, now: Instant) -> u64 {
        self.advance(now);
        self.charged = self.charged.saturating_add(bytes);
        if self.rate.is_none() {
            self.paid = self.charged;
        }
        self.charged
    }

    /// Returns when the charge that answered `ticket` is paid for.
    pub(crate) fn wait(&mut self, ticket: u64, now: Instant) -> Wait {
        self.advance(now);
        let Some(rate) = self.rate else {
            return Wait::Ready;
        };
        let missing = ticket.saturating_sub(self.paid);
        if missing == 0 {
            return Wait::Ready;
        }
        if rate.per_second == 0 {
            return Wait::UntilChange;
        }
        let nanos = (u128::from(missing) * NANOS - self.carry).div_ceil(u128::from(rate.per_second));
        Wait::For(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        let Some(rate) = self.rate else { return };
        let earned = elapsed.as_nanos().saturating_mul(u128::from(rate.per_second)).saturating_add(self.carry);
        let paid = self.paid.saturating_add(u64::try_from(earned / NANOS).unwrap_or(u64::MAX));
        let limit = self.charged.saturating_add(rate.burst);
        (self.paid, self.carry) = if paid >= limit { (limit, 0) } else { (paid, earned % NANOS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(per_second: u64, burst: u64) -> (Bucket, Instant) {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.set_rate(Some(Rate { per_second, burst }), now);
        (bucket, now)
    }

    #[test]
    fn the_bucket_starts_empty() {
        let (mut bucket, now) = limited(1000, 1000);

        let ticket = bucket.charge(500, now);

        assert_eq!(bucket.wait(ticket, now), Wait::For(Duration::from_millis(500)));
    }

    #[test]
    fn an_idle_time_earns_at_most_the_burst() {
        let (mut bucket, now) = limited(1000, 2000);
        let later = now + Duration::from_secs(3600);

        let covered = bucket.charge(2000, later);
        let beyond = bucket.charge(1000, later);

        assert_eq!(bucket.wait(covered, later), Wait::Ready);
        assert_eq!(bucket.wait(beyond, later), Wait::For(Duration::from_secs(1)));
    }

    #[test]
    fn charges_are_paid_in_order() {
        let (mut bucket, now) = limited(100, 100);

        let first = bucket.charge(100, now);
        let second = bucket.charge(100, now);

        assert_eq!(bucket.wait(first, now), Wait::For(Duration::from_secs(1)));
        assert_eq!(bucket.wait(second, now), Wait::For(Duration::from_secs(2)));
    }

    #[test]
    fn a_faster_rate_shortens_a_debt_and_no_rate_forgives_it() {
        let (mut bucket, now) = limited(100, 100);
        let ticket = bucket.charge(1000, now);

        bucket.set_rate(Some(Rate { per_second: 1000, burst: 1000 }), now);
        assert_eq!(bucket.wait(ticket, now), Wait::For(Duration::from_secs(1)));

        bucket.set_rate(None, now);
        assert_eq!(bucket.wait(ticket, now), Wait::Ready);
    }

    #[test]
    fn parts_of_a_byte_are_not_lost_over_many_small_steps() {
        let (mut bucket, mut now) = limited(3, 1_000_000);
        let ticket = bucket.charge(30, now);

        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            bucket.wait(ticket, now);
        }

        assert_eq!(bucket.wait(ticket, now), Wait::Ready);
    }
}
