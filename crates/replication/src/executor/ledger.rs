//! Which chunks a run has dealt with, and which are on their way.
//!
//! Two groups that share data meet here: the first to ask for a chunk claims it, the other waits for the outcome and
//! claims it itself if the first one failed. So a chunk travels once per run.
//!
//! A chunk is known by digest, length and kind together: an index that lies about a length gets nothing for it.
//!
//! Where the target's snapshots do not share their chunks, each has a ledger of its own. If they lend them, it is one
//! [`beside`](Ledger::beside) that of the run: who needs what another is sending waits until it is there, and then asks the
//! target whether it may be used here too.
//!
//! Memory: about 80 bytes per distinct chunk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::traits::ChunkRef;

/// The chunks of a run (or of one snapshot, where the target's snapshots do not share their chunks).
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    chunks: Arc<Mutex<HashMap<ChunkRef, State>>>,
    /// The run's, which says who is sending what to other snapshots.
    beside: Option<Arc<Ledger>>,
}

#[derive(Debug)]
enum State {
    Done,
    Claimed(watch::Receiver<()>),
}

/// The answer to whoever needs a chunk.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is at the target.
    Done,
    /// Deal with it, then complete the ticket.
    Mine(Ticket),
    /// Somebody else deals with it.
    Busy(Wait),
}

/// The duty to deal with a chunk. Dropping it uncompleted leaves the chunk to whoever asks next.
#[derive(Debug)]
pub(crate) struct Ticket {
    ledger: Ledger,
    chunk: ChunkRef,
    completed: bool,
    /// The same duty in the ledger beside, unless it was done for another snapshot before.
    beside: Option<Box<Ticket>>,
    _wakes_waiters_when_dropped: watch::Sender<()>,
}

/// Waits for somebody else's ticket.
#[derive(Debug)]
pub(crate) struct Wait(watch::Receiver<()>);

impl Ledger {
    /// A fresh ledger for one snapshot of a run whose other snapshots go by `of_run`.
    pub(crate) fn beside(of_run: &Ledger) -> Self {
        Self { chunks: Arc::default(), beside: Some(Arc::new(of_run.clone())) }
    }

    /// Asks who deals with a chunk. What is done in the ledger beside is still to be dealt with here.
    pub(crate) fn claim(&self, chunk: ChunkRef) -> Claim {
        let mut ticket = match self.claim_here(chunk) {
            Claim::Mine(ticket) => ticket,
            settled => return settled,
        };
        match self.beside.as_ref().map(|beside| beside.claim(chunk)) {
            None | Some(Claim::Done) => Claim::Mine(ticket),
            Some(Claim::Busy(wait)) => Claim::Busy(wait),
            Some(Claim::Mine(other)) => {
                ticket.beside = Some(Box::new(other));
                Claim::Mine(ticket)
            }
        }
    }

    fn claim_here(&self, chunk: ChunkRef) -> Claim {
        match self.chunks.lock().unwrap_or_else(PoisonError::into_inner).entry(chunk) {
            Entry::Occupied(entry) => match entry.get() {
                State::Done => Claim::Done,
                State::Claimed(waiter) => Claim::Busy(Wait(waiter.clone())),
            },
            Entry::Vacant(entry) => {
                let (sender, waiter) = watch::channel(());
                entry.insert(State::Claimed(waiter));
                Claim::Mine(Ticket {
                    ledger: self.clone(),
                    chunk,
                    completed: false,
                    beside: None,
                    _wakes_waiters_when_dropped: sender,
                })
            }
        }
    }
}

impl Ticket {
    /// The chunk is at the target.
    pub(crate) fn complete(mut self) {
        self.completed = true;
        if let Some(beside) = self.beside.take() {
            beside.complete();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut chunks = self.ledger.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if self.completed {
            chunks.insert(self.chunk, State::Done);
        } else {
            chunks.remove(&self.chunk);
        }
    }
}

impl Wait {
    /// Waits until the ticket is completed or dropped; ask again then.
    pub(crate) async fn over(mut self) {
        // Nothing is ever sent: the channel closes.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_is_claimed_once_and_again_after_a_failure() {
        let ledger = Ledger::default();
        let chunk = ChunkRef { digest: formats::ChunkDigest::of(b"a"), plain_len: 1, encrypted: false };

        let Claim::Mine(first) = ledger.claim(chunk) else { panic!("nobody else asked") };
        let Claim::Busy(wait) = ledger.claim(chunk) else { panic!("claimed twice") };
        drop(first);
        wait.over().await;
        let Claim::Mine(second) = ledger.claim(chunk) else { panic!("a failed claim must be free again") };
        let Claim::Busy(wait) = ledger.claim(chunk) else { panic!("claimed twice") };
        second.complete();
        wait.over().await;

        assert!(matches!(ledger.claim(chunk), Claim::Done));
    }

    #[tokio::test]
    async fn a_ledger_beside_waits_for_the_others_and_then_deals_with_the_chunk_itself() {
        let run = Ledger::default();
        let (one, other) = (Ledger::beside(&run), Ledger::beside(&run));
        let chunk = ChunkRef { digest: formats::ChunkDigest::of(b"a"), plain_len: 1, encrypted: false };

        let Claim::Mine(first) = one.claim(chunk) else { panic!("nobody else asked") };
        let Claim::Busy(wait) = other.claim(chunk) else { panic!("sent twice at once") };
        first.complete();
        wait.over().await;
        let Claim::Mine(second) = other.claim(chunk) else { panic!("it is not in this snapshot yet") };
        let Claim::Mine(third) = Ledger::beside(&run).claim(chunk) else { panic!("nobody has to wait any more") };
        second.complete();
        drop(third);

        for ledger in [one, other, run] {
            assert!(matches!(ledger.claim(chunk), Claim::Done));
        }
    }

    #[tokio::test]
    async fn a_failure_in_one_snapshot_leaves_the_chunk_to_the_next() {
        let run = Ledger::default();
        let (one, other) = (Ledger::beside(&run), Ledger::beside(&run));
        let chunk = ChunkRef { digest: formats::ChunkDigest::of(b"a"), plain_len: 1, encrypted: false };

        let Claim::Mine(first) = one.claim(chunk) else { panic!("nobody else asked") };
        let Claim::Busy(wait) = other.claim(chunk) else { panic!("sent twice at once") };
        drop(first);
        wait.over().await;
        let Claim::Mine(second) = other.claim(chunk) else { panic!("a failed claim must be free again") };
        assert!(matches!(one.claim(chunk), Claim::Busy(_)));
        second.complete();
        assert!(matches!(one.claim(chunk), Claim::Mine(_)));
    }
}
