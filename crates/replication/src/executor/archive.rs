//! The chunks of one archive: which are missing, many on their way, each checked and stored.
//!
//! One task drives it all: while it waits for room, or for the target to say what is missing, chunks already on their
//! way go on. It waits for somebody else's chunk only when none of its own is left.

use std::collections::HashSet;

use formats::{DataBlob, FileInfo, Index};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::admission::Permit;
use super::ledger::{Claim, Ledger, Ticket, Wait};
use super::{Engine, Slot};
use crate::error::EndError;
use crate::rehearsal::Notes;
use crate::report::Event;
use crate::traits::{ArchiveHandle, ChunkRef, OpenSnapshot, SnapshotSink};
use crate::verify;

/// Chunks the source is asked for at once.
const FETCHED_AT_ONCE: usize = 8;

/// A chunk with everything it needs on its way.
struct Admitted {
    chunk: ChunkRef,
    ticket: Ticket,
    room: Permit,
}

type InFlight<'a> = FuturesUnordered<BoxFuture<'a, Result<(), EndError>>>;

/// What the transfer of an archive works with.
#[derive(Clone, Copy)]
struct Lane<'a> {
    engine: &'a Engine,
    open: &'a dyn OpenSnapshot,
    sink: &'a dyn SnapshotSink,
    archive: &'a ArchiveHandle,
    slot: &'a Slot,
}

impl Engine {
    /// Brings every chunk of `index` that the target lacks.
    #[expect(clippy::too_many_arguments, reason = "both ends, the archive in three forms, and what is shared")]
    pub(super) async fn chunks(
        &self,
        open: &dyn OpenSnapshot,
        sink: &dyn SnapshotSink,
        archive: &ArchiveHandle,
        info: &FileInfo,
        index: &Index,
        ledger: &Ledger,
        slot: &Slot,
    ) -> Result<(), EndError> {
        let lane = Lane { engine: self, open, sink, archive, slot };
        let mut in_flight = InFlight::new();
        let mut seen = HashSet::new();
        let mut repeated = 0;
        let mut refs = ChunkRef::of_index(index, info.crypt_mode).filter(|chunk| {
            let first = seen.insert(*chunk);
            repeated += if first { 0 } else { chunk.plain_len };
            first
        });

        let moved = lane.all(&mut refs, ledger, &mut in_flight).await;
        if let Err(error) = moved {
            if error.is_broken_connection() {
                // What came in before the line broke is worth keeping; the rest fails at once.
                drop(drain(&mut in_flight).await);
            }
            return Err(error);
        }
        self.monitor.event(Event::Progress {
            transferred_bytes: 0,
            logical_bytes: repeated,
            chunks_transferred: 0,
            chunks_reused: 0,
        });
        Ok(())
    }
}

impl<'a> Lane<'a> {
    /// Brings all of `refs`: first what nobody else deals with, then what the others did not bring.
    async fn all(
        self,
        refs: &mut (dyn Iterator<Item = ChunkRef> + Send + '_),
        ledger: &Ledger,
        in_flight: &mut InFlight<'a>,
    ) -> Result<(), EndError> {
        let mut busy = self.distribute(refs, ledger, in_flight).await?;
        drain(in_flight).await?;
        while !busy.is_empty() {
            let mut again = Vec::with_capacity(busy.len());
            for (chunk, wait) in busy {
                wait.over().await;
                again.push(chunk);
            }
            busy = self.distribute(&mut again.into_iter(), ledger, in_flight).await?;
            drain(in_flight).await?;
        }
        Ok(())
    }

    /// Starts everything in `refs` that nobody else deals with and returns the rest.
    async fn distribute(
        self,
        refs: &mut (dyn Iterator<Item = ChunkRef> + Send + '_),
        ledger: &Ledger,
        in_flight: &mut InFlight<'a>,
    ) -> Result<Vec<(ChunkRef, Wait)>, EndError> {
        let mut busy = Vec::new();
        let at_once = self.sink.asks_at_once().max(1);
        loop {
            let (mut mine, mut exhausted) = (Vec::new(), true);
            for chunk in &mut *refs {
                match ledger.claim(chunk) {
                    Claim::Done => self.reused(&chunk),
                    Claim::Busy(wait) => busy.push((chunk, wait)),
                    Claim::Mine(ticket) => mine.push((chunk, ticket)),
                }
                if mine.len() >= at_once {
                    exhausted = false;
                    break;
                }
            }
            self.start(mine, in_flight).await?;
            if exhausted {
                return Ok(busy);
            }
        }
    }

    /// Asks the target about claimed chunks and sends for those it lacks.
    async fn start(self, mine: Vec<(ChunkRef, Ticket)>, in_flight: &mut InFlight<'a>) -> Result<(), EndError> {
        if mine.is_empty() {
            return Ok(());
        }
        let asked: Vec<ChunkRef> = mine.iter().map(|(chunk, _)| *chunk).collect();
        let lacking: HashSet<ChunkRef> = meanwhile(in_flight, self.sink.missing(&asked)).await??.into_iter().collect();

        let mut batch: Vec<Admitted> = Vec::new();
        for (chunk, ticket) in mine {
            if !lacking.contains(&chunk) {
                ticket.complete();
                self.reused(&chunk);
                continue;
            }
            if let Some(notes) = &self.engine.rehearsal {
                self.rehearse(notes, &chunk).await?;
                ticket.complete();
                continue;
            }
            let room = match self.engine.admission.try_chunk(&chunk) {
                Some(room) if batch.len() < FETCHED_AT_ONCE => room,
                taken => {
                    drop(taken);
                    // Nobody may hold room without using it: send off what was admitted, then wait.
                    self.send(&mut batch, in_flight);
                    meanwhile(in_flight, self.engine.control.ready()).await??;
                    meanwhile(in_flight, self.engine.admission.chunk(&chunk))
                        .await?
                        .ok_or_else(|| EndError::stop("the run is over"))?
                }
            };
            batch.push(Admitted { chunk, ticket, room });
        }
        self.send(&mut batch, in_flight);
        Ok(())
    }

    fn send(self, batch: &mut Vec<Admitted>, in_flight: &mut InFlight<'a>) {
        if !batch.is_empty() {
            in_flight.push(Box::pin(self.transfer(std::mem::take(batch))));
        }
    }

    /// Fetches, checks and stores a few chunks.
    async fn transfer(self, mut batch: Vec<Admitted>) -> Result<(), EndError> {
        let chunks: Vec<ChunkRef> = batch.iter().map(|admitted| admitted.chunk).collect();
        let mut fetched = self
            .open
            .fetch(chunks)
            .map(|(chunk, blob)| {
                let at = batch.iter().position(|admitted| admitted.chunk == chunk);
                let admitted = at.map(|at| batch.swap_remove(at));
                async move {
                    // What nobody asked for is dropped.
                    let Some(admitted) = admitted else { return Ok(()) };
                    self.store(admitted, blob).await
                }
            })
            .buffer_unordered(FETCHED_AT_ONCE);
        let mut broken = None;
        while let Some(stored) = fetched.next().await {
            keep_going(stored, &mut broken)?;
        }
        drop(fetched);
        if let Some(broken) = broken {
            return Err(broken);
        }
        match batch.first() {
            None => Ok(()),
            Some(left) => Err(EndError::skip(format!("chunk {} was not delivered", left.chunk.digest))),
        }
    }

    async fn store(self, admitted: Admitted, blob: Result<DataBlob, EndError>) -> Result<(), EndError> {
        let Admitted { chunk, ticket, room } = admitted;
        let blob = blob.map_err(|error| error.while_doing(format!("chunk {}", chunk.digest)))?;
        let encoded = blob.encoded_len();
        let blob = verify::check(chunk, blob).await.map_err(|error| {
            EndError::skip(format!("chunk {} from the source is refused", chunk.digest))
                .caused_by(error)
                .with_hint("verify the snapshot at the source")
        })?;
        self.sink.put_chunk(self.archive, chunk, blob).await?;
        ticket.complete();
        drop(room);

        self.transferred(&chunk, encoded);
        Ok(())
    }

    /// Counts a chunk that a run would send.
    async fn rehearse(self, notes: &Notes, chunk: &ChunkRef) -> Result<(), EndError> {
        let known = self.open.encoded_len(chunk).await;
        let encoded = match known.map_err(|error| error.while_doing(format!("chunk {}", chunk.digest)))? {
            Some(encoded) => encoded,
            None => {
                notes.is_bound();
                chunk.max_encoded()
            }
        };
        self.transferred(chunk, encoded);
        Ok(())
    }

    fn transferred(self, chunk: &ChunkRef, encoded: u64) {
        let mut report = self.slot.lock();
        report.chunks_transferred += 1;
        report.logical_bytes_transferred += chunk.plain_len;
        report.bytes_transferred += encoded;
        drop(report);
        self.engine.monitor.event(Event::Progress {
            transferred_bytes: encoded,
            logical_bytes: chunk.plain_len,
            chunks_transferred: 1,
            chunks_reused: 0,
        });
    }

    fn reused(self, chunk: &ChunkRef) {
        let mut report = self.slot.lock();
        report.chunks_reused += 1;
        report.bytes_reused += chunk.plain_len;
        drop(report);
        self.engine.monitor.event(Event::Progress {
            transferred_bytes: 0,
            logical_bytes: chunk.plain_len,
            chunks_transferred: 0,
            chunks_reused: 1,
        });
    }
}

/// Waits for `work` while everything on its way goes on.
async fn meanwhile<T>(in_flight: &mut InFlight<'_>, work: impl Future<Output = T>) -> Result<T, EndError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            Some(stored) = in_flight.next(), if !in_flight.is_empty() => stored?,
        }
    }
}

/// Waits for everything on its way. A broken connection ends it when the rest has been heard of, other errors at once.
async fn drain(in_flight: &mut InFlight<'_>) -> Result<(), EndError> {
    let mut broken = None;
    while let Some(stored) = in_flight.next().await {
        keep_going(stored, &mut broken)?;
    }
    broken.map_or(Ok(()), Err)
}

/// Keeps the first broken connection in `broken` and lets the others go on; any other error is returned.
fn keep_going(stored: Result<(), EndError>, broken: &mut Option<EndError>) -> Result<(), EndError> {
    match stored {
        Err(error) if error.is_broken_connection() => {
            broken.get_or_insert(error);
            Ok(())
        }
        stored => stored,
    }
}
