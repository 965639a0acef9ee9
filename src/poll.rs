//! Loop 1: checks a run until its status is terminal.
//!
//! While several runs of one kind are in progress, one request lists the statuses of all of them. A run is checked individually
//! if the list does not contain it or shows a terminal status, or if it is the only one left. [`Poller`] decides when to list the
//! statuses and which runs to check.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::context::Context;
use crate::error::StepError;
use crate::http::error::RequestError;
use crate::http::retry::{self, ErrorClass};
use crate::text::format;
use crate::webadmit::lists::ListedRun;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RunKind};

/// Minimum delay between two checks, and the first one.
const MIN_DELAY: Duration = Duration::from_secs(1);

/// Period of the API's rate limit. The remaining calls are spread over it.
const RATE_LIMIT_PERIOD: Duration = Duration::from_secs(3600);

/// Maximum delay, even if there are few calls left.
const MAX_RATE_LIMIT_DELAY: Duration = Duration::from_secs(300);

/// Number of consecutive failures to list the statuses after which the runs are checked individually for [`TIME_WITHOUT_LIST`].
const MAX_LIST_FAILURES: u32 = 3;

/// How long the list is not requested again after it has failed several times.
const TIME_WITHOUT_LIST: Duration = Duration::from_secs(300);

/// Checks a run, at once and then repeatedly, until its status is terminal. One of several new runs is not checked at once, but
/// waits for the list, which is requested a second later. No delay extends past the timeout; the check at the timeout is the last
/// one. `record` gets the statuses in the list.
///
/// # Errors
///
/// [`StepError::TimedOut`], or the error of a check.
pub(crate) async fn until_terminal<T>(
    context: &Context<'_>,
    poller: &Poller,
    run: Id,
    is_new: bool,
    mut check: impl AsyncFnMut() -> Result<(Status, T), StepError>,
    record: impl Fn(&Status),
) -> Result<T, StepError> {
    let since = context.deadline().elapsed();
    let _polling = Polling::begin(&poller.polling);
    if is_new && poller.has_several_runs {
        poller.wait(context, run, since, &record).await;
    }
    loop {
        let is_last = context.deadline().has_passed();
        let (status, response) = check().await?;
        if status.is_terminal() {
            return Ok(response);
        }
        if is_last {
            return Err(StepError::TimedOut);
        }

        drop(response);
        poller.wait(context, run, since, &record).await;
    }
}

/// Decides when the runs of one kind are checked.
pub(crate) struct Poller {
    kind: RunKind,
    /// Whether the step has several runs of this kind.
    has_several_runs: bool,
    /// Number of runs whose status is not terminal.
    polling: Cell<usize>,
    /// The runs that wait for their next check.
    waiting: RefCell<Vec<Waiting>>,
    /// Notified when a run begins to wait.
    changed: Notify,
    /// Until when each run is checked individually, because the statuses cannot be listed. Since the start of the step.
    no_list_until: Cell<Duration>,
    /// Number of consecutive failures to list the statuses.
    list_failures: Cell<u32>,
    /// Number of runs whose status the last list did not show, so that each needs calls of its own.
    unlisted: Cell<usize>,
    /// Number of calls that the key has left in this hour.
    remaining_calls: Rc<Cell<Option<u64>>>,
}

/// Counts a run while its status is not terminal.
struct Polling<'p>(&'p Cell<usize>);

impl<'p> Polling<'p> {
    fn begin(polling: &'p Cell<usize>) -> Self {
        polling.set(polling.get() + 1);
        Self(polling)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A run that waits for its next check.
struct Waiting {
    run: Id,
    /// When its polling began, since the start of the step.
    since: Duration,
    /// When it is checked next, since the start of the step.
    next_check: Duration,
    events: UnboundedSender<Event>,
}

/// An event for a run that waits.
enum Event {
    /// The list shows this status, which is not terminal.
    Listed(Status),
    /// The run must be checked individually.
    CheckNow,
}

impl Poller {
    /// A poller for the runs of one kind. `remaining_calls` is the number of calls that the key has left in this hour.
    pub(crate) fn new(kind: RunKind, has_several_runs: bool, remaining_calls: Rc<Cell<Option<u64>>>) -> Self {
        Self {
            kind,
            has_several_runs,
            polling: Cell::new(0),
            waiting: RefCell::default(),
            changed: Notify::new(),
            no_list_until: Cell::default(),
            list_failures: Cell::new(0),
            unlisted: Cell::new(0),
            remaining_calls,
        }
    }

    pub(crate) fn kind(&self) -> RunKind {
        self.kind
    }

    /// Waits until a run must be checked individually.
    async fn wait(&self, context: &Context<'_>, run: Id, since: Duration, record: impl Fn(&Status)) {
        let (events, mut receiver) = unbounded_channel();
        let next_check = self.next_check(context, since);
        self.waiting.borrow_mut().push(Waiting { run, since, next_check, events });
        self.changed.notify_one();

        let until_check = async {
            while let Some(Event::Listed(status)) = receiver.recv().await {
                record(&status);
            }
        };
        let heartbeat = || {
            let history = context.history.borrow();
            let status = history.status().map_or("not known yet", Status::name);
            format!("status: still {status}; {} until the timeout", format::duration(context.deadline().remaining()))
        };
        context.with_heartbeat(until_check, heartbeat).await;
    }

    /// Serves the runs that wait. `list` requests the statuses of all recent runs; it returns `None` if there is no such list.
    pub(crate) async fn serve(
        &self,
        context: &Context<'_>,
        mut list: impl AsyncFnMut(Duration) -> Result<Option<Vec<ListedRun>>, RequestError>,
    ) -> Infallible {
        loop {
            let next_check = self.waiting.borrow().iter().map(|waiting| waiting.next_check).min();
            let Some(next_check) = next_check else {
                self.changed.notified().await;
                continue;
            };
            let delay = next_check.saturating_sub(context.deadline().elapsed());
            tokio::select! {
                () = tokio::time::sleep(delay) => self.check(context, &mut list).await,
                // A run has begun to wait, perhaps for a shorter time.
                () = self.changed.notified() => {}
            }
        }
    }

    /// Lists the statuses if several runs wait. Otherwise, or if that fails, the runs that are due are checked individually.
    async fn check(
        &self,
        context: &Context<'_>,
        list: &mut impl AsyncFnMut(Duration) -> Result<Option<Vec<ListedRun>>, RequestError>,
    ) {
        self.waiting.borrow_mut().retain(|waiting| !waiting.events.is_closed());
        let several = self.waiting.borrow().len() > 1;
        let requests_list = several && self.has_list(context) && !context.deadline().has_passed();
        if requests_list {
            match context.request_once(list).await {
                Ok(Ok(Some(listed))) => return self.distribute(context, &listed),
                Ok(Err(error)) => self.record_list_failure(context, &error),
                // There is no list; or no request may be sent before the timeout, as the checks will find.
                Ok(Ok(None)) | Err(_) => self.no_list_until.set(Duration::MAX),
            }
            self.unlisted.set(self.polling.get());
        }

        let now = context.deadline().elapsed();
        // The list is requested again with the next check, but not within a second: one outage must not count as several failures.
        let earliest_list = if requests_list { now + MIN_DELAY.min(context.deadline().remaining()) } else { now };
        self.waiting.borrow_mut().retain_mut(|waiting| {
            let is_due = waiting.next_check <= now;
            is_due.then(|| waiting.events.send(Event::CheckNow));
            waiting.next_check = waiting.next_check.max(earliest_list);
            !is_due
        });
    }

    /// Whether the statuses can be listed.
    fn has_list(&self, context: &Context<'_>) -> bool {
        context.deadline().elapsed() >= self.no_list_until.get()
    }

    /// After an error of the list, the runs that are due are checked individually. After several errors, the list is not requested
    /// again for some minutes; if another attempt would fail as well, never again.
    fn record_list_failure(&self, context: &Context<'_>, error: &RequestError) {
        self.list_failures.set(self.list_failures.get() + 1);
        let is_retryable = retry::classify(error.endpoint, error.kind) == ErrorClass::Retryable;
        if is_retryable && self.list_failures.get() < MAX_LIST_FAILURES {
            return;
        }

        let (period, until) = if is_retryable {
            let until = context.deadline().elapsed() + TIME_WITHOUT_LIST;
            (format!(" for {}", format::duration(TIME_WITHOUT_LIST)), until)
        } else {
            (String::new(), Duration::MAX)
        };
        self.no_list_until.set(until);
        let (noun, plural) = (self.kind.run_noun(), self.kind.run_plural());
        context.line(&format!(
            "cannot list the statuses of all {plural}: {error}; checking each {noun} individually{period}"
        ));
    }

    /// Sends each run that waits its status in the list, or [`Event::CheckNow`].
    fn distribute(&self, context: &Context<'_>, listed: &[ListedRun]) {
        self.list_failures.set(0);
        let is_in_progress = |status: &&Status| !status.is_terminal() && !matches!(status, Status::Unknown(_));
        let (mut in_progress, mut unlisted) = (Vec::new(), 0);
        for waiting in self.waiting.take() {
            let status = listed.iter().find(|listed| listed.id == waiting.run).map(|listed| &listed.status);
            match status.filter(is_in_progress) {
                Some(status) => in_progress.push((waiting, status)),
                None => {
                    // A run that has ended is checked once more, the others each time.
                    unlisted += usize::from(!status.is_some_and(Status::is_terminal));
                    // If this fails, the run does not wait any more.
                    let _ = waiting.events.send(Event::CheckNow);
                }
            }
        }

        self.unlisted.set(unlisted);
        for (mut waiting, status) in in_progress {
            waiting.next_check = self.next_check(context, waiting.since);
            if waiting.events.send(Event::Listed(status.clone())).is_ok() {
                self.waiting.borrow_mut().push(waiting);
            }
        }
    }

    /// Returns when a run whose polling began at `since` is checked next: not after the timeout.
    fn next_check(&self, context: &Context<'_>, since: Duration) -> Duration {
        let now = context.deadline().elapsed();
        // Each run that the list does not cover is a call of its own. Runs that have ended since the last list need none.
        let polling = self.polling.get();
        let calls = if self.has_list(context) { self.unlisted.get().min(polling) } else { polling };
        let delay = next_delay(
            now.saturating_sub(since),
            context.api_config().poll_interval,
            self.remaining_calls.get(),
            u32::try_from(calls.max(1)).unwrap_or(u32::MAX),
        );
        now + delay.min(context.deadline().remaining())
    }
}

/// Returns the delay before the next check: first 1 s, then a tenth of the time waited so far, at most the poll interval.
/// Therefore the end of a run that took T is noticed within max(1 s, T/10), and a long run costs few calls. If the key has few
/// calls left in this hour, the delay spreads them over the hour, up to 5 minutes. `calls` is the number of calls that all checks
/// together take.
fn next_delay(waited: Duration, poll_interval: Duration, remaining_calls: Option<u64>, calls: u32) -> Duration {
    let delay = MIN_DELAY.max(waited / 10).min(poll_interval);
    let rate_limit_delay = match remaining_calls {
        None => Duration::ZERO,
        Some(0) => MAX_RATE_LIMIT_DELAY,
        Some(remaining) => {
            let delay = RATE_LIMIT_PERIOD.div_f64(remaining as f64).min(MAX_RATE_LIMIT_DELAY);
            delay.saturating_mul(calls).min(MAX_RATE_LIMIT_DELAY)
        }
    };
    delay.max(rate_limit_delay)
}

#[cfg(test)]
mod tests;
