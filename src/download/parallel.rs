//! Downloads a large file over several connections.
//!
//! A store may limit each connection. If the first connection is slow, the rest of the file is split into pieces, which
//! several connections take from an ordered queue and write to their places in the partial file. Each piece is verified
//! and retried by itself, and all are of the same version. If several connections turn out to be no faster than one, all
//! of them are closed, and a new one downloads the missing bytes. Everything runs on one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Response;

use super::range::{RangeResponse, RequestedRange};
use super::{AttemptError, Store, StoreResponse, Transfer};
use crate::error::StepError;
use crate::http::error::RequestError;
use crate::http::retry::{Attempts, RetryDecision};
use crate::text::format;
use crate::webadmit::SignedUrl;

/// When and how a download uses several connections.
#[derive(Clone, Copy, Debug)]
pub struct ParallelConfig {
    /// Maximum number of connections.
    pub connections: usize,
    /// Minimum number of remaining bytes.
    pub min_remaining: u64,
    /// Minimum time that the remaining bytes would take over one connection.
    pub min_time: Duration,
    /// Minimum and maximum length of a piece, which is otherwise a 64th of the remaining bytes.
    pub piece: (u64, u64),
    /// The rate is measured over windows of this length.
    pub window: Duration,
    /// A connection with this rate, in bytes per second, is not limited by the store.
    pub fast: f64,
    /// Several connections that are not this many times as fast as one are not worth it.
    pub min_gain: f64,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self {
            connections: 8,
            min_remaining: 32 << 20,
            min_time: Duration::from_secs(1),
            piece: (1 << 20, 16 << 20),
            window: Duration::from_millis(50),
            fast: 150e6,
            min_gain: 1.2,
        }
    }
}

impl ParallelConfig {
    /// Whether the remaining bytes should be received over several connections if one brings `rate` bytes per second.
    /// `None` is a rate that is not known yet.
    #[must_use]
    pub fn is_worth_it(&self, remaining: u64, rate: Option<f64>) -> bool {
        let takes_long = |rate: f64| remaining as f64 >= rate * self.min_time.as_secs_f64();
        remaining >= self.min_remaining && rate.is_some_and(|rate| rate < self.fast && takes_long(rate))
    }

    /// Splits the remaining bytes into pieces.
    fn split(&self, remaining: Range<u64>) -> Queue {
        let length = remaining.end.saturating_sub(remaining.start);
        let piece_length = (length / 64).clamp(self.piece.0, self.piece.1).max(1);
        Queue { returned: VecDeque::new(), unsplit: remaining, piece_length }
    }
}

/// The ranges of the file that no connection downloads yet. A piece is split off when a connection takes it, since a store
/// can announce any length.
#[derive(Debug)]
struct Queue {
    /// What closed connections have left. It is taken first.
    returned: VecDeque<Range<u64>>,
    unsplit: Range<u64>,
    piece_length: u64,
}

impl Queue {
    /// Takes the next piece.
    fn take(&mut self) -> Option<Range<u64>> {
        self.returned.pop_front().or_else(|| {
            let end = self.unsplit.end.min(self.unsplit.start.saturating_add(self.piece_length));
            let piece = self.unsplit.start..end;
            self.unsplit.start = end;
            Some(piece).filter(|piece| !piece.is_empty())
        })
    }
}

/// Whether several connections are faster than one.
struct GainCheck {
    /// The rate of one connection in bytes per second.
    single_rate: f64,
    min_gain: f64,
    window: Duration,
    /// How many connections have not received their first byte.
    connecting: usize,
    /// When the last connection received its first byte, and how many bytes were there then.
    start: Option<(Duration, u64)>,
}

impl GainCheck {
    /// Notes that a connection has received its first byte, or has ended without one.
    fn connected(&mut self, now: Duration, received: u64) {
        self.connecting = self.connecting.saturating_sub(1);
        if self.connecting == 0 {
            self.start.get_or_insert((now, received));
        }
    }

    /// Returns whether several connections are faster, as soon as it is known.
    fn is_faster(&self, now: Duration, received: u64) -> Option<bool> {
        let (start, before) = self.start?;
        let passed = now.saturating_sub(start);
        let rate = received.saturating_sub(before) as f64 / passed.max(Duration::from_micros(1)).as_secs_f64();
        (passed >= self.window).then_some(rate >= self.single_rate * self.min_gain)
    }
}

/// What the connections share.
pub(super) struct Parallel<'a, 'o, F> {
    store: &'a Store<'a, F>,
    transfer: RefCell<&'a mut Transfer<'o>>,
    etag: String,
    total: u64,
    queue: RefCell<Queue>,
    connections: Cell<usize>,
    /// Whether several connections have turned out to be no faster than one.
    no_gain: Cell<bool>,
    /// No request is sent before this time since the start of the step, at the store's request.
    quiet_until: Cell<Duration>,
    gain: RefCell<Option<GainCheck>>,
}

impl<'a, 'o, F: AsyncFnMut() -> Result<SignedUrl, StepError>> Parallel<'a, 'o, F> {
    /// Prepares to download `rest`. `single_rate` is the rate of one connection in bytes per second.
    pub(super) fn new(
        store: &'a Store<'a, F>,
        transfer: &'a mut Transfer<'o>,
        rest: RequestedRange,
        single_rate: Option<f64>,
    ) -> Self {
        let config = transfer.options.parallel;
        let total = rest.total.unwrap_or(rest.start);
        let gain = GainCheck {
            single_rate: single_rate.unwrap_or(0.0),
            min_gain: config.min_gain,
            window: config.window * 2,
            connecting: config.connections - 1,
            start: None,
        };
        Self {
            store,
            transfer: RefCell::new(transfer),
            etag: rest.etag,
            total,
            queue: RefCell::new(config.split(rest.start..total)),
            connections: Cell::new(config.connections),
            no_gain: Cell::new(false),
            quiet_until: Cell::new(Duration::ZERO),
            gain: RefCell::new(Some(gain)),
        }
    }

    /// Downloads all pieces. The first one is read from `first`, the response that is being received already; `id` is
    /// that of its URL.
    pub(super) async fn fetch(&self, first: Response, id: usize) -> Result<(), AttemptError> {
        let context = self.store.context;
        context.log.line(&format!("going on over {}", format::count(self.connections.get(), "connection")));
        let mut first = self.queue.borrow_mut().take().map(|piece| (first, id, piece));
        let mut work: FuturesUnordered<_> = (0..self.connections.get()).map(|_| self.work(first.take())).collect();
        while let Some(end) = work.next().await {
            end?;
            if self.no_gain.take() {
                // Closes all connections: a single one that continues could be one that stalls.
                work.clear();
                context.log.line("several connections are no faster: going on over 1 connection");
                self.connections.set(1);
                let missing = self.transfer.borrow().partial.missing_ranges(self.total);
                *self.queue.borrow_mut() = Queue { returned: missing.into(), unsplit: 0..0, piece_length: 0 };
                self.work(None).await?;
            }
        }
        // What was received out of order is hashed bit by bit, so that a signal or the timeout can end it.
        while self.transfer.borrow_mut().partial.catch_up()? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// One connection: takes a piece, downloads it, takes the next.
    async fn work(&self, first: Option<(Response, usize, Range<u64>)>) -> Result<(), AttemptError> {
        let mut connecting = Connecting { parallel: self, is_connecting: first.is_none() };
        let mut attempts = Attempts::new(self.store.context.deadline.elapsed());
        let (mut running, mut failed_url, mut next) = match first {
            Some((response, id, piece)) => (Some(response), Some(id), Some(piece)),
            None => (None, None, None),
        };
        while let Some(mut piece) = next.take().or_else(|| self.queue.borrow_mut().take()) {
            while !piece.is_empty() {
                let before = self.transfer.borrow().new_bytes.count;
                let end = match running.take() {
                    Some(response) => self.receive(response, &mut piece, None, &mut connecting).await,
                    None => self.request(&mut piece, &mut failed_url, &mut connecting).await,
                };
                let is_progress = self.transfer.borrow().new_bytes.count > before;
                let error = match end {
                    Ok(()) if self.no_gain.get() => return Ok(()),
                    Ok(()) => {
                        failed_url = None;
                        // Refusals still count, so that a store that sends a byte per URL is not requested without pause.
                        attempts.without_progress = if is_progress { 0 } else { attempts.without_progress };
                        continue;
                    }
                    Err(AttemptError::Request(error)) => error,
                    Err(end) => return Err(end),
                };

                attempts.record(is_progress);
                attempts.record_error(&error);
                if let RetryDecision::ReduceConcurrency(quiet) =
                    self.store.context.decide(&error, attempts, self.connections.get())
                {
                    return self.drop_connection(piece, &error, quiet);
                }
                self.store.context.back_off(error, attempts).await.map_err(AttemptError::Fatal)?;
            }
            attempts = Attempts::new(self.store.context.deadline.elapsed());
        }
        self.connections.set(self.connections.get() - 1);
        Ok(())
    }

    /// Ends a connection because the store asks for fewer requests, and lets all of them wait for as long as it asks for.
    /// The others take over its piece.
    fn drop_connection(&self, piece: Range<u64>, error: &RequestError, quiet: Duration) -> Result<(), AttemptError> {
        let context = self.store.context;
        self.queue.borrow_mut().returned.push_front(piece);
        self.connections.set(self.connections.get() - 1);
        self.quiet_until.set(self.quiet_until.get().max(context.deadline.elapsed() + quiet));
        context.history.borrow_mut().count_retry(error.short_description());
        let left = format::count(self.connections.get(), "connection");
        let after = if quiet.is_zero() { String::new() } else { format!(" after {}", format::duration(quiet)) };
        context.log.line(&format!("{}; going on over {left}{after}", error));
        Ok(())
    }

    /// Requests what is missing of a piece. After an error, `failed_url` is the id of the URL that was used.
    async fn request(
        &self,
        piece: &mut Range<u64>,
        failed_url: &mut Option<usize>,
        connecting: &mut Connecting<'_, 'a, 'o, F>,
    ) -> Result<(), AttemptError> {
        let context = self.store.context;
        let url = loop {
            while !self.quiet().is_zero() {
                context
                    .sleep_with_heartbeat(self.quiet(), || "still waiting, as the store has asked for".to_owned())
                    .await;
            }
            let (url, id) = self.store.signed_url(*failed_url).await.map_err(AttemptError::Fatal)?;
            *failed_url = Some(id);
            // While the API was requested, the store can have asked another connection to wait.
            if self.quiet().is_zero() {
                break url;
            }
            *failed_url = None;
        };

        let (etag, total) = (self.etag.clone(), Some(self.total));
        let requested = RequestedRange { start: piece.start, end: Some(piece.end), etag, total };
        let response = self.store.request(&url, Some(&requested)).await?;
        match response.meaning {
            RangeResponse::Part { end, .. } => self.receive(response.response, piece, Some(end), connecting).await,
            // This store ignores ranges.
            RangeResponse::Whole { .. } => {
                self.transfer.borrow_mut().parallel_restarts = u32::MAX;
                Err(self.start_over(&response, "sent the whole file although a part was requested"))
            }
            RangeResponse::StartOver(what) => Err(self.start_over(&response, what)),
            RangeResponse::Unusable(kind, what) => Err(response.unusable(kind, what).into()),
            RangeResponse::Refused => Err(response.refusal_error(context).await.into()),
        }
    }

    /// How long no request may be sent.
    fn quiet(&self) -> Duration {
        self.quiet_until.get().saturating_sub(self.store.context.deadline.elapsed())
    }

    /// Receives a body up to the end of the piece, or up to `end`, where that is earlier. More than that is an error if
    /// the response is one to a request for this very piece.
    async fn receive(
        &self,
        mut response: Response,
        piece: &mut Range<u64>,
        end: Option<u64>,
        connecting: &mut Connecting<'_, 'a, 'o, F>,
    ) -> Result<(), AttemptError> {
        while !piece.is_empty() {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| self.transfer.borrow().body_error(error))?;
            let Some(chunk) = chunk else { break };
            let room = end.unwrap_or(piece.end) - piece.start;
            if end.is_some() && chunk.len() as u64 > room {
                return Err(self.surplus());
            }
            let taken = usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len()));
            self.transfer.borrow_mut().take(self.store.context, piece.start, chunk.slice(..taken))?;
            piece.start += taken as u64;
            connecting.end();
            if self.check_gain() {
                return Ok(());
            }
        }
        // A part that ends before its piece, as announced, is no error: the rest of the piece is requested next.
        if piece.start < end.unwrap_or(piece.end) {
            let error = self.transfer.borrow().shortfall_error();
            return Err(self.contradiction(error));
        }
        self.at_its_end(response, end).await
    }

    /// Checks that nothing follows the end of a part: a chunked body could go on.
    async fn at_its_end(&self, mut response: Response, end: Option<u64>) -> Result<(), AttemptError> {
        if end.is_none() {
            return Ok(());
        }
        match response.chunk().await {
            Ok(None) => {
                // Lets the client take the connection back, so that the next request does not open another.
                tokio::task::yield_now().await;
                Ok(())
            }
            Ok(Some(_)) => Err(self.surplus()),
            Err(error) => Err(self.transfer.borrow().body_error(error).into()),
        }
    }

    /// Returns whether several connections have turned out to be no faster than one. This is measured once.
    fn check_gain(&self) -> bool {
        let now = self.store.context.deadline.elapsed();
        let received = self.transfer.borrow().partial.received();
        let mut gain = self.gain.borrow_mut();
        if let Some(is_faster) = gain.as_ref().and_then(|gain| gain.is_faster(now, received)) {
            *gain = None;
            self.no_gain.set(!is_faster);
        }
        self.no_gain.get()
    }

    fn surplus(&self) -> AttemptError {
        let error = self.transfer.borrow().surplus_error();
        self.contradiction(error)
    }

    /// Drops what was received because a body is not as long as its head says, and allows one connection only from now on.
    fn contradiction(&self, error: RequestError) -> AttemptError {
        self.transfer.borrow_mut().parallel_restarts = u32::MAX;
        self.drop_received(error)
    }

    fn start_over(&self, response: &StoreResponse, what: &str) -> AttemptError {
        self.drop_received(response.start_over(what))
    }

    /// Drops what was received: it may be of more than one version. All connections end, and the file is started over.
    fn drop_received(&self, error: RequestError) -> AttemptError {
        let mut transfer = self.transfer.borrow_mut();
        transfer.parallel_restarts = transfer.parallel_restarts.saturating_add(1);
        match transfer.start_over() {
            Ok(()) => {
                let retry_after = Some(self.quiet()).filter(|quiet| !quiet.is_zero());
                AttemptError::StartOver(RequestError { retry_after, ..error })
            }
            Err(error) => error.into(),
        }
    }
}

/// A connection that has not received its first byte.
struct Connecting<'p, 'a, 'o, F> {
    parallel: &'p Parallel<'a, 'o, F>,
    is_connecting: bool,
}

impl<F> Connecting<'_, '_, '_, F> {
    /// Notes that the first byte is there, or never will be.
    fn end(&mut self) {
        if std::mem::take(&mut self.is_connecting)
            && let Some(gain) = self.parallel.gain.borrow_mut().as_mut()
            && let Ok(transfer) = self.parallel.transfer.try_borrow()
        {
            gain.connected(self.parallel.store.context.deadline.elapsed(), transfer.partial.received());
        }
    }
}

impl<F> Drop for Connecting<'_, '_, '_, F> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_into_pieces_without_gap_or_overlap() {
        for (remaining, piece, number) in [
            (0..200_u64, (1, 1000), 67),
            (150..200, (10, 1000), 5),
            (6400..12_800, (1, 1000), 64),
            (0..1_000_000, (1, 100), 10_000),
            (0..1, (10, 10), 1),
            (7..7, (10, 10), 0),
        ] {
            let mut queue = ParallelConfig { piece, ..ParallelConfig::default() }.split(remaining.clone());
            let (mut at, mut pieces) = (remaining.start, 0);
            while let Some(piece) = queue.take() {
                assert!(piece.start == at && piece.end > at && piece.end - at <= queue.piece_length);
                (at, pieces) = (piece.end, pieces + 1);
            }
            assert_eq!((at, pieces), (remaining.end, number), "{remaining:?}");
        }
    }

    #[test]
    fn a_file_of_any_length_is_split_as_its_pieces_are_taken() {
        let mut queue = ParallelConfig::default().split(5..u64::MAX);
        assert_eq!(queue.take(), Some(5..5 + (16 << 20)));
        let mut queue = Queue { returned: VecDeque::new(), unsplit: u64::MAX - 3..u64::MAX, piece_length: 16 << 20 };
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(u64::MAX - 3..u64::MAX), None, None));
    }

    #[test]
    fn what_a_connection_has_left_is_taken_first() {
        let mut queue = Queue { returned: VecDeque::from([7..9, 30..35]), unsplit: 40..50, piece_length: 8 };
        queue.returned.push_front(2..4);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(taken, [2..4, 7..9, 30..35, 40..48, 48..50]);
    }

    #[test]
    fn several_connections_are_used_when_one_is_slow_and_enough_remains() {
        let config = ParallelConfig::default();
        let much = 1 << 30;
        for (remaining, rate, is_worth_it) in [
            (much, Some(20e6), true),
            (much, Some(149.9e6), true),
            (much, Some(150e6), false),
            (much, Some(0.0), true),
            (much, None, false),
            (32 << 20, Some(20e6), true),
            ((32 << 20) - 1, Some(20e6), false),
            (140_000_000, Some(140e6), true),
            (139_999_999, Some(140e6), false),
        ] {
            assert_eq!(config.is_worth_it(remaining, rate), is_worth_it, "{remaining} {rate:?}");
        }
    }

    #[test]
    fn the_gain_is_measured_once_all_connections_receive() {
        let millis = Duration::from_millis;
        let mut gain =
            GainCheck { single_rate: 1000.0, min_gain: 1.2, window: millis(100), connecting: 2, start: None };
        gain.connected(millis(500), 300);
        assert_eq!(gain.is_faster(millis(900), 9000), None, "one is still connecting");
        gain.connected(millis(1000), 400);
        gain.connected(millis(1050), 450);
        for (now, received, is_faster) in
            [(1099, 9000, None), (1100, 520, Some(true)), (1100, 519, Some(false)), (1200, 640, Some(true))]
        {
            assert_eq!(gain.is_faster(millis(now), received), is_faster, "{now} {received}");
        }
    }
}
