//! Who sent which chunks lately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use formats::{AuthId, ChunkDigest};

/// Chunks sent are remembered for this time at least, and twice as long at most: what broke off is gone on with in time.
const REMEMBERED: Duration = Duration::from_secs(12 * 3600);

/// Bytes that a remembered chunk takes, with the hash table's empty places.
const EACH: u64 = 80;

type Sent = HashMap<AuthId, HashMap<ChunkDigest, u64>>;

/// Who sent which chunks, as far as this process knows. The oldest are forgotten first.
pub(crate) struct Uploads {
    most: usize,
    generations: Mutex<Option<Generations>>,
}

/// Two generations: when the young one is full or old, it replaces the old one.
struct Generations {
    begun: Instant,
    count: usize,
    young: Sent,
    old: Sent,
}

impl Uploads {
    /// Keeps at most about `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        let most = usize::try_from(memory / EACH / 2).unwrap_or(usize::MAX).max(1);
        Self { most, generations: Mutex::default() }
    }

    /// Remembers an upload.
    pub(super) fn add(&self, who: &AuthId, digest: ChunkDigest, length: u64, now: Instant) {
        let mut guard = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let generations = self.current(&mut guard, now);
        if !generations.young.contains_key(who) {
            generations.young.insert(who.clone(), HashMap::new());
        }
        if let Some(sent) = generations.young.get_mut(who)
            && sent.insert(digest, length).is_none()
        {
            generations.count += 1;
        }
    }

    /// Fills in the lengths of chunks that exactly this identity sent.
    pub(super) fn find(&self, who: &AuthId, now: Instant, wanted: &mut HashMap<ChunkDigest, Option<u64>>) {
        let mut guard = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let generations = self.current(&mut guard, now);
        let sent: Vec<_> = [&generations.young, &generations.old].iter().filter_map(|sent| sent.get(who)).collect();
        for (digest, length) in wanted.iter_mut().filter(|(_, length)| length.is_none()) {
            *length = sent.iter().find_map(|sent| sent.get(digest).copied());
        }
    }

    fn current<'a>(&self, slot: &'a mut Option<Generations>, now: Instant) -> &'a mut Generations {
        let new = || Generations { begun: now, count: 0, young: Sent::new(), old: Sent::new() };
        let generations = slot.get_or_insert_with(new);
        let age = now.saturating_duration_since(generations.begun);
        if age >= 2 * REMEMBERED {
            *generations = new();
        } else if age >= REMEMBERED || generations.count >= self.most {
            generations.old = std::mem::take(&mut generations.young);
            generations.count = 0;
            // However late anybody looks, what is old now goes on time.
            generations.begun = if age >= REMEMBERED { generations.begun + REMEMBERED } else { now };
        }
        generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(uploads: &Uploads, who: &str, plain: &[u8], now: Instant) -> Option<u64> {
        let digest = ChunkDigest::of(plain);
        let mut wanted = HashMap::from([(digest, None)]);
        uploads.find(&who.parse().unwrap(), now, &mut wanted);
        wanted[&digest]
    }

    #[test]
    fn only_the_very_identity_that_sent_a_chunk_is_known_for_it() {
        let (uploads, now) = (Uploads::new(1 << 20), Instant::now());
        uploads.add(&"a@pbs!one".parse().unwrap(), ChunkDigest::of(b"x"), 1, now);

        assert_eq!(finds(&uploads, "a@pbs!one", b"x", now), Some(1));
        for other in ["a@pbs", "a@pbs!two", "b@pbs!one"] {
            assert_eq!(finds(&uploads, other, b"x", now), None, "{other}");
        }
        assert_eq!(finds(&uploads, "a@pbs!one", b"y", now), None);
    }

    #[test]
    fn uploads_are_remembered_for_half_a_day_and_forgotten_within_a_whole_one() {
        let (uploads, now) = (Uploads::new(1 << 20), Instant::now());
        uploads.add(&"a@pbs".parse().unwrap(), ChunkDigest::of(b"x"), 1, now);
        uploads.add(&"a@pbs".parse().unwrap(), ChunkDigest::of(b"y"), 1, now + REMEMBERED - Duration::from_secs(1));

        assert_eq!(finds(&uploads, "a@pbs", b"y", now + 2 * REMEMBERED - Duration::from_secs(2)), Some(1));
        assert_eq!(finds(&uploads, "a@pbs", b"x", now + 2 * REMEMBERED), None);
        assert_eq!(finds(&uploads, "a@pbs", b"x", now + 20 * REMEMBERED), None);
    }

    #[test]
    fn the_newest_fit_into_the_memory() {
        let (uploads, now) = (Uploads::new(20 * EACH), Instant::now());
        for number in 0..1000_u32 {
            uploads.add(&"a@pbs".parse().unwrap(), ChunkDigest::of(&number.to_le_bytes()), 4, now);
        }
        let known = (0..1000_u32).filter(|number| finds(&uploads, "a@pbs", &number.to_le_bytes(), now).is_some());
        let known: Vec<u32> = known.collect();
        assert!(known.len() <= 20 && known.len() >= 10, "{known:?}");
        assert_eq!(known.last(), Some(&999));
    }
}
