//! A large file over several connections.
//!
//! A store gives each connection so much and no more. When one connection has shown that it is held back, the rest of the
//! file is cut into pieces of the same version, which several connections take from an ordered queue and put to their
//! places in the partial file. Each piece is verified and tried again by itself. Everything is done on one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Response;
use tokio::sync::Mutex;

use super::range::{Asked, Meaning};
use super::source::Source;
use super::{Interruption, Transfer, ask};
use crate::api::DownloadUrl;
use crate::failure::Failure;
use crate::fault::{Fault, Kind};
use crate::figures;
use crate::retry::{Attempts, Next};
use crate::step::Step;

/// When and how a download is spread over several connections.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// So many connections at most.
    pub connections: usize,
    /// A file with less left than this is not worth it.
    pub from: u64,
    /// A piece is a 64th of what is left, but never smaller or larger than these.
    pub piece: (u64, u64),
    /// After so long, the speed of the first connection tells.
    pub after: Duration,
    /// A connection with so many bytes per second is not held back by the store: it fills the line.
    pub fast: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            connections: 8,
            from: 32 << 20,
            piece: (1 << 20, 16 << 20),
            after: Duration::from_millis(100),
            fast: 150_000_000,
        }
    }
}

impl Spread {
    /// Whether what is left should come over several connections, when the first one has brought `received` bytes in
    /// `time`.
    #[must_use]
    pub fn is_worth_it(&self, left: u64, received: u64, time: Duration) -> bool {
        time >= self.after && left >= self.from && (received as f64) < self.fast as f64 * time.as_secs_f64()
    }

    /// What is left, in pieces.
    fn cut(&self, left: Range<u64>) -> VecDeque<Range<u64>> {
        let size = ((left.end - left.start) / 64).clamp(self.piece.0, self.piece.1).max(1);
        let mut pieces = VecDeque::new();
        let mut start = left.start;
        while start < left.end {
            let end = left.end.min(start + size);
            pieces.push_back(start..end);
            start = end;
        }
        pieces
    }
}

/// What the connections share.
pub(super) struct Pieces<'a, 'o, F> {
    pub(super) step: &'a Step<'a>,
    pub(super) store: &'a reqwest::Client,
    pub(super) source: &'a Mutex<Source<F>>,
    pub(super) transfer: RefCell<&'a mut Transfer<'o>>,
    etag: String,
    total: u64,
    queue: RefCell<VecDeque<Range<u64>>>,
    connections: Cell<usize>,
    /// No request before this time, counted from the start of the step: a store has asked for that.
    quiet_until: Cell<Duration>,
}

impl<'a, 'o, F: AsyncFnMut() -> Result<DownloadUrl, Failure>> Pieces<'a, 'o, F> {
    /// The rest of a transfer whose version and length are known.
    pub(super) fn new(
        step: &'a Step<'a>,
        store: &'a reqwest::Client,
        source: &'a Mutex<Source<F>>,
        transfer: &'a mut Transfer<'o>,
        etag: String,
        total: u64,
    ) -> Self {
        let queue = RefCell::new(transfer.order.spread.cut(transfer.partial.held()..total));
        let connections = Cell::new(transfer.order.spread.connections);
        let quiet_until = Cell::new(Duration::ZERO);
        Self { step, store, source, transfer: RefCell::new(transfer), etag, total, queue, connections, quiet_until }
    }

    /// Fetches all pieces. The first one comes out of the answer that is being read already, to a request for the URL of
    /// this number.
    pub(super) async fn fetch(&self, first: Response, number: usize) -> Result<(), Interruption> {
        self.step.log.line(&format!("going on over {}", figures::count(self.connections.get(), "connection")));
        let mut first = self.queue.borrow_mut().pop_front().map(|piece| (first, number, piece));
        let mut work: FuturesUnordered<_> = (0..self.connections.get()).map(|_| self.work(first.take())).collect();
        while let Some(end) = work.next().await {
            end?;
        }
        // What came out of order is taken bit by bit, so that a signal or the timeout can end it.
        while self.transfer.borrow_mut().partial.catch_up()? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// One connection: takes a piece, fetches it, takes the next.
    async fn work(&self, first: Option<(Response, usize, Range<u64>)>) -> Result<(), Interruption> {
        let mut attempts = Attempts::none(self.step.clock.now());
        let (mut running, mut worn, mut next) = match first {
            Some((response, number, piece)) => (Some(response), Some(number), Some(piece)),
            None => (None, None, None),
        };
        while let Some(mut piece) = next.take().or_else(|| self.queue.borrow_mut().pop_front()) {
            while !piece.is_empty() {
                let before = self.transfer.borrow().most;
                let end = match running.take() {
                    Some(response) => self.receive(response, &mut piece, None).await,
                    None => self.request(&mut piece, &mut worn).await,
                };
                let fault = match end {
                    Ok(()) => {
                        (worn, attempts) = (None, Attempts::none(self.step.clock.now()));
                        continue;
                    }
                    Err(Interruption::Fault(fault)) => fault,
                    Err(end) => return Err(end),
                };
                attempts.count(self.transfer.borrow().most > before);
                if let Next::Fewer(quiet) = self.step.next(&fault, attempts, self.connections.get()) {
                    self.retire(piece, &fault, quiet);
                    return Ok(());
                }
                self.step.recover(fault, attempts).await.map_err(Interruption::Failure)?;
            }
        }
        self.connections.set(self.connections.get() - 1);
        Ok(())
    }

    /// One connection less, for the sake of a store that asks for it, and silence for as long as it asks for. The others
    /// take over its piece.
    fn retire(&self, piece: Range<u64>, fault: &Fault, quiet: Duration) {
        self.queue.borrow_mut().push_front(piece);
        self.connections.set(self.connections.get() - 1);
        self.quiet_until.set(self.quiet_until.get().max(self.step.clock.now() + quiet));
        self.step.journal.borrow_mut().count(fault.label());
        let left = figures::count(self.connections.get(), "connection");
        let after = if quiet.is_zero() { String::new() } else { format!(" after {}", figures::span(quiet)) };
        self.step.log.line(&format!("{}; going on over {left}{after}", fault.words));
    }

    /// Asks for what is missing of a piece. After a fault, `worn` is the number of the URL that was used.
    async fn request(&self, piece: &mut Range<u64>, worn: &mut Option<usize>) -> Result<(), Interruption> {
        let url = loop {
            while !self.quiet().is_zero() {
                self.step.rest(self.quiet(), || "still waiting, as the store has asked for".to_owned()).await;
            }
            let (url, number) = self.source.lock().await.url(self.step, *worn).await.map_err(Interruption::Failure)?;
            *worn = Some(number);
            // While the API was asked for it, the store can have asked another connection for silence.
            if self.quiet().is_zero() {
                break url;
            }
            *worn = None;
        };
        let asked =
            Asked { from: piece.start, until: Some(piece.end), etag: self.etag.clone(), total: Some(self.total) };
        let answer = ask(self.store, url.reveal(), Some(&asked)).await?;
        match answer.meaning {
            Meaning::Rest { until, .. } => self.receive(answer.response, piece, Some(until)).await,
            // A store that sends everything again does not play along; neither does one that has another version.
            Meaning::Whole { .. } => Err(self.start_over("sent the whole file where a part was asked for")),
            Meaning::StartOver(what) => Err(self.start_over(what)),
            Meaning::Unusable(kind, what) => Err(answer.unusable(kind, what).into()),
            Meaning::Refused => Err(answer.refusal(self.step).await.into()),
        }
    }

    /// How long no request may be made.
    fn quiet(&self) -> Duration {
        self.quiet_until.get().saturating_sub(self.step.clock.now())
    }

    /// Takes a body up to the end of the piece, or up to `until`, where that is earlier. More than that is a fault, if the
    /// answer is one to a request for this very piece.
    async fn receive(
        &self,
        mut response: Response,
        piece: &mut Range<u64>,
        until: Option<u64>,
    ) -> Result<(), Interruption> {
        while !piece.is_empty() {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| self.transfer.borrow().body_fault(error))?;
            let Some(chunk) = chunk else { break };
            let room = until.unwrap_or(piece.end) - piece.start;
            if until.is_some() && chunk.len() as u64 > room {
                return Err(self.start_over("sent more than it had announced"));
            }
            let taken = usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len()));
            let mut transfer = self.transfer.borrow_mut();
            transfer.take(self.step, piece.start, &chunk[..taken])?;
            piece.start += taken as u64;
        }
        let is_short = until.map_or(!piece.is_empty(), |until| piece.start < until);
        // An answer that ends early as it had announced is no fault; what it lacks is asked for anew.
        if is_short {
            let words = format!("the store sent less than it had announced, at {}", self.transfer.borrow().progress());
            return Err(Fault::store(Kind::Cut, words).into());
        }
        self.at_its_end(response, until).await
    }

    /// Sees that nothing comes after the end of a part: a chunked body could go on.
    async fn at_its_end(&self, mut response: Response, until: Option<u64>) -> Result<(), Interruption> {
        if until.is_none() {
            return Ok(());
        }
        match response.chunk().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.start_over("sent more than it had announced")),
            Err(error) => Err(self.transfer.borrow().body_fault(error).into()),
        }
    }

    /// What is held cannot be trusted to be of one version: all connections end, and the file is begun again over one.
    fn start_over(&self, what: &str) -> Interruption {
        let mut transfer = self.transfer.borrow_mut();
        transfer.alone = true;
        match transfer.start_over() {
            Ok(()) => Interruption::StartOver(Fault {
                retry_after: Some(self.quiet()).filter(|quiet| !quiet.is_zero()),
                ..Fault::store(Kind::Mismatch, format!("the store {what}: starting over, over one connection"))
            }),
            Err(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_pieces_without_gap_or_overlap() {
        for (left, piece, number) in [
            (0..200_u64, (1, 1000), 67),
            (150..200, (10, 1000), 5),
            (6400..12_800, (1, 1000), 64),
            (0..1_000_000, (1, 100), 10_000),
            (0..1, (10, 10), 1),
            (7..7, (10, 10), 0),
        ] {
            let pieces = Spread { piece, ..Spread::default() }.cut(left.clone());
            assert_eq!(pieces.len(), number, "{left:?}");
            let mut at = left.start;
            for piece in pieces {
                assert!(piece.start == at && piece.end > at && piece.end - at <= piece.end.max(1));
                at = piece.end;
            }
            assert_eq!(at, left.end);
        }
    }

    #[test]
    fn several_connections_are_used_when_one_is_held_back_and_enough_is_left() {
        let spread = Spread::default();
        let (second, much) = (Duration::from_secs(1), 1 << 30);
        for (left, received, time, worth_it) in [
            (much, 20_000_000, second, true),
            (much, 149_999_999, second, true),
            (much, 150_000_000, second, false),
            (32 << 20, 20_000_000, second, true),
            ((32 << 20) - 1, 20_000_000, second, false),
            (much, 2_000_000, Duration::from_millis(100), true),
            (much, 15_000_001, Duration::from_millis(100), false),
            (much, 299_999_999, 2 * second, true),
            (much, 0, Duration::from_millis(99), false),
        ] {
            assert_eq!(spread.is_worth_it(left, received, time), worth_it, "{left} {received} {time:?}");
        }
    }
}
