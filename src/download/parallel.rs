//! Downloads the rest of a large file over several connections.
//!
//! A store may limit the rate of each connection. If the first connection is slow, the rest of the file is split into
//! pieces. Several connections take them from an ordered queue and write them to their places in the partial file. Each
//! piece is verified and retried by itself, and all are of the same version. If several connections turn out to be no faster
//! than one, all of them are closed, and a new one downloads the missing bytes. Everything runs on one thread.
//!
//! Besides its first connection, a download uses those that no other download of the step needs. If another download waits for
//! its first connection, one of them is closed at the end of a piece. If a connection becomes free, another one is opened.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::AttemptError;
use super::connections::PooledConnection;
use super::pieces::PieceQueue;
use super::range::{RangeResponse, Rejection, RequestedRange};
use super::rate::GainMeter;
use super::signed_url::IssuedUrl;
use super::store::{Store, StoreResponse};
use super::transfer::Transfer;
use crate::error::StepError;
use crate::http::error::RequestError;
use crate::http::retry::{Attempts, RetryDecision};
use crate::text::format;
use crate::webadmit::SignedUrl;

/// A download over several connections: what they share.
pub(super) struct Parallel<'a, 'o, F> {
    store: &'a Store<'a, F>,
    transfer: RefCell<&'a mut Transfer<'o>>,
    /// The validator of the version that is downloaded.
    etag: String,
    total: u64,
    queue: RefCell<PieceQueue>,
    /// The connections in use besides the first. Any of them can be closed.
    additional: RefCell<Vec<PooledConnection<'a>>>,
    /// Whether more connections may be opened: not after the store has asked for fewer requests.
    may_open_more: Cell<bool>,
    /// No request is sent before this time since the start of the step, because the store asked for it.
    paused_until: Cell<Duration>,
    gain: RefCell<Gain>,
}

/// Whether several connections are faster than one.
enum Gain {
    Measuring(GainMeter),
    /// They are not. All of them are closed.
    NotFaster,
    /// They are; or it is not measured, because there is only one connection, or the store has asked for fewer requests.
    Settled,
}

/// A piece of the file, and how its first bytes are received.
struct Piece {
    range: Range<u64>,
    source: Source,
}

/// Where the next bytes of a piece come from.
enum Source {
    /// From the response that the download began with. It does not end with the piece.
    FirstResponse { response: StoreResponse, url_id: usize },
    /// From a new request. If the last one failed, this is the id of its URL.
    Request { failed_url: Option<usize> },
}

/// What a connection does after a piece.
enum Next {
    TakePiece,
    Close,
}

impl<'a, 'o, F: AsyncFnMut() -> Result<SignedUrl, StepError>> Parallel<'a, 'o, F> {
    /// Prepares to download the `missing` bytes over the first connection, `spare`, and all others that are spare.
    /// `single_rate` is the rate of one connection in bytes per second.
    pub(super) fn new(
        store: &'a Store<'a, F>,
        transfer: &'a mut Transfer<'o>,
        missing: Range<u64>,
        etag: String,
        single_rate: f64,
        spare: PooledConnection<'a>,
    ) -> Self {
        let config = transfer.options.parallel;
        let pool = store.connection.pool();
        let additional: Vec<_> = std::iter::once(spare).chain(std::iter::from_fn(|| pool.try_acquire())).collect();
        let gain = GainMeter::new(single_rate, config.min_gain, config.window * 2, additional.len());
        Self {
            store,
            transfer: RefCell::new(transfer),
            etag,
            total: missing.end,
            queue: RefCell::new(PieceQueue::split(missing, config.piece)),
            additional: RefCell::new(additional),
            may_open_more: Cell::new(true),
            paused_until: Cell::new(Duration::ZERO),
            gain: RefCell::new(Gain::Measuring(gain)),
        }
    }

    /// Downloads all pieces. The first one continues `response`, which is being received already; `url_id` is that of its URL.
    pub(super) async fn download(&self, response: StoreResponse, url_id: usize) -> Result<(), AttemptError> {
        let context = self.store.context;
        context.line(&format!("continuing with {}", format::count(self.connections(), "connection")));

        let first = self.queue.borrow_mut().take();
        let mut first = first.map(|range| Piece { range, source: Source::FirstResponse { response, url_id } });
        let connections = (0..self.connections()).map(|number| {
            let connection = Connection { parallel: self, delays_measurement: number > 0 };
            connection.run(first.take())
        });
        let mut connections: FuturesUnordered<_> = connections.collect();
        loop {
            let given_back = self.store.connection.pool().given_back();
            while let Some(connection) = self.open_connection() {
                connections.push(connection.run(None));
            }
            tokio::select! {
                biased;
                result = connections.next() => match result {
                    Some(result) => result?,
                    None => break,
                },
                () = given_back, if self.could_use_more() => continue,
            }

            if self.has_no_gain() {
                // Closes all connections: a single one that continues could be one that stalls.
                connections.clear();
                context.line("several connections are no faster; continuing with 1 connection");
                self.download_missing().await?;
            }
        }

        // Bytes that were received out of order are hashed in steps, so that a signal or the timeout can end it.
        while self.transfer.borrow_mut().partial.catch_up()? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Downloads the missing bytes over one new connection.
    async fn download_missing(&self) -> Result<(), AttemptError> {
        self.gain.replace(Gain::Settled);
        self.additional.borrow_mut().clear();
        let missing = self.transfer.borrow().partial.missing_ranges(self.total);
        self.queue.replace(PieceQueue::of_ranges(missing));
        Connection { parallel: self, delays_measurement: false }.run(None).await
    }

    /// Returns the number of connections.
    fn connections(&self) -> usize {
        1 + self.additional.borrow().len()
    }

    /// Whether there are pieces for more connections.
    fn could_use_more(&self) -> bool {
        self.may_open_more.get()
            && self.connections() < self.store.connection.pool().size()
            && !self.queue.borrow().is_empty()
    }

    /// Opens another connection if one is spare. The gain is measured without it.
    fn open_connection(&self) -> Option<Connection<'_, 'a, 'o, F>> {
        let connection = self.could_use_more().then(|| self.store.connection.pool().try_acquire()).flatten()?;
        self.additional.borrow_mut().push(connection);
        Some(Connection { parallel: self, delays_measurement: false })
    }

    /// Gives a connection back if another download waits for its first one, and this is not the last one of this download.
    /// Returns whether the caller has to close its connection.
    fn give_back(&self) -> bool {
        self.store.connection.pool().has_waiting_download() && self.close_connection()
    }

    /// Closes one of the connections besides the first. Returns whether there was one.
    fn close_connection(&self) -> bool {
        let is_closed = self.additional.borrow_mut().pop().is_some();
        if is_closed {
            self.restart_gain();
        }
        is_closed
    }

    fn take_piece(&self) -> Option<Piece> {
        let range = self.queue.borrow_mut().take()?;
        Some(Piece { range, source: Source::Request { failed_url: None } })
    }

    /// Returns a signed URL once a request may be sent.
    async fn signed_url(&self, mut failed: Option<usize>) -> Result<IssuedUrl, StepError> {
        loop {
            while !self.pause().is_zero() {
                let heartbeat = || "waiting before the next request, as the store asked (Retry-After)".to_owned();
                self.store.context.sleep_with_heartbeat(self.pause(), heartbeat).await;
            }
            let url = self.store.signed_url(failed).await?;
            // While the API was requested, the store can have asked another connection to wait.
            if self.pause().is_zero() {
                return Ok(url);
            }
            failed = None;
        }
    }

    /// Returns how long no request may be sent.
    fn pause(&self) -> Duration {
        self.paused_until.get().saturating_sub(self.store.context.deadline().elapsed())
    }

    /// Closes a connection because the store asks for fewer requests, and pauses the others for as long as it asks for. They
    /// take over the piece.
    fn drop_connection(&self, piece: Range<u64>, error: &RequestError, pause: Duration) {
        let context = self.store.context;
        self.queue.borrow_mut().put_back(piece);
        self.additional.borrow_mut().pop();
        self.may_open_more.set(false);
        // Not measured any more: during a pause, several connections receive nothing, so they would seem to be slow.
        self.gain.replace(Gain::Settled);
        self.paused_until.set(self.paused_until.get().max(context.deadline().elapsed() + pause));
        context.history.borrow_mut().count_retry(error.short_description());

        let connections = format::count(self.connections(), "connection");
        let delay = if pause.is_zero() { String::new() } else { format!(" after {}", format::duration(pause)) };
        context.line(&format!("{error}; continuing with {connections}{delay}"));
    }

    /// Returns the error of a response that cannot be used. If the file is started over, all connections are closed.
    fn reject(&self, host: &str, rejection: Rejection) -> AttemptError {
        let mut transfer = self.transfer.borrow_mut();
        if rejection.starts_over() {
            transfer.record_parallel_failure();
        }
        match transfer.reject(host, rejection) {
            AttemptError::StartOver(error) => {
                // The pause that the store asked for remains in force.
                let retry_after = Some(self.pause()).filter(|pause| !pause.is_zero());
                AttemptError::StartOver(RequestError { retry_after, ..error })
            }
            error => error,
        }
    }

    /// Measures, once, whether several connections are faster than one.
    fn measure_gain(&self) {
        let now = self.store.context.deadline().elapsed();
        let received = self.transfer.borrow().partial.received();
        let mut gain = self.gain.borrow_mut();
        if let Gain::Measuring(meter) = &*gain
            && let Some(is_faster) = meter.is_faster(now, received)
        {
            *gain = if is_faster { Gain::Settled } else { Gain::NotFaster };
        }
    }

    /// Measures the gain of the connections that are left. A single one has none.
    fn restart_gain(&self) {
        let now = self.store.context.deadline().elapsed();
        let mut gain = self.gain.borrow_mut();
        match &mut *gain {
            Gain::Measuring(_) if self.connections() == 1 => *gain = Gain::Settled,
            Gain::Measuring(meter) => meter.restart(now, self.transfer.borrow().partial.received()),
            Gain::NotFaster | Gain::Settled => {}
        }
    }
}

impl<F> Parallel<'_, '_, F> {
    fn has_no_gain(&self) -> bool {
        matches!(*self.gain.borrow(), Gain::NotFaster)
    }

    /// Records that a connection has received its first byte, or was closed before.
    fn connected(&self) {
        if let Gain::Measuring(meter) = &mut *self.gain.borrow_mut()
            && let Ok(transfer) = self.transfer.try_borrow()
        {
            meter.connected(self.store.context.deadline().elapsed(), transfer.partial.received());
        }
    }
}

/// One of several connections.
struct Connection<'p, 'a, 'o, F> {
    parallel: &'p Parallel<'a, 'o, F>,
    /// Whether the gain is not measured before this connection has received its first byte.
    delays_measurement: bool,
}

impl<F: AsyncFnMut() -> Result<SignedUrl, StepError>> Connection<'_, '_, '_, F> {
    /// Downloads one piece after another until there is none left, or the connection is closed.
    async fn run(mut self, first: Option<Piece>) -> Result<(), AttemptError> {
        let mut next = first.or_else(|| self.parallel.take_piece());
        while let Some(piece) = next {
            match self.download(piece).await? {
                Next::TakePiece if self.parallel.give_back() => return Ok(()),
                Next::TakePiece => next = self.parallel.take_piece(),
                Next::Close => return Ok(()),
            }
        }
        self.parallel.close_connection();
        Ok(())
    }

    /// Downloads a piece with as many requests as it takes.
    async fn download(&mut self, Piece { mut range, mut source }: Piece) -> Result<Next, AttemptError> {
        let parallel = self.parallel;
        let context = parallel.store.context;
        let mut attempts = Attempts::new(context.deadline().elapsed());

        while !range.is_empty() {
            let new_bytes_before = parallel.transfer.borrow().new_bytes();
            let (url_id, result) = match source {
                Source::FirstResponse { response, url_id } => (url_id, self.receive(response, &mut range, None).await),
                Source::Request { failed_url } => {
                    let url = parallel.signed_url(failed_url).await.map_err(AttemptError::Fatal)?;
                    (url.id, self.request(&url, &mut range).await)
                }
            };
            let is_progress = parallel.transfer.borrow().new_bytes() > new_bytes_before;

            let error = match result {
                Ok(()) if parallel.has_no_gain() => return Ok(Next::Close),
                Ok(()) => {
                    source = Source::Request { failed_url: None };
                    // The count of consecutive 403s stays, so that a store that sends one byte per signed URL is not requested
                    // without a pause.
                    if is_progress {
                        attempts.without_progress = 0;
                    }
                    continue;
                }
                Err(AttemptError::Request(error)) => error,
                Err(error) => return Err(error),
            };

            attempts.record(is_progress);
            attempts.record_error(&error);
            match context.decide(&error, attempts, parallel.connections()) {
                RetryDecision::ReduceConcurrency(pause) => {
                    parallel.drop_connection(range, &error, pause);
                    return Ok(Next::Close);
                }
                _ => context.back_off(error, attempts).await.map_err(AttemptError::Fatal)?,
            }
            source = Source::Request { failed_url: Some(url_id) };
        }
        Ok(Next::TakePiece)
    }

    /// Requests what is missing of a piece, and receives it.
    async fn request(&mut self, url: &IssuedUrl, piece: &mut Range<u64>) -> Result<(), AttemptError> {
        let (etag, total) = (self.parallel.etag.clone(), Some(self.parallel.total));
        let requested = RequestedRange { start: piece.start, end: Some(piece.end), etag, total };
        let (class, response) = self.parallel.store.request(url, Some(&requested)).await?;
        match class {
            RangeResponse::Part { end, .. } => self.receive(response, piece, Some(end)).await,
            RangeResponse::Whole { .. } => Err(self.parallel.reject(&response.host, Rejection::IgnoredRange)),
            RangeResponse::Rejected(rejection) => Err(self.parallel.reject(&response.host, rejection)),
            RangeResponse::ErrorStatus => Err(response.status_error(self.parallel.store.context).await.into()),
        }
    }

    /// Receives the bytes of a piece. `part_end` is the offset at which the body ends, at the end of the piece or before it;
    /// `None` is the first response, which continues after the piece.
    async fn receive(
        &mut self,
        mut response: StoreResponse,
        piece: &mut Range<u64>,
        part_end: Option<u64>,
    ) -> Result<(), AttemptError> {
        let parallel = self.parallel;
        let progress = || parallel.transfer.borrow().progress();
        let end = part_end.unwrap_or(piece.end);

        while piece.start < end {
            let Some(mut chunk) = response.chunk(progress).await? else {
                return Err(parallel.reject(&response.host, Rejection::TooShort));
            };
            let room = usize::try_from(end - piece.start).unwrap_or(usize::MAX);
            if chunk.len() > room {
                if part_end.is_some() {
                    return Err(parallel.reject(&response.host, Rejection::TooLong));
                }
                chunk.truncate(room);
            }

            let length = chunk.len() as u64;
            parallel.transfer.borrow_mut().write_at(parallel.store.context, piece.start, chunk)?;
            piece.start += length;
            self.record_first_byte();
            parallel.measure_gain();
            if parallel.has_no_gain() {
                return Ok(());
            }
        }

        // A chunked body could continue.
        if part_end.is_some() && response.chunk(progress).await?.is_some() {
            return Err(parallel.reject(&response.host, Rejection::TooLong));
        }
        // Lets the client take the connection back, so that the next request does not open another one.
        tokio::task::yield_now().await;
        Ok(())
    }
}

impl<F> Connection<'_, '_, '_, F> {
    fn record_first_byte(&mut self) {
        if std::mem::take(&mut self.delays_measurement) {
            self.parallel.connected();
        }
    }
}

/// The gain is measured once all connections receive: one that is closed must not delay that.
impl<F> Drop for Connection<'_, '_, '_, F> {
    fn drop(&mut self) {
        self.record_first_byte();
    }
}
